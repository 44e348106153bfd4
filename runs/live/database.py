"""Database reads, and the few writes, for what runs on the event loop: streams and the proxy.

They have threads and connections of their own. Django's would be pinned to one request, and a stream can be a request
of an hour.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, connection

from pools import clock

P = ParamSpec("P")
R = TypeVar("R")

THREADS = 4
WRITERS = 2
PROVEN_SECONDS = 2.0  # how long a kept connection is believed to be one to the server that is written to
_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="reader")
_writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="writer")


async def read(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What the function returns, called in a thread whose connection is kept from call to call."""
    call = partial(_call, partial(function, *args, **kwargs))
    return await asyncio.get_running_loop().run_in_executor(_threads, call)


async def write(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The same for what writes, and may wait for a lock: no reader waits with it."""
    call = partial(_call, partial(function, *args, **kwargs))
    return await asyncio.get_running_loop().run_in_executor(_writers, call)


_proven = threading.local()


def _prove_sometimes() -> None:
    """Have the next query prove its connection: a server that lost its part goes on answering, from the past."""
    now_seconds = clock.monotonic()
    if now_seconds - getattr(_proven, "at_seconds", 0.0) > PROVEN_SECONDS:
        _proven.at_seconds = now_seconds
        connection.close_if_unusable_or_obsolete()


def _call(function: Callable[[], R]) -> R:
    _prove_sometimes()
    try:
        return function()
    except (OperationalError, InterfaceError):
        if connection.connection is not None and connection.is_usable():
            raise  # it waited for a lock, say: asked once more, it would wait as long again
        connection.close()  # the server was restarted, or cut an idle connection: once more with a new one
        return function()
    except DatabaseError:
        connection.close()
        raise
