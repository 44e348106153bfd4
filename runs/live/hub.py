"""Live events for any number of readers, at the cost of one: a watcher a process asks the database for all of them.

A reader subscribes, reads the rows that there are, and then gets what the watcher finds, each line once. Nothing but
the rows is relied on: a wake-up that is lost, or a reader that falls behind, costs a moment and another look.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import NamedTuple
from uuid import UUID
from weakref import WeakKeyDictionary

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connections
from django.db.models import Q

from pools import clock, fleet_log
from pools.mailboxes import Mailbox
from pools.models import FleetEvent
from runs import demo_events, events, feed, metrics
from runs.live.database import read
from runs.live.wakeups import open_readers_mailbox
from runs.models import OVER, EventKind, Run, RunEvent

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # without a wake-up
GAP_SECONDS = 0.01  # between two looks: a storm of wake-ups is answered by a few
IDLE_SECONDS = 5.0  # without readers the watcher ends
RUNS_A_QUERY = 100
EVENTS_A_LOOK = 2_000
PAGE = 100
MOST_UNREAD = 500  # lines held for one reader; who has more to catch up goes back to the rows

Topic = UUID | None  # a run, or the whole fleet
FLEET: Topic = None
FLEET_KIND = "message"  # what a browser's EventSource calls an event of no kind; the fleet's own kinds are many


class Line(NamedTuple):
    """One event, ready to be sent; in a stream, by the names of the first demo before its own (`demo_events`)."""

    seq: int
    kind: str
    json: str
    demo: Sequence[tuple[str, str]] = ()
    told: Told | None = None
    at: datetime | None = None  # when it was written

    @property
    def is_last(self) -> bool:
        return self.kind == EventKind.END


class Told(NamedTuple):
    """A line of the fleet as the feed has it, and what says who gets it: the row, and whose its run is."""

    event: FleetEvent
    visitor: str | None
    line: Line


def encoded(data: Mapping[str, object]) -> str:
    return json.dumps(data, cls=DjangoJSONEncoder, ensure_ascii=False, separators=(",", ":"))


def _run_line(event: RunEvent) -> Line:
    demo = [(name, encoded(data)) for name, data in demo_events.before(event)]
    return Line(event.seq, event.kind, encoded(events.as_json(event)), demo, at=event.at)


def feed_line(event: FleetEvent) -> Line:
    told = feed.as_json(event)
    return Line(event.seq, told["type"], encoded(told))


def _fleet_lines(rows: Sequence[FleetEvent]) -> list[Line]:
    visitors = feed.visitors_of(rows)
    told = [Told(event, visitors.get(event.run_id) if event.run_id else None, feed_line(event)) for event in rows]
    return [
        Line(each.event.seq, FLEET_KIND, encoded(fleet_log.as_json(each.event)), told=each, at=each.event.at)
        for each in told
    ]


def lines_after(topic: Topic, after: int, limit: int = PAGE) -> list[Line]:
    """The topic's next lines beyond a cursor."""
    if topic is None:
        return _fleet_lines(fleet_log.events_after(after, limit))
    return [_run_line(event) for event in events.events_after(topic, after, limit)]


class Subscription:
    """What the watcher found for one reader and the reader has not taken yet."""

    def __init__(self, *, is_first: bool) -> None:
        self.is_first = is_first
        self._lines: list[Line] = []
        self._has_lagged = False
        self._news = asyncio.Event()

    def push(self, lines: Sequence[Line]) -> None:
        """What is held already is found again when another reader began with less."""
        if self._lines:
            lines = [line for line in lines if line.seq > self._lines[-1].seq]
        if self._has_lagged or len(self._lines) + len(lines) > MOST_UNREAD:
            self._lines, self._has_lagged = [], True
        else:
            self._lines.extend(lines)
        self._news.set()

    async def news(self, seconds: float) -> Sequence[Line] | None:
        """The next lines; None when there were too many to keep: read the rows. Raises TimeoutError."""
        if not self._news.is_set():
            async with asyncio.timeout(seconds):
                await self._news.wait()
        self._news.clear()
        lines, self._lines = self._lines, []
        if self._has_lagged:
            self._has_lagged = False
            return None
        return lines


