"""Webhooks are believed only as the arcade signed them."""

import base64
import hashlib
import hmac

import pytest
from arcade_client import SignatureInvalid, verify_webhook
from arcade_client.webhook_signatures import TOLERANCE_SECONDS, signature_of

# The example of https://www.standardwebhooks.com, so that others' libraries agree.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, SENT_AT = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
HEADERS = {"Webhook-Id": ID, "Webhook-Timestamp": str(SENT_AT), "Webhook-Signature": SIGNATURE}


def test_a_webhook_is_the_event_that_was_signed():
    assert verify_webhook(HEADERS, BODY, SECRET, now_seconds=SENT_AT + 5) == {"test": 2432232314}


def test_one_good_signature_among_several_is_enough():
    headers = HEADERS | {"Webhook-Signature": f"v1,AAAA v1a,BBBB {SIGNATURE}"}
    assert verify_webhook(headers, BODY, SECRET, now_seconds=SENT_AT)


@pytest.mark.parametrize(
    ("changes", "body", "secret", "late_seconds"),
    [
        ({}, BODY + b" ", SECRET, 0),
        ({}, BODY, "whsec_AAAA", 0),
        ({}, BODY, SECRET, TOLERANCE_SECONDS + 1),
        ({}, BODY, SECRET, -TOLERANCE_SECONDS - 1),
        ({"Webhook-Id": "other"}, BODY, SECRET, 0),
        ({"Webhook-Timestamp": str(SENT_AT + 1)}, BODY, SECRET, 0),
        ({"Webhook-Timestamp": "now"}, BODY, SECRET, 0),
        ({"Webhook-Timestamp": "1" * 5_000}, BODY, SECRET, 0),
        ({"Webhook-Id": "\udcff"}, BODY, SECRET, 0),
        ({"Webhook-Signature": "\udcff"}, BODY, SECRET, 0),
        ({"Webhook-Signature": ""}, BODY, SECRET, 0),
        ({"Webhook-Signature": "v1,é"}, BODY, SECRET, 0),
        ({"Webhook-Signature": SIGNATURE.removeprefix("v1,")}, BODY, SECRET, 0),
    ],
)
def test_any_other_is_refused(changes: dict[str, str], body: bytes, secret: str, late_seconds: int):
    with pytest.raises(SignatureInvalid):
        verify_webhook(HEADERS | changes, body, secret, now_seconds=SENT_AT + late_seconds)


def test_what_is_signed_and_no_event_is_refused():
    headers = HEADERS | {"Webhook-Signature": signature_of(ID, str(SENT_AT), b"[]", SECRET)}
    with pytest.raises(SignatureInvalid, match="no event"):
        verify_webhook(headers, b"[]", SECRET, now_seconds=SENT_AT)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64!", "hunter2", SECRET + "\n", "whsec_é"])
def test_a_secret_that_is_none_is_told_before_anything_is_believed(secret: str):
    """What would be taken with the key that an empty or a raw text makes, anybody could forge."""
    text = secret.removeprefix("whsec_")
    signed = f"{ID}.{SENT_AT}.".encode() + BODY
    forged = base64.b64encode(hmac.digest(text.encode(), signed, hashlib.sha256)).decode()
    with pytest.raises(ValueError, match="secret"):
        verify_webhook(HEADERS | {"Webhook-Signature": f"v1,{forged}"}, BODY, secret, now_seconds=SENT_AT)
    with pytest.raises(ValueError, match="secret"):
        verify_webhook({}, BODY, secret, now_seconds=SENT_AT)
