"""Signatures are those of Standard Webhooks, and nothing that was changed passes."""

from __future__ import annotations

import pytest

from runs.webhooks import signing

# The specification's own example.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
SENT = {"webhook-id": MESSAGE, "webhook-timestamp": str(AT), "webhook-signature": SIGNATURE}


def test_a_delivery_is_signed_as_the_specification_shows_it():
    assert signing.signature(SECRET, MESSAGE, AT, BODY) == SIGNATURE
    assert signing.headers([SECRET], MESSAGE, AT, BODY) == SENT


def test_each_secret_is_another_and_long():
    first, second = signing.new_secret(), signing.new_secret()
    assert first != second
    assert signing.signature(first, MESSAGE, AT, BODY) != signing.signature(second, MESSAGE, AT, BODY)
    assert len(first) > 40


def test_a_receiver_takes_what_is_ours_also_beside_other_signatures():
    assert signing.why_refused(SECRET, SENT, BODY, AT + 60) == ""
    two = SENT | {"webhook-signature": f"v1,AAAA {SIGNATURE}"}
    assert signing.why_refused(SECRET, two, BODY, AT) == ""


@pytest.mark.parametrize(
    ("changes", "body", "now"),
    [
        ({}, BODY + b" ", AT),
        ({}, BODY, AT + 301),
        ({}, BODY, AT - 301),
        ({"webhook-id": "msg_2"}, BODY, AT),
        ({"webhook-timestamp": str(AT + 1)}, BODY, AT),
        ({"webhook-timestamp": "x"}, BODY, AT),
        ({"webhook-signature": ""}, BODY, AT),
        ({"webhook-signature": "v1,"}, BODY, AT),
        ({"webhook-signature": SIGNATURE.replace("v1", "v2")}, BODY, AT),
    ],
)
def test_what_was_changed_or_is_old_is_refused(changes: dict[str, str], body: bytes, now: int):
    assert signing.why_refused(SECRET, SENT | changes, body, now)