class Hub:
    """All readers of one event loop, and the thread that looks for them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._readers: dict[Topic, set[Subscription]] = {}
        # The number up to which a topic's readers have been told; None until its first reader has read the rows.
        self._cursors: dict[Topic, int | None] = {}
        self._changed = threading.Condition()
        self._watcher: threading.Thread | None = None

    def subscribe(self, topic: Topic) -> Subscription:
        with self._changed:
            subscription = Subscription(is_first=self._cursors.setdefault(topic, None) is None)
            self._readers.setdefault(topic, set()).add(subscription)
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="event watcher", daemon=True)
                self._watcher.start()
            self._changed.notify()
        metrics.STREAMS.change(1, _kind(topic))
        return subscription

    def unsubscribe(self, topic: Topic, subscription: Subscription) -> None:
        with self._changed:
            self._readers[topic].discard(subscription)
            if not self._readers[topic]:
                del self._readers[topic], self._cursors[topic]
        metrics.STREAMS.change(-1, _kind(topic))

    def begin(self, topic: Topic, cursor: int) -> None:
        """A first reader has read the rows up to here. Of several first ones the one that has read least counts."""
        with self._changed:
            current = self._cursors[topic]
            self._cursors[topic] = cursor if current is None else min(cursor, current)

    @property
    def topics(self) -> int:
        return len(self._readers)

    # In the watcher's thread.

    def _watch(self) -> None:
        """All readers of this process wait for it, so no error ends it."""
        mailbox: Mailbox | None = None
        looked_at_seconds = 0.0
        while self._is_wanted():
            try:
                if mailbox is None:
                    mailbox = open_readers_mailbox()  # and look at once: what was sent before is not heard
                else:
                    mailbox.wait(LOOK_SECONDS)
                clock.sleep(max(0.0, looked_at_seconds + GAP_SECONDS - clock.monotonic()))
                while self._look():
                    pass
            except Exception as error:
                if self._loop.is_closed():
                    break
                logger.warning("The events can't be read: %s", error)
                connections.close_all()
                mailbox = None
                clock.sleep(LOOK_SECONDS)
            looked_at_seconds = clock.monotonic()
        connections.close_all()

    def _is_wanted(self) -> bool:
        """Wait for readers; False when there were none for a while, and then the thread is given up."""
        with self._changed:
            if self._changed.wait_for(lambda: bool(self._cursors), IDLE_SECONDS):
                return True
            self._watcher = None
            return False

    def _look(self) -> bool:
        """Pass on what is new. True when there may be more."""
        with self._changed:
            cursors = {topic: cursor for topic, cursor in self._cursors.items() if cursor is not None}
        found, is_full = find(cursors)
        with self._changed:
            for topic, lines in found.items():
                # Unless its readers left meanwhile, or one began that has read less.
                if self._cursors.get(topic) == cursors[topic]:
                    self._cursors[topic] = lines[-1].seq
        if found:
            self._loop.call_soon_threadsafe(self._deliver, found)
        return is_full

    def _deliver(self, found: Mapping[Topic, Sequence[Line]]) -> None:
        now = clock.now()
        for topic, lines in found.items():
            if lines[0].at is not None:  # it has waited longest
                metrics.READ_DELAY.note((now - lines[0].at).total_seconds())
            for subscription in self._readers.get(topic, ()):
                subscription.push(lines)


def _kind(topic: Topic) -> str:
    return metrics.FLEET if topic is FLEET else metrics.RUN


def find(cursors: Mapping[Topic, int]) -> tuple[dict[Topic, Sequence[Line]], bool]:
    """What is new beyond these cursors, in two queries for runs and three for the fleet; and whether there is more."""
    found: dict[Topic, Sequence[Line]] = {}
    is_full = False
    if FLEET in cursors and fleet_log.last_seq() > cursors[FLEET]:
        lines = lines_after(FLEET, cursors[FLEET], EVENTS_A_LOOK)
        is_full = len(lines) == EVENTS_A_LOOK
        if lines:
            found[FLEET] = lines
    runs = {topic: cursor for topic, cursor in cursors.items() if topic is not None}
    behind = [run_id for run_id, last_seq in _last_seqs(runs) if last_seq > runs[run_id]]
    for chunk in _chunks(behind):
        beyond = Q()
        for run_id in chunk:
            beyond |= Q(run_id=run_id, seq__gt=runs[run_id])
        rows = list(RunEvent.objects.filter(beyond).order_by("run_id", "seq")[:EVENTS_A_LOOK])
        is_full = is_full or len(rows) == EVENTS_A_LOOK
        for run_id, its_rows in groupby(rows, key=lambda row: row.run_id):
            found[run_id] = [_run_line(row) for row in its_rows]
    return found, is_full


def _last_seqs(run_ids: Collection[UUID]) -> Iterable[tuple[UUID, int]]:
    for chunk in _chunks(list(run_ids)):
        yield from Run.objects.filter(pk__in=chunk).order_by().values_list("pk", "last_seq")


def _chunks(run_ids: Sequence[UUID]) -> Iterable[Sequence[UUID]]:
    for start in range(0, len(run_ids), RUNS_A_QUERY):
        yield run_ids[start : start + RUNS_A_QUERY]


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """The hub of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _hubs.get(loop)
    if found is None:
        found = _hubs[loop] = Hub(loop)
    return found


