"""What comes from outside is read within its size, its time, and to its end."""

import gzip
from collections.abc import Iterator
from typing import Any

import httpcore
import httpx
import pytest

from pools.cloud.bounded import Deadline, Punctual, PunctualStream, TooLarge, whole


class Body(httpx.SyncByteStream):
    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.pieces)


def answer(*pieces: bytes, packing: str = "identity") -> httpx.Response:
    return httpx.Response(200, headers={"content-encoding": packing}, stream=Body(*pieces))


def test_a_body_as_long_as_allowed_is_read_whole() -> None:
    assert whole(answer(b"ab", b"cd"), 4) == b"abcd"


def test_a_body_that_outgrows_its_limit_is_refused() -> None:
    with pytest.raises(TooLarge):
        whole(answer(b"ab", b"cd", b"e"), 4)


def test_a_packed_body_is_measured_unpacked() -> None:
    with pytest.raises(TooLarge):
        whole(answer(gzip.compress(b"0" * 1_000_000), packing="gzip"), 10_000)


def test_a_packed_body_that_is_cut_short_is_no_answer() -> None:
    with pytest.raises(httpx.DecodingError):
        whole(answer(gzip.compress(bytes(range(256)) * 40)[:-10], packing="gzip"), 1_000_000)


def test_nothing_more_is_read_once_the_deadline_is_over() -> None:
    stream = PunctualStream(httpcore.MockStream([b"a trickle"]))
    with pytest.raises(httpcore.ReadTimeout):
        stream.read(10, timeout=Deadline(0))
    assert stream.read(10, timeout=Deadline(60)) == b"a trickle"


def test_an_address_that_swallows_packets_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of two took the whole deadline: a host with one dead address could never be reached."""
    tried: list[tuple[str, float]] = []

    class Plain(httpcore.SyncBackend):
        def connect_tcp(self, host: str, port: int, timeout: float | None = None, *_: Any) -> httpcore.NetworkStream:
            tried.append((host, timeout or 0))
            if host == "192.0.2.1":
                raise httpcore.ConnectTimeout
            return httpcore.MockStream([])

    monkeypatch.setattr(Punctual, "addresses", lambda *_: ["192.0.2.1", "192.0.2.2"])
    backend = Punctual()
    backend._plain = Plain()
    backend.connect_tcp("two.example", 443, Deadline(4))
    assert [host for host, _ in tried] == ["192.0.2.1", "192.0.2.2"]
    assert tried[0][1] <= 2 < tried[1][1]
