"""Signatures by which a receiver knows that a delivery is ours: Standard Webhooks (standardwebhooks.com), version 1.

Pure: the secret, the id and the time are passed in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping

BEGINNING = "whsec_"
SECRET_BYTES = 32
TOLERANCE_SECONDS = 300  # by which clocks may differ, as the specification has it
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"


def new_secret() -> str:
    return BEGINNING + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(secret: str, message_id: str, at_seconds: int, body: bytes) -> str:
    """Raises ValueError for what is no secret."""
    try:
        key = base64.b64decode(secret.removeprefix(BEGINNING), validate=True)
    except binascii.Error as error:
        raise ValueError(f"a secret is {BEGINNING} and base64: {error}") from None
    signed = f"{message_id}.{at_seconds}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def headers(secrets: Iterable[str], message_id: str, at_seconds: int, body: bytes) -> dict[str, str]:
    """Signed with each of these secrets."""
    return {
        ID: message_id,
        TIMESTAMP: str(at_seconds),
        SIGNATURE: " ".join(signature(secret, message_id, at_seconds, body) for secret in secrets),
    }


def why_refused(secret: str, sent: Mapping[str, str], body: bytes, now_seconds: float) -> str:
    """What is wrong with a delivery, for its receiver; empty when it is ours. `sent`: its headers, in small letters."""
    message_id, timestamp, signatures = (sent.get(name, "") for name in (ID, TIMESTAMP, SIGNATURE))
    if not (message_id and timestamp and signatures):
        return "not signed"
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 20):
        return "no time"
    if abs(now_seconds - int(timestamp)) > TOLERANCE_SECONDS:
        return "sent at another time"
    right = signature(secret, message_id, int(timestamp), body).encode()
    is_right = any(hmac.compare_digest(right, each.encode()) for each in signatures.split())
    return "" if is_right else "signed with another secret, or changed on the way"
