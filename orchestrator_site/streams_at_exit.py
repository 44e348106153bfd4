"""Open streams end well when the process ends."""

from __future__ import annotations

import asyncio
import atexit
from typing import Any

STREAMS_END_SECONDS = 2.0


class EndStreamsAtExit:
    """Ends open streams when the process ends.

    Daphne stops its loop with the streams still in it: their `finally` blocks would never run, and Python 3.11 crashes
    while it takes them down.
    """

    def __init__(self, application: Any) -> None:
        self.application = application
        self.loop: asyncio.AbstractEventLoop | None = None
        atexit.register(self.end_streams)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.loop = asyncio.get_running_loop()
        await self.application(scope, receive, send)

    def end_streams(self) -> None:
        if self.loop is None or self.loop.is_running() or self.loop.is_closed():
            return
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=STREAMS_END_SECONDS))
