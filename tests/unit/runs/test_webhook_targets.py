"""Webhooks lead to public addresses alone."""

from __future__ import annotations

import socket
import threading
import time

import httpcore
import pytest

from pools.cloud.bounded import Deadline
from pools.cloud.outward import Inside, is_public
from pools.problems import Problem
from runs.webhooks import targets
from runs.webhooks.targets import Outward, require_allowed


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e"])
def test_public_addresses_may_be_asked(address: str):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "ff02::1", "fec0::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1", "2001:0:1::1"),
        *("", "localhost", "8.8.8.8.8"),
    ],
)
def test_no_other_may(address: str):
    assert not is_public(address)


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def found(host: str, port: int, **_: object) -> list[tuple]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", found)


def test_a_name_that_leads_out_and_in_is_refused(monkeypatch):
    resolving(monkeypatch, "8.8.8.8", "10.0.0.1")
    with pytest.raises(Inside, match="no public address") as refused:
        Outward().addresses("example.com", 443)
    assert "10.0.0.1" not in str(refused.value), "nobody learns what our names resolve to"


def test_where_they_may_go_inside_they_do(monkeypatch, settings):
    settings.WEBHOOKS_MAY_GO_INSIDE = True
    resolving(monkeypatch, "10.0.0.1")
    assert Outward().addresses("example.com", 443) == ["10.0.0.1"]


def test_it_is_connected_to_the_very_address_that_was_looked_at(monkeypatch):
    """The name is asked for once: what it resolves to a moment later does not matter."""
    asked, connected = [], []

    def found(host: str, port: int, **_: object) -> list[tuple]:
        asked.append(host)
        address = "8.8.8.8" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    class Refusing:
        def connect_tcp(self, host: str, *_: object) -> None:
            connected.append(host)
            raise httpcore.ConnectError("refused")

    monkeypatch.setattr(socket, "getaddrinfo", found)
    backend = Outward()
    backend._plain = Refusing()
    with pytest.raises(httpcore.ConnectError, match="refused"):
        backend.connect_tcp("example.com", 443)
    assert (asked, connected) == (["example.com"], ["8.8.8.8"])


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "x",
            "example.com",
            "//example.com",
            "ftp://example.com",
            "file:///etc/passwd",
            "http://",
            "https://:443",
        ),
        *("https://ada:secret@example.com/", "https://ada@example.com/", "https://example.com:0/", "https://a b.com/"),
        *(
            "https://example.com:99999/",
            "https://example.com/#part",
            "https://exam\nple.com/",
            "https://ex\x00ample.com",
        ),
        *("https://bücher.example/", "https://example.com/" + "x" * 500),
        *("http://127.0.0.1:8000/", "http://[::1]/", "http://localhost/", "http://2130706433/", "http://0x7f.1/"),
        *("http://169.254.169.254/metadata", "http://[::ffff:127.0.0.1]/", "http://nothing.invalid/"),
    ],
)
def test_what_is_no_public_address_is_refused_and_named(url: str):
    with pytest.raises(Problem) as refused:
        require_allowed(url)
    assert (refused.value.status, refused.value.code) == (422, "bad_target")
    assert refused.value.as_json()["field"] == "url"


@pytest.mark.parametrize("url", ["http://xn--.com/", "https://xn--a.example/", "https://example.com:65536/"])
def test_what_no_connection_can_be_opened_to_is_refused(url: str, monkeypatch, settings):
    """The first was an error of ours, the last was taken and failed at each delivery."""
    settings.WEBHOOKS_MAY_GO_INSIDE = True
    resolving(monkeypatch, "8.8.8.8")
    with pytest.raises(Problem) as refused:
        require_allowed(url)
    assert (refused.value.status, refused.value.code) == (422, "bad_target")


def test_a_lookup_that_takes_too_long_is_not_waited_for(monkeypatch):
    """The system's own takes as long as name servers let it."""
    has_ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: has_ended.wait(60))
    monkeypatch.setattr(targets, "LOOKUP_SECONDS", 0.1)
    began = time.monotonic()
    with pytest.raises(Problem, match="in time") as refused:
        require_allowed("https://slow.example/")
    assert refused.value.code == "bad_target"
    with pytest.raises(httpcore.ConnectTimeout):
        Outward().connect_tcp("slow.example", 443, timeout=Deadline(0.1))
    assert time.monotonic() - began < 30
    has_ended.set()


def test_a_public_one_is_taken(monkeypatch):
    resolving(monkeypatch, "8.8.8.8")
    for url in ("https://example.com/hooks?token=7", "http://example.com:8080", "https://8.8.8.8/"):
        require_allowed(url)
