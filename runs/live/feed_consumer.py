"""The feed of events for programs that wait: as a stream, or as an answer that waits for the next event.

No session is loaded here, so it takes a key; for everybody else Django answers, and at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from typing import Any

from django.urls import Resolver404
from pydantic import ValidationError

from pools import clock, fleet_log
from pools.api_keys import ApiKey, KeyRefused, Scope, find, is_key
from pools.callers import SENTENCES, token_in
from pools.problems import Problem
from runs import feed
from runs.feed_schemas import FeedAsked
from runs.live import server_sent_events
from runs.live.backpressure import Flow, TooSlow
from runs.live.closing import Closing, farewell, until_closing
from runs.live.consumers import HEARTBEAT_SECONDS, LONGEST_WAIT_SECONDS, STALL_SECONDS, EventsOverHttp
from runs.live.cursors import number
from runs.live.database import read, write
from runs.live.hub import FLEET, Line, Told, feed_line, news

PAGE = 200
MOST_OF_A_KEY = 20  # streams and waits that one web process keeps open for it
QUIET_SECONDS = HEARTBEAT_SECONDS / 2  # others' events come meanwhile: so it is never more than twice as long
KEY_PROVEN_SECONDS = 10.0  # a key that was revoked opens its streams no longer than this


class Feed(EventsOverHttp):
    """What both ways have in common: who asks, and for what."""

    @property
    def token(self) -> str:
        return token_in(self.headers.get("authorization", ""), self.headers.get("x-api-key", ""))

    async def key(self) -> ApiKey:
        """Raises Problem without one that is good."""
        if not self.token:
            raise Problem(401, "Waiting for events takes an API key: Authorization: Bearer key_…")
        try:
            return await write(find, self.token, clock.now())
        except KeyRefused as refused:
            raise Problem(401, SENTENCES[refused.code], code=refused.code) from None

    def asked(self) -> FeedAsked:
        """Raises Problem."""
        try:
            return FeedAsked.model_validate(self.query)
        except ValidationError as error:
            errors = [{"field": str(each["loc"][0]), "message": str(each["msg"])} for each in error.errors()]
            detail = "; ".join(f"{each['field']}: {each['message']}" for each in errors)
            raise Problem(422, detail, errors=errors) from None

    def view(self, key: ApiKey, asked: FeedAsked) -> feed.View:
        return feed.View.of(None if key.may(Scope.READ) else key.client, asked)


class FeedStream(Feed):
    """`/api/events/stream`: events from a cursor on (Last-Event-ID, else `after`, else from now on), as they come."""

    async def handle(self, body: bytes) -> None:
        asked = self.asked()
        key = await self.key()
        view = self.view(key, asked)
        cursor = asked.after if asked.after is not None else await read(fleet_log.last_seq)
        cursor = number(self.headers.get("last-event-id") or None, "Last-Event-ID", cursor)
        with place(key):
            await self.send_headers(headers=server_sent_events.HEADERS)
            last_words = ""
            if self.scope["method"] != "HEAD":
                try:
                    async with until_closing():
                        await self._send_lines(view, cursor)
                except Closing:
                    last_words = farewell()
                except (TooSlow, Problem):
                    pass
            await self.send_body(last_words.encode())

    async def _send_lines(self, view: feed.View, cursor: int) -> None:
        before = server_sent_events.BEGINNING
        with Flow(self.base_send) as flow:
            async with aclosing(self._batches(view, cursor)) as batches:
                async for lines in batches:
                    for part in server_sent_events.parts(lines):
                        await flow.ready(STALL_SECONDS)
                        await self.send_body((before + part).encode(), more_body=True)
                        before = ""

    async def _batches(self, view: feed.View, cursor: int) -> AsyncGenerator[Sequence[Line], None]:
        """The lines beyond the cursor as they come. An empty batch comes at once, and after each silence."""
        yield ()
        said_at_seconds = proven_at_seconds = clock.monotonic()
        async with aclosing(news(FLEET, every_seconds=QUIET_SECONDS)) as calls:
            async for lines in calls:
                if lines is None:
                    async with aclosing(_pages(view, cursor, PAGE)) as pages:
                        async for page in pages:
                            cursor = page.after
                            if page.events:
                                yield [feed_line(event) for event in page.events]
                                said_at_seconds = clock.monotonic()
                elif lines:
                    told, cursor = _told(view, cursor, lines)
                    if told:
                        yield [each.line for each in told]
                        said_at_seconds = clock.monotonic()
                if clock.monotonic() - proven_at_seconds >= KEY_PROVEN_SECONDS:
                    await self.key()
                    proven_at_seconds = clock.monotonic()
                if clock.monotonic() - said_at_seconds >= QUIET_SECONDS:
                    yield ()
                    said_at_seconds = clock.monotonic()


class FeedPoll(Feed):
    """`/api/events` with a key and `wait`: the next events, or none when none came within so many seconds. With
    `Accept: text/event-stream` it is the stream."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Everything else goes on to Django's own answer."""
        self.scope = scope
        if scope["method"] in ("GET", "HEAD") and server_sent_events.is_wanted(self.headers.get("accept", "")):
            await FeedStream.as_asgi()(scope, receive, send)
            return
        if scope["method"] != "GET" or "wait" not in self.query or not is_key(self.token):
            raise Resolver404
        await super().__call__(scope, receive, send)

    async def handle(self, body: bytes) -> None:
        asked = self.asked()
        key = await self.key()
        view = self.view(key, asked)
        page = await read(feed.page, view, asked.after, asked.limit)
        if not page.events and asked.wait:
            with place(key):
                page = await self._next(view, page.after, asked.limit, min(asked.wait, LONGEST_WAIT_SECONDS))
        await self.send_json(200, page.as_json(), "application/json", [(b"cache-control", b"no-store")])

    async def _next(self, view: feed.View, cursor: int, limit: int, seconds: float) -> feed.Page:
        """The next page that has events; an empty one when the time is over."""
        with suppress(TimeoutError, Closing):
            async with until_closing(), asyncio.timeout(seconds), aclosing(news(FLEET, every_seconds=seconds)) as calls:
                async for lines in calls:
                    if lines is None:
                        async with aclosing(_pages(view, cursor, limit)) as pages:
                            async for page in pages:
                                if page.events:
                                    return page
                                cursor = page.after
                    elif lines:
                        told, cursor = _told(view, cursor, lines)
                        if told:
                            events = [each.event for each in told[:limit]]
                            return feed.Page(events, events[-1].seq, has_more=len(told) > limit)
        return feed.Page([], cursor, has_more=False)


