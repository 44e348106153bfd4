"""A thread for each of Django's requests, while there are some."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.db import close_old_connections, reset_queries
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from orchestrator_site import health

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
