"""Whether a webhook was sent by the arcade: its signature, as https://www.standardwebhooks.com describes it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from arcade_client.errors import SignatureInvalid

TOLERANCE_SECONDS = 300
TIMESTAMP_DIGITS = 12
SECRET_PREFIX, VERSION_PREFIX = "whsec_", "v1,"


def verify_webhook(
    headers: Mapping[str, str], body: bytes, secret: str, *, now_seconds: float | None = None
) -> Mapping[str, Any]:
    """The event that was sent. `body`: the bytes as they came. Raises SignatureInvalid, and ValueError when the secret
    is none that the arcade tells.

    Each delivery has an id (`webhook-id`), which a repeated one has as well: pass over those that came already.
    """
    key = key_of(secret)
    found = {name.lower(): value for name, value in headers.items()}
    message_id, sent_at, signatures = (found.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not (message_id and sent_at and signatures):
        raise SignatureInvalid("It is not signed: webhook-id, webhook-timestamp or webhook-signature is missing.")
    if not (message_id + sent_at + signatures).isascii() or not sent_at.isdigit() or len(sent_at) > TIMESTAMP_DIGITS:
        raise SignatureInvalid("It is not signed as the arcade does it.")
    if abs((time.time() if now_seconds is None else now_seconds) - int(sent_at)) > TOLERANCE_SECONDS:
        raise SignatureInvalid("It was signed too long ago, or the clock is wrong.")
    expected = _signature(message_id, sent_at, body, key).encode()
    if not any(hmac.compare_digest(each.encode(), expected) for each in signatures.split()):
        raise SignatureInvalid("The signature is not right: another secret, or it was changed on the way.")
    try:
        event = json.loads(body)
    except ValueError:
        event = None
    if not isinstance(event, Mapping):
        raise SignatureInvalid("It is signed and is no event.")
    return event


def signature_of(message_id: str, sent_at: str, body: bytes, secret: str) -> str:
    """What `webhook-signature` has to have. Raises ValueError as `verify_webhook` does."""
    return _signature(message_id, sent_at, body, key_of(secret))


def _signature(message_id: str, sent_at: str, body: bytes, key: bytes) -> str:
    signed = b".".join((message_id.encode(), sent_at.encode(), body))
    return VERSION_PREFIX + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def key_of(secret: str) -> bytes:
    """What a secret stands for. Raises ValueError when it is none: anybody can sign with an empty one."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        raise ValueError("the secret is not whole: it must be whsec_ and base64, as it was told") from None
    if not key:
        raise ValueError("the secret is empty")
    return key
