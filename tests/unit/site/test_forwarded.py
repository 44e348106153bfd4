"""What proxies say is believed from the right, as far as they are ours; what clients say in their words is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_site.forwarded import BehindProxies, client_address, is_over_https

PEER = ["192.0.2.9", 4711]


async def scope_of(*headers: tuple[bytes, bytes], kind: str = "http") -> dict[str, Any]:
    """What the application gets to see."""
    seen: dict[str, Any] = {}

    async def application(scope: Any, _receive: Any, _send: Any) -> None:
        seen.update(scope)

    scope = {"type": kind, "root_path": "", "scheme": "http", "client": PEER, "headers": list(headers)}
    await BehindProxies(application)(scope, None, None)
    return seen


@pytest.mark.parametrize(
    ("said", "proxies", "address"),
    [
        (b"203.0.113.7", 1, "203.0.113.7"),
        (b"6.6.6.6, 203.0.113.7", 1, "203.0.113.7"),  # the client wrote the first
        (b"6.6.6.6, 203.0.113.7, 10.0.0.2", 2, "203.0.113.7"),
        (b"203.0.113.7", 2, "203.0.113.7"),  # the inner proxy was asked directly
        (b"2001:db8::1", 1, "2001:db8::1"),
        (b"[2001:db8::1]:4711", 1, "2001:db8::1"),
        (b"203.0.113.7:4711", 1, "203.0.113.7"),
        (b"203.0.113.7", 0, ""),
        (b"6.6.6.6, unknown", 1, ""),
        (b"6.6.6.6,", 1, ""),
        (b"\xff", 1, ""),
        (b"", 1, ""),
        (b"203.0.113.7 evil", 1, ""),
    ],
)
def test_the_clients_address_is_what_the_outermost_trusted_proxy_saw(said: bytes, proxies: int, address: str):
    assert client_address([(b"x-forwarded-for", said)], proxies) == address


def test_what_comes_in_several_lines_is_one_list():
    assert client_address([(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", b"203.0.113.7")], 1) == "203.0.113.7"


@given(st.lists(st.binary(max_size=30), max_size=4), st.integers(0, 3))
def test_nothing_that_is_sent_is_an_error(values: list[bytes], proxies: int):
    headers = [(name, value) for value in values for name in (b"x-forwarded-for", b"x-forwarded-proto")]
    client_address(headers, proxies)
    is_over_https(headers, proxies)


@pytest.mark.parametrize(
    ("said", "proxies", "expected"),
    [
        (b"https", 1, True),
        (b"HTTPS", 1, True),
        (b"http", 1, False),
        (b"https, http", 1, False),
        (b"https", 0, False),
        (b"https; script-src *", 1, False),
        (b"gopher", 1, False),
    ],
)
def test_the_scheme_is_what_a_trusted_proxy_says_or_else_that_of_the_public_address(
    settings, said: bytes, proxies: int, *, expected: bool
):
    settings.HTTPS_ONLY = False
    assert is_over_https([(b"x-forwarded-proto", said)], proxies) is expected


@pytest.mark.parametrize("said", [b"", b"gopher", b"\xff"])
def test_behind_a_proxy_that_says_nothing_a_public_address_over_https_is_believed(settings, said: bytes):
    settings.HTTPS_ONLY = True
    assert is_over_https([(b"x-forwarded-proto", said)], 1)


async def test_servers_words_are_dropped_before_anything_reads_them(settings):
    settings.TRUSTED_PROXIES = 1
    words = [b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-prefix", b"forwarded"]
    words += [b"daphne-root-path", b"x-real-ip", b"x-script-name"]
    seen = await scope_of((b"host", b"arcade.test"), *((word, b"/prefix") for word in words))
    assert seen["headers"] == [(b"host", b"arcade.test")]
    assert seen["root_path"] == ""


async def test_without_trusted_proxies_the_client_is_who_asks(settings):
    settings.TRUSTED_PROXIES = 0
    seen = await scope_of((b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-proto", b"https"))
    assert (seen["client"], seen["scheme"]) == (PEER, "http")


@pytest.mark.parametrize(("kind", "scheme"), [("http", "https"), ("websocket", "wss")])
async def test_behind_one_the_client_is_who_asked_it(settings, kind: str, scheme: str):
    settings.TRUSTED_PROXIES = 1
    said = ((b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-proto", b"https"))
    seen = await scope_of(*said, kind=kind)
    assert (seen["client"], seen["scheme"]) == (["203.0.113.7", 0], scheme)
