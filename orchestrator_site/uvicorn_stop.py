"""uvicorn's side of a polite stop: it lets nobody in from the signal on, so the signal reaches it when others have
noticed. What it then does itself: WebSockets are closed with 1012, and requests in hand are finished.
See docs/private-hooks.md."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

from orchestrator_site.draining import drain
from orchestrator_site.watching import watch
from pools import stopping

Application = Callable[[Any, Any, Any], Awaitable[None]]


def stopping_politely(application: Application) -> Application:
    """The application, for a server that may be uvicorn."""

    async def with_lifespan(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":  # the server starts, and has its signal handlers by now
            _take_the_signals()
            watch.begin()
        await application(scope, receive, send)

    return with_lifespan


def _take_the_signals() -> None:
    server = sys.modules.get("uvicorn.server")
    if server is None or threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        stop = signal.getsignal(number)
        if callable(stop) and isinstance(getattr(stop, "__self__", None), server.Server):
            signal.signal(number, politely(asyncio.get_running_loop(), stop))


def politely(loop: asyncio.AbstractEventLoop, stop: Callable[[int, FrameType | None], Any]) -> Any:
    """A signal handler that drains and then calls `stop`; a second signal does so at once."""
    tasks = set()

    def begin(number: int, frame: FrameType | None) -> None:
        if stopping.is_announced():
            stop(number, frame)
            return
        stopping.announce()
        loop.call_soon_threadsafe(lambda: tasks.add(loop.create_task(drain(lambda: stop(number, None), lambda: False))))

    return begin
