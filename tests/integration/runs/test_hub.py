"""The watcher that reads for all: what it costs, and that nothing stops it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError
from django.db.backends.utils import CursorWrapper

from runs import events
from runs.live import hub
from runs.models import EventKind, Run
from tests.fixtures.web import MakeRun
from tests.integration.runs.writers import finish

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE_SECONDS = 30


@pytest.fixture
def run(make_run: MakeRun) -> Run:
    return make_run()


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watcher looks many times a second, so that a test sees many looks."""
    monkeypatch.setattr(hub, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(hub, "IDLE_SECONDS", 0.05)


@contextmanager
def queries_counted() -> Iterator[list[str]]:
    """All queries of this process, whatever thread they come from."""
    sent: list[str] = []
    execute = CursorWrapper.execute

    def counting(self: CursorWrapper, sql: str, params: object = None) -> object:
        sent.append(sql)
        return execute(self, sql, params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CursorWrapper, "execute", counting)
        yield sent


async def reading(run: Run, readers: AsyncExitStack) -> asyncio.Task[list[hub.Line]]:
    """A reader that takes the next lines there are."""

    async def first() -> list[hub.Line]:
        async with aclosing(hub.follow(run.id, 0, heartbeat_seconds=PATIENCE_SECONDS)) as batches:
            async for lines in batches:
                if lines:
                    return list(lines)
        return []

    task = asyncio.ensure_future(first())

    async def leave() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    readers.push_async_callback(leave)
    return task


async def condition(check: object, what: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not check():
            await asyncio.sleep(0.01)
    assert check(), what


async def emit(run: Run, message: str) -> None:
    await sync_to_async(events.emit)(run.id, EventKind.LOG, message)


@pytest.mark.parametrize("count", [1, 200])
async def test_idle_readers_cost_no_query_each(run: Run, monkeypatch: pytest.MonkeyPatch, count: int):
    looks: list[object] = []
    reads: list[object] = []
    find, read = hub.find, hub.read

    def counted_find(cursors: object) -> object:
        looks.append(cursors)
        return find(cursors)

    async def counted_read(*arguments: object) -> object:
        answer = await read(*arguments)
        reads.append(answer)
        return answer

    monkeypatch.setattr(hub, "find", counted_find)
    monkeypatch.setattr(hub, "read", counted_read)
    async with AsyncExitStack() as readers:
        waiting = [await reading(run, readers) for _ in range(count)]
        await condition(lambda: len(reads) == 3 * count, "each has read what there is, and how the run stands")
        with queries_counted() as sent:
            looks.clear()
            await condition(lambda: len(looks) >= 5, "the watcher looked")
            assert len(sent) <= len(looks) + 1, "a look is one query, however many read"
        await emit(run, "and still each of them is told")
        told = await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE_SECONDS)
        assert {lines[0].seq for lines in told} == {1}


@pytest.mark.parametrize("error", [OperationalError("the database is away"), OSError("the mailbox broke")])
async def test_an_error_does_not_end_the_watcher(run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception):
    """It died of what was not Django's own error; all readers of the process then heard heartbeats only."""
    failures = []

    def fails(_cursors: object) -> object:
        failures.append(error)
        raise error

    find = hub.find
    monkeypatch.setattr(hub, "find", fails)
    async with AsyncExitStack() as readers:
        waiting = await reading(run, readers)
        await condition(lambda: failures, "it failed")
        monkeypatch.setattr(hub, "find", find)
        await emit(run, "after the failure")
        lines = await asyncio.wait_for(waiting, PATIENCE_SECONDS)
        assert "after the failure" in lines[0].json


async def test_a_mailbox_that_can_not_be_opened_costs_no_line(run: Run, monkeypatch: pytest.MonkeyPatch):
    tried = []

    def refuse() -> object:
        tried.append(True)
        raise OSError("nothing to wake by")

    open_mailbox = hub.open_readers_mailbox
    monkeypatch.setattr(hub, "open_readers_mailbox", refuse)
    async with AsyncExitStack() as readers:
        waiting = await reading(run, readers)
        await condition(lambda: tried, "it was tried")
        await emit(run, "meanwhile")
        monkeypatch.setattr(hub, "open_readers_mailbox", open_mailbox)
        assert "meanwhile" in (await asyncio.wait_for(waiting, PATIENCE_SECONDS))[0].json


async def test_without_readers_nothing_is_asked_and_the_thread_ends(run: Run):
    async with AsyncExitStack() as readers:
        await reading(run, readers)
        mine = hub.hub()
        await condition(lambda: mine.topics, "it reads")
    await condition(lambda: mine._watcher is None, "the watcher ended")
    assert mine.topics == 0
    with queries_counted() as sent:
        await asyncio.sleep(0.1)
        assert sent == []


async def test_a_reader_that_falls_behind_goes_back_to_the_rows(run: Run, monkeypatch: pytest.MonkeyPatch):
    """What is held for it has a limit, and what is not held is not lost."""
    monkeypatch.setattr(hub, "MOST_UNREAD", 5)
    async with aclosing(hub.follow(run.id, 0, heartbeat_seconds=PATIENCE_SECONDS)) as batches:
        await anext(batches)
        waiting = asyncio.ensure_future(anext(batches))
        await condition(lambda: hub.hub()._cursors.get(run.id) is not None, "it lives on what the watcher finds")
        await emit(run, "line 1")
        read = list(await asyncio.wait_for(waiting, PATIENCE_SECONDS))
        (subscription,) = hub.hub()._readers[run.id]
        for number in range(2, 41):  # nobody takes them
            await emit(run, f"line {number}")
        await condition(lambda: subscription._has_lagged, "more came than is held")
        assert len(subscription._lines) <= 5
        async with asyncio.timeout(PATIENCE_SECONDS / 2):
            while len(read) < 40:
                read += await anext(batches)
    assert [line.seq for line in read] == list(range(1, 41))


async def test_a_reader_who_asks_for_more_than_there_is_ends_with_the_run(run: Run):
    async with aclosing(hub.follow(run.id, 1_000, heartbeat_seconds=PATIENCE_SECONDS)) as batches:
        await anext(batches)
        end = asyncio.ensure_future(anext(batches, "the end"))
        await condition(lambda: hub.hub()._cursors.get(run.id) is not None, "it waits")
        await sync_to_async(finish)(run)
        async with asyncio.timeout(PATIENCE_SECONDS / 2):
            assert await end == "the end"


async def test_what_is_found_again_for_one_who_began_late_is_told_to_nobody_twice(run: Run):
    """Lines 18 to 20 came twice to a reader that had not taken them yet."""
    mine = hub.hub()
    slow = mine.subscribe(run.id)
    mine.begin(run.id, 0)
    await emit(run, "one")
    await emit(run, "two")
    await condition(lambda: len(slow._lines) == 2, "both are found")
    mine.begin(run.id, 0)
    await emit(run, "three")
    await condition(lambda: slow._lines and slow._lines[-1].seq == 3, "and all three again")
    assert [line.seq for line in await slow.news(PATIENCE_SECONDS) or ()] == [1, 2, 3]
    mine.unsubscribe(run.id, slow)