class Standing(NamedTuple):
    """Where a topic is: its last number, and whether nothing follows it."""

    last_seq: int
    is_over: bool


def standing(topic: Topic) -> Standing | None:
    """None when there is no such run."""
    if topic is None:
        return Standing(fleet_log.last_seq(), is_over=False)
    row = Run.objects.filter(pk=topic).values_list("last_seq", "state").first()
    return None if row is None else Standing(row[0], is_over=row[1] in OVER)


async def follow(topic: Topic, after: int, *, heartbeat_seconds: float) -> AsyncGenerator[Sequence[Line], None]:
    """The topic's lines beyond `after`, in batches, each once and in order, until its end. An empty batch comes at
    once, and whenever nothing was said for `heartbeat_seconds`. Close it (`aclosing`) when the reader is gone."""
    yield ()
    mine = hub()
    subscription = mine.subscribe(topic)
    try:
        async for lines in _live(mine, topic, subscription, after, heartbeat_seconds):
            yield lines
            if lines and lines[-1].is_last:
                return
    finally:
        mine.unsubscribe(topic, subscription)


async def _live(
    mine: Hub, topic: Topic, subscription: Subscription, cursor: int, heartbeat_seconds: float
) -> AsyncGenerator[Sequence[Line], None]:
    async for lines in _rows(topic, cursor):
        cursor = lines[-1].seq
        yield lines
    now = await read(standing, topic)
    if now is not None and subscription.is_first:
        mine.begin(topic, min(cursor, now.last_seq))
    # Rows that came between the last look at them and `begin` are nobody's, so there is one look more; and when there
    # is no end to wait for (its row may be pruned), it is the last.
    is_over = now is None or now.is_over
    is_behind = True
    while True:
        if is_behind:
            async for lines in _rows(topic, cursor):
                cursor = lines[-1].seq
                yield lines
            is_behind = False
        if is_over:
            return
        try:
            news = await subscription.news(heartbeat_seconds)
        except TimeoutError:
            yield ()
            continue
        if news is None:
            is_behind = True
        elif new := [line for line in news if line.seq > cursor]:
            cursor = new[-1].seq
            yield new
        elif any(line.is_last for line in news):
            return  # it asked for more than there ever was


async def _rows(topic: Topic, cursor: int) -> AsyncGenerator[Sequence[Line], None]:
    """Page by page, what there is beyond the cursor."""
    while lines := await read(lines_after, topic, cursor):
        yield lines
        if len(lines) < PAGE:
            return
        cursor = lines[-1].seq


async def news(topic: Topic, *, every_seconds: float) -> AsyncGenerator[Sequence[Line] | None, None]:
    """The topic's new lines as they come, and an empty batch after so many seconds without any. None, first and for who
    fell behind: read the rows. Lines that come while nobody waits here are one batch; some may be in the rows that were
    read before. Close it (`aclosing`) when it is not wanted any more."""
    mine = hub()
    subscription = mine.subscribe(topic)
    try:
        now = await read(standing, topic)
        if now is not None and subscription.is_first:
            mine.begin(topic, now.last_seq)
        lines: Sequence[Line] | None = None
        while True:
            yield lines
            try:
                lines = await subscription.news(every_seconds)
            except TimeoutError:
                lines = ()
    finally:
        mine.unsubscribe(topic, subscription)
