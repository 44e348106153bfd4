"""One game that hangs takes nothing from the others."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import pytest

from runs.play import shares
from runs.play.shares import ALWAYS, MOST, MOST_OF_ONE, NoTurn, Shares

PATIENCE_SECONDS = 0.05


async def hang(all_of_them: Shares, stack: AsyncExitStack, run: UUID, count: int, address: str | None = None) -> None:
    """So many requests hang, each from an address of its own, or all from this one."""
    for number in range(count):
        await stack.enter_async_context(all_of_them.turn(run, address or f"10.0.0.{number}", PATIENCE_SECONDS))


async def test_one_game_has_no_more_than_its_share():
    hanging = uuid4()
    async with AsyncExitStack() as stack:
        all_of_them = Shares()
        await hang(all_of_them, stack, hanging, MOST)
        with pytest.raises(NoTurn) as none:
            await hang(all_of_them, stack, hanging, 1)
        assert none.value.is_own
        await hang(all_of_them, stack, uuid4(), MOST)


async def test_one_address_leaves_some_of_a_games_turns_to_others():
    """Who knew a run's id and read slowly shut out its player."""
    watched = uuid4()
    async with AsyncExitStack() as stack:
        all_of_them = Shares()
        await hang(all_of_them, stack, watched, MOST_OF_ONE, "192.0.2.9")
        with pytest.raises(NoTurn) as none:
            await hang(all_of_them, stack, watched, 1, "192.0.2.9")
        assert none.value.is_own
        await hang(all_of_them, stack, watched, MOST - MOST_OF_ONE, "192.0.2.1")


async def test_every_game_has_some_when_all_that_is_shared_is_taken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shares, "SHARED", 24)
    async with AsyncExitStack() as stack:
        all_of_them = Shares()
        await hang(all_of_them, stack, uuid4(), MOST)
        await hang(all_of_them, stack, uuid4(), MOST)
        for _ in range(5):
            mine = uuid4()
            await hang(all_of_them, stack, mine, ALWAYS)
            with pytest.raises(NoTurn) as none:
                await hang(all_of_them, stack, mine, 1)
            assert not none.value.is_own


async def test_a_process_has_no_more_than_it_can(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shares, "LIMIT", 3)
    async with AsyncExitStack() as stack:
        all_of_them = Shares()
        await hang(all_of_them, stack, uuid4(), 2)
        await hang(all_of_them, stack, uuid4(), 1)
        with pytest.raises(NoTurn):
            await hang(all_of_them, stack, uuid4(), 1)


async def test_what_comes_free_goes_to_who_has_waited_longest():
    all_of_them, run, order = Shares(), uuid4(), []

    async def ask(name: int) -> None:
        async with all_of_them.turn(run, "192.0.2.1", 5):
            order.append(name)

    async with AsyncExitStack() as stack:
        await hang(all_of_them, stack, run, MOST)
        asking = [asyncio.create_task(ask(name)) for name in range(5)]
        await asyncio.sleep(0)
        assert order == []
    await asyncio.gather(*asking)
    assert order == [0, 1, 2, 3, 4]


async def test_too_many_who_wait_for_one_game_are_told_at_once():
    all_of_them, run = Shares(), uuid4()
    async with AsyncExitStack() as stack:
        await hang(all_of_them, stack, run, MOST)
        waiting = [
            asyncio.create_task(stack.enter_async_context(all_of_them.turn(run, "192.0.2.1", 60))) for _ in range(50)
        ]
        await asyncio.sleep(0)
        with pytest.raises(NoTurn):
            await all_of_them.turn(run, "192.0.2.1", 60).__aenter__()
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_turn_that_comes_to_somebody_who_has_left_goes_to_the_next():
    all_of_them, run = Shares(), uuid4()
    stack = AsyncExitStack()
    await hang(all_of_them, stack, run, MOST)
    leaving = asyncio.create_task(all_of_them.turn(run, "192.0.2.1", 60).__aenter__())
    staying = asyncio.create_task(all_of_them.turn(run, "192.0.2.1", 60).__aenter__())
    await asyncio.sleep(0)
    release = asyncio.create_task(stack.aclose())
    leaving.cancel()
    await asyncio.gather(release, leaving, return_exceptions=True)
    await asyncio.wait_for(staying, 30)
    async with AsyncExitStack() as other:
        await hang(all_of_them, other, run, MOST - 1)  # nothing was lost
