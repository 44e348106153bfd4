"""Events by three doors: WebSocket, server-sent events, and answers that wait for the next event (long poll).

They are beside Django, not inside: behind its middleware a stream would hold a thread and be buffered. There is no
channel layer; the hub reads each row once for all consumers of a process and hands its lines to each.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing, suppress
from functools import cached_property, partial
from typing import Any
from urllib.parse import parse_qsl

from channels.consumer import AsyncConsumer
from channels.generic.http import AsyncHttpConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.urls import Resolver404

from pools import clock, fleet_log, traces
from pools.about import about
from pools.moments import as_text
from pools.problems import CONTENT_TYPE, Problem
from runs import events
from runs.live import server_sent_events
from runs.live.backpressure import Flow, TooSlow
from runs.live.closing import SERVICE_RESTART, Closing, farewell, until_closing
from runs.live.cursors import beginning, number
from runs.live.database import read
from runs.live.hub import Standing, Topic, follow, standing
from runs.origins import require_allowed_host

HEARTBEAT_SECONDS = 10.0  # the edge in front of App Platform cuts after 100 s of silence, many proxies after 15
STALL_SECONDS = 20.0  # who reads nothing for so long is dropped
LONGEST_WAIT_SECONDS = 30
PAGE_LINES = 100
MOST_LINES = 500

# 4000 and the HTTP status of the same mistake.
BAD_REQUEST, FORBIDDEN, UNKNOWN = 4400, 4403, 4404
CLOSED_FOR = {403: FORBIDDEN, 404: UNKNOWN}
OVER = 1000
ALLOW = b"GET, HEAD, OPTIONS"  # of streams


class EventsConsumer(AsyncConsumer):
    """A reader of one topic. Its answer is a task beside Channels' dispatch, so that it hears its client leave; what
    fails in the task fails the consumer."""

    scope: Any
    answering: asyncio.Task[None] | None = None
    began_ns = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.began_ns = time.time_ns()  # noqa: TID251  as OpenTelemetry counts
        with about(run=scope["url_route"]["kwargs"].get("topic")):
            async with asyncio.TaskGroup() as self.tasks:
                await super().__call__(scope, partial(self._next_message, receive), send)

    async def _next_message(self, receive: Any) -> Any:
        """Pass on what Channels dispatches. Nobody reads what a client sends after its request (messages of a socket,
        parts of a body): it is neither kept nor dispatched, which would cost a thread each time."""
        while True:
            message = await receive()
            if self.answering is None or message["type"] in ("http.disconnect", "websocket.disconnect"):
                return message

    def note_first_event(self) -> None:
        """For the run's trace."""
        if self.topic is not None:
            traces.note_first("first event of a stream", self.topic, self.began_ns)

    def stop_answering(self) -> None:
        """The client has left."""
        if self.answering is not None:
            self.answering.cancel()

    @property
    def topic(self) -> Topic:
        topic: Topic = self.scope["url_route"]["kwargs"]["topic"]
        return topic

    @cached_property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True))

    @cached_property
    def headers(self) -> dict[str, str]:
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.scope["headers"]}

    async def standing(self) -> Standing:
        """Where the topic is now. Raises Problem when there is no such run."""
        found = await read(standing, self.topic)
        if found is None:
            raise Problem(404, "There is no such run.", code="no_such_run")
        return found

    def cursor(self, now: Standing) -> int:
        """Where the reader goes on. Raises Problem."""
        return number(self.query.get("after"), "after", beginning(self.topic, now))


# Over WebSocket.


class Socket(AsyncWebsocketConsumer):
    """A socket that is accepted before it is refused: only then a browser sees the close code."""

    async def refuse(self, problem: Problem) -> None:
        await self.send(json.dumps({"kind": "error"} | problem.as_json()))
        await self.close(CLOSED_FOR.get(problem.status, BAD_REQUEST), problem.detail)


class RefusedSocket(Socket):
    """Says why, and closes."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.problem = problem

    async def connect(self) -> None:
        await self.accept()
        await self.refuse(self.problem)


class EventSocket(EventsConsumer, Socket):
    """`/ws/runs/{run_id}/?after=N` and `/ws/orchestrator/?after=N`: all lines beyond N, one JSON text a message, until
    the run's end."""

    async def connect(self) -> None:
        await self.accept()
        try:
            cursor = self.cursor(await self.standing())
        except Problem as problem:
            await self.refuse(problem)
            return
        self.answering = self.tasks.create_task(self.send_events(cursor))

    async def disconnect(self, code: int) -> None:
        self.stop_answering()

    async def send_events(self, cursor: int) -> None:
        try:
            async with until_closing():
                await self._send_lines(cursor)
        except Closing:
            await self.close(SERVICE_RESTART)
            return
        except TooSlow:
            pass
        await self.close(OVER)

    async def _send_lines(self, cursor: int) -> None:
        is_first = True
        with Flow(self.base_send) as flow:
            async with aclosing(follow(self.topic, cursor, heartbeat_seconds=HEARTBEAT_SECONDS)) as batches:
                async for lines in batches:
                    if lines:
                        self.note_first_event()  # before it is sent: who has it may leave at once
                    for line in lines:
                        await flow.ready(STALL_SECONDS)
                        await self.send(line.json)
                    if not lines and not is_first:
                        await flow.ready(STALL_SECONDS)
                        await self.send(heartbeat())
                    is_first = False


