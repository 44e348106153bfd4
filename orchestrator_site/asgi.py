"""What Daphne serves: Django, and beside it what must not go through Django's request handler."""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import django
from asgiref.sync import sync_to_async
from channels.routing import ProtocolTypeRouter
from django.core.handlers.asgi import ASGIHandler
from django.db import close_old_connections, reset_queries
from django.http import HttpRequest
from django.http.response import HttpResponseBase

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
django.setup(set_prefix=False)

from orchestrator_site import health  # noqa: E402  the apps must be loaded
from runs.routing import beside, sockets  # noqa: E402

STREAMS_END_SECONDS = 2.0
THREADS = 32
PROBE_THREADS = 2


class InOneThread(ASGIHandler):
    """Django's own handler, with a request's middlewares and view in one of a few threads that keep their connection
    to the database. All of them are synchronous; Django would change threads twice for each middleware that need not
    be, and connect anew for each request."""

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)
        chain: Callable[[HttpRequest], HttpResponseBase] = self._middleware_chain  # type: ignore[has-type]
        requests = ThreadPoolExecutor(THREADS, thread_name_prefix="request")
        probes = ThreadPoolExecutor(PROBE_THREADS, thread_name_prefix="probe")  # they never wait for the others

        def answer(request: HttpRequest) -> HttpResponseBase:
            reset_queries()
            close_old_connections()
            try:
                return chain(request)
            finally:
                close_old_connections()

        async def answer_in_thread(request: HttpRequest) -> HttpResponseBase:
            threads = probes if request.path in health.VIEWS else requests
            answering = asyncio.ensure_future(sync_to_async(answer, thread_sensitive=False, executor=threads)(request))
            try:
                return await asyncio.shield(answering)
            except asyncio.CancelledError:  # the client left; its request is closed only when the view is done with it
                await asyncio.wait([answering])
                raise

        self._middleware_chain = answer_in_thread


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


application = EndStreamsAtExit(ProtocolTypeRouter({"http": beside(cast(Any, InOneThread())), "websocket": sockets}))
