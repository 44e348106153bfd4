"""A web process that stops ends what would go on for long, and tells readers to come back: they do so elsewhere, by
their cursor. Each ends at a moment of its own, so that not all come back at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

SERVICE_RESTART = 1012  # a WebSocket's closing code
RETRY_LEAST_MS, RETRY_MOST_MS = 200, 1_000


class Closing(Exception):
    """This process stops."""


class Doors:
    """What is open on one event loop."""

    def __init__(self) -> None:
        self.is_closed = False
        self.open: dict[asyncio.Timeout, float] = {}


_doors: WeakKeyDictionary[asyncio.AbstractEventLoop, Doors] = WeakKeyDictionary()


def doors() -> Doors:
    """Those of the running event loop."""
    return _doors.setdefault(asyncio.get_running_loop(), Doors())


@asynccontextmanager
async def until_closing(patience_seconds: float = 0) -> AsyncIterator[None]:
    """`async with until_closing():` what may take long. The block is left, and Closing raised, once this process
    stops, or so long after it."""
    mine = doors()
    limit = asyncio.timeout_at(asyncio.get_running_loop().time() + patience_seconds if mine.is_closed else None)
    try:
        async with limit:
            mine.open[limit] = patience_seconds
            try:
                yield
            finally:
                mine.open.pop(limit, None)
    except TimeoutError:
        if limit.expired():
            raise Closing from None
        raise


def close(spread_seconds: float) -> None:
    """End what is open on the running event loop, each within so many seconds."""
    mine, now = doors(), asyncio.get_running_loop().time()
    mine.is_closed = True
    for limit, patience_seconds in mine.open.items():
        limit.reschedule(now + patience_seconds + random.random() * spread_seconds)  # noqa: S311


def farewell() -> str:
    """The last words of a stream of server-sent events: when to come back."""
    return f"retry: {random.randint(RETRY_LEAST_MS, RETRY_MOST_MS)}\n\n"  # noqa: S311