def heartbeat() -> str:
    return json.dumps({"kind": "heartbeat", "at": as_text(clock.now())})


# Over HTTP.


class EventsOverHttp(EventsConsumer, AsyncHttpConsumer):
    """Asked with GET, so there is no body to wait for: the first part of a request is the whole of it."""

    async def http_request(self, message: Any) -> None:
        self.answering = self.tasks.create_task(self._answer())

    async def disconnect(self) -> None:
        self.stop_answering()

    async def _answer(self) -> None:
        try:
            if self.scope["method"] == "OPTIONS":
                await self.send_response(204, b"", headers=[(b"allow", ALLOW)])
                return
            if self.scope["method"] not in ("GET", "HEAD"):
                raise Problem(405, "Streams are read with GET.")
            require_allowed_host(self.headers.get("host", ""))
            await self.handle(b"")
        except Problem as problem:
            headers = [(name.lower().encode(), value.encode()) for name, value in problem.headers().items()]
            headers += [(b"allow", ALLOW)] if problem.status == 405 else []
            await self.send_json(problem.status, problem.as_json(), CONTENT_TYPE, headers)

    async def send_json(
        self, status: int, data: dict[str, Any], content_type: str, headers: list[tuple[bytes, bytes]]
    ) -> None:
        body = json.dumps(data).encode()
        always = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"x-content-type-options", b"nosniff"),
        ]
        await self.send_response(status, body, headers=[*always, *headers])


class EventStream(EventsOverHttp):
    """`/api/stream/{run_id}` and `/api/orchestrator/stream`: all lines from a cursor on (Last-Event-ID, else `after`),
    as they come, until the run's end."""

    async def handle(self, body: bytes) -> None:
        now = await self.standing()
        cursor = self.cursor(now)
        if now.is_over and cursor >= now.last_seq and self.headers.get("last-event-id"):
            # It has seen the end and reconnects by itself: 204 tells an EventSource not to come back.
            await self.send_response(204, b"")
            return
        await self.send_headers(headers=server_sent_events.HEADERS)
        last_words = ""
        if self.scope["method"] != "HEAD":
            try:
                async with until_closing():
                    await self._send_lines(cursor)
            except Closing:
                last_words = farewell()
            except TooSlow:
                pass
        await self.send_body(last_words.encode())

    def cursor(self, now: Standing) -> int:
        return number(self.headers.get("last-event-id") or None, "Last-Event-ID", super().cursor(now))

    async def _send_lines(self, cursor: int) -> None:
        before = server_sent_events.BEGINNING
        with Flow(self.base_send) as flow:
            async with aclosing(follow(self.topic, cursor, heartbeat_seconds=HEARTBEAT_SECONDS)) as batches:
                async for lines in batches:
                    if lines:
                        self.note_first_event()  # before it is sent: who has it may leave at once
                    for part in server_sent_events.parts(lines):
                        await flow.ready(STALL_SECONDS)
                        await self.send_body((before + part).encode(), more_body=True)
                        before = ""


class LongPoll(EventsOverHttp):
    """`/api/runs/{run_id}/events` and `/api/orchestrator/logs` with `wait`: the next lines beyond `after`, or none when
    none came within so many seconds."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Without `wait` there is nothing to wait for: the router goes on, to Django's own answer."""
        self.scope = scope
        if scope["method"] != "GET" or "wait" not in self.query:
            raise Resolver404
        await super().__call__(scope, receive, send)

    async def handle(self, body: bytes) -> None:
        wait_seconds = min(number(self.query["wait"], "wait", 0), LONGEST_WAIT_SECONDS)
        limit = number(self.query.get("limit"), "limit", PAGE_LINES, least=1, most=MOST_LINES)
        now = await self.standing()
        cursor = self.cursor(now)
        if cursor >= now.last_seq and not now.is_over and wait_seconds:
            with suppress(Closing):
                async with until_closing():
                    await self._wait_for_news(cursor, wait_seconds)
        page = await read(_page, self.topic, cursor, limit)
        await self.send_json(200, page, "application/json", [(b"cache-control", b"no-store")])

    async def _wait_for_news(self, cursor: int, seconds: float) -> None:
        """Return when there is something beyond the cursor, or when the time is over."""
        async with aclosing(follow(self.topic, cursor, heartbeat_seconds=seconds)) as batches:
            await anext(batches)  # the one that comes at once
            async for _ in batches:
                return


def _page(topic: Topic, after: int, limit: int) -> dict[str, Any]:
    return fleet_log.page(after, limit) if topic is None else events.page(topic, after, limit)
