"""What readers of the feed cost, and how long they wait."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack, ExitStack, aclosing
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.utils import timezone

from pools import api_keys, journal
from pools.models import FleetEvent
from pools.problems import Problem
from pools.reasons import LogKind
from runs import feed
from runs.event_types import EventType, named
from runs.live import feed_consumer, hub
from runs.models import Run
from tests.fixtures.web import Web
from tests.integration.api.test_events import end, run_of, token_with

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE_SECONDS = 30


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What readers of the feed have asked the database for."""
    asked: list[Any] = []
    read = feed_consumer.read

    async def counted(function: Any, *arguments: Any) -> Any:
        asked.append(function)
        return await read(function, *arguments)

    monkeypatch.setattr(feed_consumer, "read", counted)
    return asked


async def next_lines(batches: Any) -> list[hub.Line]:
    async for lines in batches:
        if lines:
            return list(lines)
    return []


async def test_streams_ask_for_nothing_when_others_events_come(reads: list[Any]):
    run = await sync_to_async(run_of)("ada")
    view = feed.View("ada", named(["run.ended"]), run.id, None)
    after = await sync_to_async(feed.fleet_log.last_seq)()
    async with AsyncExitStack() as streams:
        waiting = []
        for _ in range(20):
            stream = feed_consumer.FeedStream()
            batches = await streams.enter_async_context(aclosing(stream._batches(view, after)))
            waiting.append(asyncio.ensure_future(next_lines(batches)))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(reads) < 20:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            reads.clear()
            for _ in range(5):
                await sync_to_async(journal.record)(LogKind.POOL, "pool python paused")
                await asyncio.sleep(0.05)
            await sync_to_async(end)(run)
            got = await asyncio.gather(*waiting)
    assert [[line.kind for line in lines] for lines in got] == [["run.ended"]] * 20
    assert reads == []


VIEWS = [
    feed.View(None),
    feed.View("ada"),
    feed.View("bob"),
    feed.View(None, named(["run.ended", "pool", "fleet.breaker"])),
    feed.View(None, named(["fleet", "operator.acted"])),
    feed.View(None, pool="python"),
]


@pytest.mark.parametrize("view", VIEWS)
def test_each_reader_gets_of_new_lines_what_it_gets_of_the_rows(view: feed.View):
    run = run_of("ada")
    end(run)
    for kind in LogKind:
        for code in ("", "backing_off", "time_up", "made", "gone"):
            journal.record(kind, "x", code=code)
    FleetEvent.objects.filter(kind=LogKind.HOLD).update(pool_name="python")
    lines = hub.lines_after(hub.FLEET, 0, 1000)
    in_rows = [event.seq for event in view.lines()]
    assert in_rows or view.visitor == "bob"
    assert [each.event.seq for each in feed_consumer._told(view, 0, lines)[0]] == in_rows


async def test_what_is_not_in_the_rows_of_a_run_that_is_gone_is_nobodys():
    run = await sync_to_async(run_of)("ada")
    await sync_to_async(Run.objects.filter(pk=run.pk).delete)()
    lines = await sync_to_async(hub.lines_after)(hub.FLEET, 0, 10)
    assert feed_consumer._told(feed.View("ada"), 0, lines)[0] == []
    assert [each.line.kind for each in feed_consumer._told(feed.View(None), 0, lines)[0]] == [EventType.RUN_LAUNCHED]


def test_others_events_make_no_wait_longer(web: Web):
    """It began anew with each."""
    _, token = token_with("launch")
    after = web.get("/api/events", headers={"X-API-Key": token}).json()["after"]
    is_answered = threading.Event()
    told: list[bool] = []

    def go_on_telling() -> None:
        for _ in range(60):
            if is_answered.wait(0.5):
                break
            journal.record(LogKind.POOL, "pool python paused")
            told.append(True)
        connection.close()

    others = threading.Thread(target=go_on_telling)
    others.start()
    page = web.get(f"/api/events?after={after}&wait=2", headers={"X-API-Key": token}).json()
    is_answered.set()
    others.join()
    assert page["events"] == []
    assert page["after"] > after, "they are not looked through again"
    assert 2 <= len(told) < 60


async def test_a_key_has_only_so_many_streams():
    key, _ = await sync_to_async(api_keys.make)("robot", ["read"], by="ada", now=timezone.now())
    with ExitStack() as streams:
        for _ in range(feed_consumer.MOST_OF_A_KEY):
            streams.enter_context(feed_consumer.place(key))
        with pytest.raises(Problem) as refused:
            streams.enter_context(feed_consumer.place(key))
    assert (refused.value.status, refused.value.code) == (429, "too_many_streams")
    with feed_consumer.place(key):
        pass
