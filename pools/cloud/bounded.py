"""HTTP that can't outlast its time or outgrow its size: the connections of this process, and bodies read with a limit.

A timeout of httpx meets one wait on the connection: an answer that trickles meets none of them. A `Deadline` is a
timeout that runs out: given once for a request, each wait gets what is left of it, from connecting to the last byte.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpcore
import httpx

from pools import clock
from pools.cloud.kept import KeptPools

CONNECT_TIMEOUT_SECONDS = 5.0
LOOPBACK_IDLE_SECONDS = 4.0  # uvicorn closes after 5: a connection is given up before it goes stale
EDGE_IDLE_SECONDS = 60.0  # the edge in front of App Platform cuts at about 100
MOST_CONNECTIONS = 200  # to one address
MOST_KEPT_CONNECTIONS = 20
MOST_KEPT_ADDRESSES = 200
PIECE_BYTES = 64 * 1024
PACKED = frozenset({"gzip", "x-gzip", "deflate"})

_clients: dict[tuple[int, bool], KeptPools[httpx.Client]] = {}


class TooLarge(Exception):
    """The body is longer than its reader takes; the message says how long that is."""


class Deadline(float):
    """So many seconds from now, for everything that a request waits for."""

    at: float

    def __new__(cls, seconds: float) -> Deadline:
        deadline = super().__new__(cls, seconds)
        deadline.at = clock.monotonic() + seconds
        return deadline

    def left_seconds(self) -> float:
        return self.at - clock.monotonic()


def timeout(seconds: float, connect_seconds: float = CONNECT_TIMEOUT_SECONDS) -> httpx.Timeout:
    """One deadline for a whole request, and an earlier one for its connection."""
    connect = Deadline(min(connect_seconds, seconds))
    return httpx.Timeout(Deadline(seconds), connect=connect, pool=connect)


@contextmanager
def client_for(url: str, *, is_loopback: bool) -> Iterator[httpx.Client]:
    """This process's client for the address in `url`, for one request and its answer: one made before a fork would
    share its sockets."""
    key = (os.getpid(), is_loopback)
    clients = _clients.get(key) or _clients.setdefault(key, _new_clients(is_loopback))
    origin = "/".join(url.split("/", 3)[:3])
    client, unused = clients.take(origin)
    try:
        yield client
    finally:
        clients.give_back(origin)
        for each in unused:
            with suppress(Exception):
                each.close()


def pieces(response: httpx.Response, most_bytes: int) -> Iterator[bytes]:
    """The body as it comes in, unpacked where it was packed though nobody asked for that. Raises TooLarge, httpx's."""
    count = 0
    for piece in _unpacked(response):
        count += len(piece)
        if count > most_bytes:
            raise TooLarge(f"more than {most_bytes // 1024**2} MiB")
        yield piece


def whole(response: httpx.Response, most_bytes: int) -> bytes:
    """The whole body. Raises TooLarge, httpx's."""
    return b"".join(pieces(response, most_bytes))


def beginning(response: httpx.Response, most_bytes: int) -> bytes:
    """At most so much of the body, as it came; the rest is not waited for."""
    found = bytearray()
    for piece in response.iter_raw():
        found += piece
        if len(found) >= most_bytes:
            break
    return bytes(found[:most_bytes])


def _unpacked(response: httpx.Response) -> Iterable[bytes]:
    packing = response.headers.get("content-encoding", "identity").strip().lower()
    if packing in ("identity", ""):
        return response.iter_raw()
    if packing in PACKED:
        return _inflated(response.iter_raw())
    raise httpx.DecodingError(f"packed as {packing[:20]!r}, and not asked to")


def _inflated(packed: Iterable[bytes]) -> Iterator[bytes]:
    """Never more than a piece at a time: a packed kilobyte may hold a megabyte."""
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        for piece in packed:
            rest = piece
            while rest:
                yield unpacker.decompress(rest, PIECE_BYTES)
                rest = unpacker.unconsumed_tail
        yield unpacker.flush(PIECE_BYTES)
    except zlib.error as error:
        raise httpx.DecodingError(f"it can't be unpacked ({error})") from None
    if not unpacker.eof:
        raise httpx.DecodingError("what was packed is cut short")


def _look_up(host: str, port: int) -> Future[list[Any]]:
    """In a thread of its own, which nobody has to wait for: the system's lookup knows no timeout."""
    found: Future[list[Any]] = Future()

    def look() -> None:
        try:
            found.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            found.set_exception(error)

    threading.Thread(target=look, name="lookup", daemon=True).start()
    return found


class Punctual(httpcore.NetworkBackend):
    """Opens connections that keep to the deadline that comes as their timeout."""

    def __init__(self) -> None:
        self._plain = httpcore.SyncBackend()

    def addresses(self, host: str, port: int, seconds: float | None = None) -> list[str]:
        """Those of a name, to be tried in this order. Raises httpcore.ConnectError, ConnectTimeout."""
        try:
            found = _look_up(host, port).result(seconds)
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"the address of {host} was not found in time") from None
        except (OSError, OverflowError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} has no address: {error}") from None
        return list(dict.fromkeys(str(address[4][0]) for address in found))

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failed: Exception = httpcore.ConnectError(f"{host} has no address")
        addresses = self.addresses(host, port, _left(timeout, httpcore.ConnectTimeout))
        for tried, address in enumerate(addresses):
            try:
                left = _left(timeout, httpcore.ConnectTimeout)
                if left is not None:  # one that swallows packets leaves time for those after it
                    left /= len(addresses) - tried
                return PunctualStream(self._plain.connect_tcp(address, port, left, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed


class PunctualStream(httpcore.NetworkStream):
    def __init__(self, plain: httpcore.NetworkStream) -> None:
        self._plain = plain

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._plain.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), PIECE_BYTES):
            self._plain.write(buffer[start : start + PIECE_BYTES], _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._plain.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return PunctualStream(self._plain.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._plain.get_extra_info(info)


def _left(timeout: float | None, too_late: Callable[[str], Exception]) -> float | None:
    if not isinstance(timeout, Deadline):
        return timeout
    left = timeout.left_seconds()
    if left <= 0:
        raise too_late(f"{timeout:g} s are over")
    return left


def _new_clients(is_loopback: bool) -> KeptPools[httpx.Client]:
    idle_seconds = LOOPBACK_IDLE_SECONDS if is_loopback else EDGE_IDLE_SECONDS
    # Certificates take 20 ms to load, and loopback speaks http; https there is refused for want of them.
    certificates = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if is_loopback else httpx.create_ssl_context()
    # A game's cookie must not reach another sandbox: on loopback all share a host, and cookies know no ports.
    no_cookies = DefaultCookiePolicy(allowed_domains=[])

    def make() -> httpx.Client:
        client = httpx.Client(
            headers={"Accept-Encoding": "identity"},
            trust_env=not is_loopback,  # no HTTP_PROXY between us and this machine
            verify=certificates,
            limits=httpx.Limits(
                max_connections=MOST_CONNECTIONS,
                max_keepalive_connections=MOST_KEPT_CONNECTIONS,
                keepalive_expiry=idle_seconds,
            ),
        )
        # httpx has no public way to the backend of its pools, nor of those that lead through a proxy.
        for transport in (client._transport, *client._mounts.values()):
            with suppress(AttributeError):  # no transport, for what no proxy is asked for
                transport._pool._network_backend = Punctual()  # type: ignore[union-attr]
        client.cookies.jar.set_policy(no_cookies)
        return client

    return KeptPools(make, idle_seconds=idle_seconds, most=MOST_KEPT_ADDRESSES)
