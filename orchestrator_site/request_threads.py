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

from orchestrator_site import health, unavailable
from orchestrator_site.metrics.meters import THREAD_WAIT_SECONDS
from orchestrator_site.sign_in.addresses import network_of
from orchestrator_site.sign_in.pace import Pace
from pools import clock

THREADS = 16  # for those who look, and as many for those who change something and may wait for a lock
PROBE_THREADS = 2
SIGN_IN_THREADS = 1
HASHING_THREADS = 1  # a password takes a core for a third of a second
MOST_WAITING_TO_HASH = 20
LONGEST_WAIT_SECONDS = 5.0  # for a thread: with all of them stuck at a lock, who comes next is told so
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
SIGN_IN = "/admin/login/"
# What hashes passwords when it is sent something: signing in, changing one's password, and the accounts' own pages.
HASHING = (SIGN_IN, "/admin/password_change/", "/admin/auth/user/")


def may_hash(request: HttpRequest) -> bool:
    return request.method not in SAFE and request.path.startswith(HASHING)


class InOneThread(ASGIHandler):
    """Django's own handler, with a request's middlewares and view in one of a few threads that keep their connection
    to the database. All of them are synchronous; Django would change threads twice for each middleware that need not
    be, and connect anew for each request."""

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)
        chain: Callable[[HttpRequest], HttpResponseBase] = self._middleware_chain  # type: ignore[has-type]
        looking = ThreadPoolExecutor(THREADS, thread_name_prefix="request")
        changing = ThreadPoolExecutor(THREADS, thread_name_prefix="change")
        # Probes never wait for the others, and whether the process lives is told without a word from the database.
        probes = {path: ThreadPoolExecutor(PROBE_THREADS, thread_name_prefix="probe") for path in health.VIEWS}
        # The others never wait for passwords to be hashed, nor for a flood of who wants to sign in.
        hashing = ThreadPoolExecutor(HASHING_THREADS, thread_name_prefix="hashing")
        apart = probes | {SIGN_IN: ThreadPoolExecutor(SIGN_IN_THREADS, thread_name_prefix="sign-in")}
        at_hashing = 0
        pace = Pace()

        def answer(request: HttpRequest, came_at_seconds: float) -> HttpResponseBase:
            waited_seconds = clock.monotonic() - came_at_seconds
            THREAD_WAIT_SECONDS.note(waited_seconds)
            if waited_seconds > LONGEST_WAIT_SECONDS:
                return unavailable.answer_alone(request.path)
            reset_queries()
            close_old_connections()
            try:
                return chain(request)
            finally:
                close_old_connections()

        async def answer_in(threads: ThreadPoolExecutor, request: HttpRequest) -> HttpResponseBase:
            in_thread = sync_to_async(answer, thread_sensitive=False, executor=threads)
            answering = asyncio.ensure_future(in_thread(request, clock.monotonic()))
            try:
                return await asyncio.shield(answering)
            except asyncio.CancelledError:  # the client left; its request is closed only when the view is done with it
                await asyncio.wait([answering])
                raise

        async def answer_in_thread(request: HttpRequest) -> HttpResponseBase:
            nonlocal at_hashing
            hashes = may_hash(request)
            is_paced = hashes or request.path == SIGN_IN
            if is_paced and not pace.allows(network_of(request) or "", clock.monotonic()):
                return await pace.refuse()
            if not hashes:
                usual = looking if request.method in SAFE else changing
                return await answer_in(apart.get(request.path, usual), request)
            if at_hashing >= HASHING_THREADS + MOST_WAITING_TO_HASH:
                return unavailable.answer_alone(request.path)
            at_hashing += 1
            try:
                return await answer_in(hashing, request)
            finally:
                at_hashing -= 1

        self._middleware_chain = answer_in_thread
