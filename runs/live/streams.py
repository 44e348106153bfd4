"""Events over HTTP: server-sent events, and answers that wait for the next event (long poll).

Beside Django, not inside: behind its middleware a stream would hold a thread and be buffered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from django.utils import timezone

from pools import fleet_log
from pools.problems import Problem
from runs import events
from runs.live.backpressure import Flow, TooSlow
from runs.live.database import read
from runs.live.hub import FLEET, Line, Standing, Topic, follow, standing
from runs.live.wire import (
    Headers,
    Receive,
    Scope,
    Send,
    answer_json,
    answer_problem,
    header,
    number,
    query_of,
    require_host,
    until_gone,
)

HEARTBEAT_SECONDS = 10.0  # the edge in front of App Platform cuts after 100 s of silence, many proxies after 15
STALL_SECONDS = 20.0  # who reads nothing for so long is dropped
PART_CHARACTERS = 32_768
RETRY_MS = 2_000
LONGEST_WAIT_SECONDS = 30
FLEET_LINES = 50  # that a reader of the fleet's log gets from before it came
PAGE_LINES = 100
MOST_LINES = 500
# Some proxies pass nothing on before they have a few KiB: without this they would hold back the beginning.
PADDING = ":" + " " * 2_048 + "\n"
STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


async def stream(scope: Scope, receive: Receive, send: Send, topic: Topic) -> None:
    """All lines of a topic from a cursor on (Last-Event-ID, else `after`), as they come, until the run's end."""
    try:
        require_host(scope)
        now = await _standing(topic)
        cursor = _cursor(scope, topic, now)
    except Problem as problem:
        await answer_problem(send, problem)
        return
    if now.is_over and cursor >= now.last_seq and header(scope, b"last-event-id"):
        # It has seen the end and reconnects by itself: 204 tells an EventSource not to come back.
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
    if scope["method"] != "HEAD":
        await while_there(_write_stream(send, topic, cursor), receive)
    await send({"type": "http.response.body"})


async def _write_stream(send: Send, topic: Topic, cursor: int) -> None:
    beginning = f"{PADDING}retry: {RETRY_MS}\n\n"
    with Flow(send) as flow:
        async with aclosing(follow(topic, cursor, heartbeat_seconds=HEARTBEAT_SECONDS)) as batches:
            async for lines in batches:
                for part in _parts(lines):
                    await flow.ready(STALL_SECONDS)
                    body = (beginning + part).encode()
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                    beginning = ""


def _parts(lines: Sequence[Line]) -> Iterator[str]:
    """Lines as server-sent events, as many at a time as a connection takes at once. A heartbeat when there are none: it
    has no id, so a reader's cursor stays. By the one that comes at once a browser's EventSource knows that nothing on
    the way holds the stream back."""
    if not lines:
        yield f'event: heartbeat\ndata: {{"kind":"heartbeat","at":"{events.moment(timezone.now())}"}}\n\n'
    part = ""
    for line in lines:
        part += f"id: {line.seq}\nevent: {line.kind}\ndata: {line.json}\n\n"
        if len(part) >= PART_CHARACTERS or line is lines[-1]:
            yield part
            part = ""


async def long_poll(scope: Scope, receive: Receive, send: Send, topic: Topic) -> None:
    """The next lines beyond `after`, or none when none came within `wait` seconds."""
    try:
        require_host(scope)
        query = query_of(scope)
        wait_seconds = min(number(query.get("wait"), "wait", 0), LONGEST_WAIT_SECONDS)
        limit = number(query.get("limit"), "limit", PAGE_LINES, least=1, most=MOST_LINES)
        now = await _standing(topic)
        cursor = _cursor(scope, topic, now)
    except Problem as problem:
        await answer_problem(send, problem)
        return
    if cursor >= now.last_seq and not now.is_over and wait_seconds:
        await while_there(_first_news(topic, cursor, wait_seconds), receive)
    await answer_json(send, await read(page, topic, cursor, limit))


async def _first_news(topic: Topic, cursor: int, wait_seconds: float) -> None:
    """Return when there is something beyond the cursor, or when the time is over."""
    async with aclosing(follow(topic, cursor, heartbeat_seconds=wait_seconds)) as batches:
        await anext(batches)  # the one that comes at once
        async for _ in batches:
            return


def page(topic: Topic, after: int, limit: int) -> dict[str, Any]:
    """What a poll answers."""
    return fleet_log.page(after, limit) if topic is None else events.page(topic, after, limit)


async def _standing(topic: Topic) -> Standing:
    found = await read(standing, topic)
    if found is None:
        raise Problem(404, "There is no such run.")
    return found


def _cursor(scope: Scope, topic: Topic, now: Standing) -> int:
    """Where the reader wants to go on; without a word of it from the beginning, or the fleet's last lines."""
    beginning = max(0, now.last_seq - FLEET_LINES) if topic is FLEET else 0
    after = number(query_of(scope).get("after"), "after", beginning)
    return number(header(scope, b"last-event-id") or None, "Last-Event-ID", after)


async def while_there(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Do it, and stop when the client has left."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(until_gone(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    except TooSlow:
        pass
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
