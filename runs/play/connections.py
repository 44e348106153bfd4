"""Connections to sandboxes, kept by each event loop, and one request over them."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from weakref import WeakKeyDictionary

import httpx
from django.conf import settings

from pools.cloud.kept import KeptPools

KEPT_OF_A_GAME = 6  # as many as a browser asks for at once
MOST_KEPT_SANDBOXES = 500  # to which connections are kept that nobody uses now
# What this machine lacks, and no game.
OUR_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})

Transport = httpx.AsyncHTTPTransport

_transports: WeakKeyDictionary[asyncio.AbstractEventLoop, KeptPools[Transport]] = WeakKeyDictionary()
_closing: set[asyncio.Task[None]] = set()


@asynccontextmanager
async def connections_to(url: str) -> AsyncIterator[Transport]:
    """The connections to a sandbox, for one request and its answer. Not a client: that would also keep cookies, and
    read where a redirect leads."""
    loop = asyncio.get_running_loop()
    transports = _transports.get(loop)
    if transports is None:
        transports = _transports[loop] = _new_transports()
    transport, unused = transports.take(url)
    if unused:
        closing = loop.create_task(_close(unused))
        _closing.add(closing)
        closing.add_done_callback(_closing.discard)
    try:
        yield transport
    finally:
        transports.give_back(url)


async def ask(transport: Transport, request: httpx.Request) -> httpx.Response:
    """The answer, whose body is yet to come. Raises httpx's errors."""
    try:
        return await transport.handle_async_request(request)
    except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
        if request.method not in ("GET", "HEAD") or not isinstance(request.stream, httpx.ByteStream):
            raise
        return await transport.handle_async_request(request)  # the other side had just closed the kept connection


def is_our_shortage(error: BaseException | None) -> bool:
    """Whether it is this machine that has no connection to give."""
    while error is not None:
        if getattr(error, "errno", None) in OUR_SHORTAGES:
            return True
        error = error.__cause__ or error.__context__
    return False


async def _close(unused: Iterable[Transport]) -> None:
    """Beside the request that found them: its player does not wait for others' connections."""
    for each in unused:
        with suppress(Exception):
            await each.aclose()


def _new_transports() -> KeptPools[Transport]:
    idle_seconds = 4.0 if settings.CLOUD_IS_EMBEDDED else 60.0  # local agents close after 5 s, the edge after 100
    # How many there are at once, shares limit (`runs.play.shares`).
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=KEPT_OF_A_GAME, keepalive_expiry=idle_seconds)
    certificates = httpx.create_ssl_context(trust_env=False)  # takes longer than a request

    def make() -> Transport:
        return Transport(verify=certificates, limits=limits, trust_env=False)

    return KeptPools(make, idle_seconds=idle_seconds, most=MOST_KEPT_SANDBOXES)
