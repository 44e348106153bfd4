"""What no log and no trace tells, however it is spelled; and what that costs with lines that somebody else wrote."""

from __future__ import annotations

import time

import pytest
from django.conf import settings

from pools import redaction
from pools.cloud.records import AppSpec
from pools.redaction import redacted, redacted_fields


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Authorization: Bearer abcdefgh.ijkl", "Authorization: Bearer …"),
        (f"key_0123abcd_{'x' * 43} is refused", "key_0123abcd_… is refused"),
        (f"run_{'0a' * 32}", "run_…"),
        ("whsec_MDEyMzQ1Njc4OWFiY2RlZg== signs", "whsec_… signs"),
        (f"dop_v1_{'0a' * 32}", "dop_v1_…"),
        ("postgres://me:pass@db:5432/x", "postgres://…@db:5432/x"),
        ("https://s.example/a.tar.gz?X-Amz-Signature=0a&X-Amz-Date=1", "https://s.example/a.tar.gz?X-Amz-Signature=…&X-Amz-Date=1"),
        ("/games/snapshots/a?signature=1tAb:xyz'", "/games/snapshots/a?signature=…'"),
        ("{'password': 'hunter2', 'a': 'b'}", "{'password': '…', 'a': 'b'}"),
        ('{"SANDBOX_API_TOKEN": "0a1b"}', '{"SANDBOX_API_TOKEN": "…"}'),
        ("token='0a1b'", "token='…'"),
        ("user=joe password=0a1b dbname=x", "user=joe password=… dbname=x"),
        ("Cookie: sessionid=0a; csrftoken=1b", "Cookie: …"),
        ("Set-Cookie: sessionid=0a; Path=/\nServer: x", "Set-Cookie: …\nServer: x"),
        ("X-API-Key: 0a1b", "X-API-Key: …"),
        ("X-Sandbox-Token: 0a1b", "X-Sandbox-Token: …"),
        ("[(b'authorization', b'Token 0a'), ('cookie', 'a=b')]", "[(b'authorization', b'…'), ('cookie', '…')]"),
        ('{"token" : "0a\'1b", "a": 1}', '{"token" : "…", "a": 1}'),
        (r'{\"token\": \"0a1b\", \"a\": 1}', r'{\"token\": \"…\", \"a\": 1}'),
        ("{'agent_key': '0a', 'api_key': '1b'}", "{'agent_key': '…', 'api_key': '…'}"),
        ("https://0a1b@git.example/x.git", "https://…@git.example/x.git"),
        (f"ghp_{'0a' * 18}", "ghp_…"),
        ("postgres://me:a/b@db:5432/x", "postgres://…@db:5432/x"),
        ("postgres://me:a@b@db:5432/x", "postgres://…@db:5432/x"),
        ("/play/x?t=0a&code=1b&auth=2c&sig=3d", "/play/x?t=…&code=…&auth=…&sig=…"),
        ("/sign-in?next=%2Fx%3Ftoken%3D0a1b", "/sign-in?next=%2Fx%3Ftoken%3D…"),
        (f"xkey_0123abcd_{'x' * 43} cookie_run_{'0a' * 32}", "xkey_0123abcd_… cookie_run_…"),
        ("Bearer   abcdefgh.ijkl", "Bearer   …"),
        ("{'is_token': True}, monkey: 1, a key: 2", "{'is_token': True}, monkey: 1, a key: 2"),
        ("http://127.0.0.1:8000/x?mail=me@example.com", "http://127.0.0.1:8000/x?mail=me@example.com"),
        ("run 1a2b3c4d: snake is ready after 5 ms", "run 1a2b3c4d: snake is ready after 5 ms"),
        ("https://example.com/?page=2&run_id=7", "https://example.com/?page=2&run_id=7"),
    ],
)  # fmt: skip
def test_what_is_secret_is_not_told(text: str, told: str) -> None:
    assert redacted(text) == told


def test_our_own_secrets_are_not_told_wherever_they_stand() -> None:
    assert settings.SECRET_KEY not in redacted(f"no<{settings.SECRET_KEY}>pattern")


def test_the_secrets_in_addresses_and_headers_of_settings_are_ours_too(settings) -> None:
    settings.REDIS_URL = "redis://:re%2Fdis-pass@cache:6379/0"
    settings.TRACES_HEADERS = "authorization=Bearer%20collector%2Bpass,tenant=a-long-tenant"
    redaction._own.cache_clear()
    try:
        told = redacted("re/dis-pass re%2Fdis-pass collector+pass collector%2Bpass a-long-tenant")
    finally:
        redaction._own.cache_clear()
    assert set(told) == {"…", " "}


def test_the_texts_of_a_record_are_told_without_what_is_secret_by_name_or_spelling() -> None:
    record = {"message": "Bearer abcdefgh", "api_key": "0a", "n": 1, "inner": [{"token": "1b", "a": "b"}]}
    told = {"message": "Bearer …", "api_key": "…", "n": 1, "inner": [{"token": "…", "a": "b"}]}
    assert redacted_fields(record) == told


def test_a_specs_token_is_not_in_what_python_writes_of_it() -> None:
    assert "0a1b" not in repr(AppSpec("name", "owner", "image", "region", "size", token="0a1b"))


HOSTILE = [
    "a", "'", '"', "\\", ":", "=", "/", "@", "?", "%", " ", "://", "://a:", "://x:@", "?a", "?token", "?-token",
    "'token", "token", "token-", "token:", "token='", "token, ", "key", "-key", "'key", "authorization",
    "authorization:", "cookie: b'", "cookie ", "bearer ", "basic", "key_00000000_", "run_0", "whsec_", "dop_v1_",
    "ghp_", "%3F", "%3Ft", "%253Fcode%253D", "signature.",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("first", ["", "'", "://", "token='", "Bearer "])
def test_a_hostile_line_costs_no_more_than_its_length(monkeypatch, first: str, piece: str) -> None:
    """Whoever asks for a page that is not there writes one. Its first 100 KB took quarters of a minute."""
    monkeypatch.setattr(redaction, "MOST_CHARACTERS", 100_000)  # what is cut off would hide it

    def cost(characters: int) -> float:
        began = time.process_time()
        redacted((first + piece * characters)[:characters])
        return time.process_time() - began

    short, long = (min(cost(characters) for _ in range(3)) for characters in (25_000, 100_000))
    assert long < 10 * max(short, 0.005), "four times the text takes some four times as long, not sixteen times"


def test_a_long_text_is_cut_and_says_so() -> None:
    told = redacted("a" * 100_000)
    assert told.endswith("… (100000 characters)")
    assert len(told) < 17_000


def test_a_secret_at_the_cut_is_not_told_by_half() -> None:
    text = " " * (redaction.MOST_CHARACTERS - 4) + settings.SECRET_KEY + "b" * 100
    assert settings.SECRET_KEY[:4] not in redacted(text)