def _told(view: feed.View, cursor: int, lines: Sequence[Line]) -> tuple[list[Told], int]:
    """What a reader gets of lines that the watcher found, and where it is after them: no query, however many readers
    and lines there are."""
    told = [line.told for line in lines if line.told is not None and line.seq > cursor]
    return [each for each in told if view.has(each.event, each.visitor)], max(cursor, lines[-1].seq)


async def _pages(view: feed.View, cursor: int, limit: int) -> AsyncGenerator[feed.Page, None]:
    """What there is beyond the cursor, from the rows."""
    while True:
        page = await read(feed.page, view, cursor, limit)
        yield page
        if not page.has_more:
            return
        cursor = page.after


_open: Counter[int] = Counter()  # streams and waits, by the keys' ids


@contextmanager
def place(key: ApiKey) -> Iterator[None]:
    """A stream, or a wait, of a key. Raises Problem when it has as many as it may."""
    if _open[key.pk] >= MOST_OF_A_KEY:
        detail = f"The key has {MOST_OF_A_KEY} streams and waits open here: close one first."
        raise Problem(429, detail, code="too_many_streams", retry_after_seconds=LONGEST_WAIT_SECONDS)
    _open[key.pk] += 1
    try:
        yield
    finally:
        _open[key.pk] -= 1
        if not _open[key.pk]:
            del _open[key.pk]
