"""What is answered beside Django: streams, waiting polls, games, sockets. Everything else passes through."""

from __future__ import annotations

import re
from functools import partial
from uuid import UUID

from pools.problems import Problem
from runs.live.consumers import event_socket, nothing_here
from runs.live.hub import FLEET, Topic
from runs.live.streams import long_poll, stream
from runs.live.wire import Application, Receive, Scope, Send, answer_problem, query_of
from runs.play.proxy import play

RUN = r"(?P<run_id>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
STREAMS = re.compile(rf"/api/(?:stream/{RUN}|orchestrator/stream)/?")
POLLS = re.compile(rf"/api/(?:runs/{RUN}/events|orchestrator/logs)/?")
SOCKETS = re.compile(rf"/ws/(?:runs/{RUN}|orchestrator)/?")
PLAY = b"/play/"


async def sockets(scope: Scope, receive: Receive, send: Send) -> None:
    """The WebSocket application."""
    found = SOCKETS.fullmatch(scope["path"])
    if found is None:
        await nothing_here(receive, send)
    else:
        await event_socket(scope, receive, send, _topic(found))


def beside(django_application: Application) -> Application:
    """The HTTP application: ours where it is ours, else Django's."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await (_ours(scope) or django_application)(scope, receive, send)

    return application


def _ours(scope: Scope) -> Application | None:
    if scope["raw_path"].startswith(PLAY):
        return play
    if found := STREAMS.fullmatch(scope["path"]):
        return partial(_get_only, application=partial(stream, topic=_topic(found)))
    if (found := POLLS.fullmatch(scope["path"])) and scope["method"] == "GET" and "wait" in query_of(scope):
        return partial(long_poll, topic=_topic(found))
    return None


def _topic(found: re.Match[str]) -> Topic:
    return UUID(found["run_id"]) if found["run_id"] else FLEET


async def _get_only(scope: Scope, receive: Receive, send: Send, *, application: Application) -> None:
    if scope["method"] in ("GET", "HEAD"):
        await application(scope, receive, send)
    else:
        await answer_problem(send, Problem(405, "Streams are read with GET."))
