"""What Daphne serves: Django, and beside it what must not go through Django's request handler."""

from __future__ import annotations

import asyncio
import atexit
import os
from typing import Any, cast

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
django_application = get_asgi_application()

from runs.routing import beside, sockets  # noqa: E402  the apps must be loaded

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


application = EndStreamsAtExit(
    ProtocolTypeRouter({"http": beside(cast(Any, django_application)), "websocket": sockets})
)
