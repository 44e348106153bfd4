"""How many requests each game may have under way, so that one that hangs takes nothing from the others.

Two are always there for each game; beyond that, games share what the process has, and none takes more than a browser
and a half can use. Of a game's, no one address has them all: who reads slowly shuts nobody else out. Who gets no turn
in time is told so: it is our shortage, and says nothing about the game.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple
from uuid import UUID

ALWAYS = 2
MOST = 12
MOST_OF_ONE = 8  # an address; a browser asks for six things at a time
SHARED = 200
LIMIT = 1_000  # whatever happens: connections of one process
WAIT_SECONDS = 5.0
MOST_WAITING = 50  # of one game


class NoTurn(Exception):
    """None came free in time. `is_own`: the game itself has too many under way."""

    def __init__(self, *, is_own: bool) -> None:
        super().__init__()
        self.is_own = is_own


class Asker(NamedTuple):
    """Who wants a turn at which game, and from which address."""

    run_id: UUID
    address: str


class Shares:
    """Of one event loop."""

    def __init__(self) -> None:
        self._under_way: Counter[UUID] = Counter()
        self._of_one: Counter[Asker] = Counter()
        self._waiting: deque[tuple[Asker, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def turn(self, run_id: UUID, address: str = "", seconds: float = WAIT_SECONDS) -> AsyncIterator[None]:
        """One request to this game. Raises NoTurn."""
        asker = Asker(run_id, address)
        await self._take(asker, seconds)
        try:
            yield
        finally:
            self._give_back(asker)

    async def _take(self, asker: Asker, seconds: float) -> None:
        if self._has_room(asker):
            self._count(asker)
            return
        if sum(waiting.run_id == asker.run_id for waiting, _ in self._waiting) >= MOST_WAITING:
            raise NoTurn(is_own=self._is_at_its_most(asker))
        mine = (asker, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        try:
            await asyncio.wait([mine[1]], timeout=seconds)
            if not mine[1].done():
                raise NoTurn(is_own=self._is_at_its_most(asker))
        except asyncio.CancelledError:
            if mine[1].done():  # it was given a turn that it does not take
                self._give_back(asker)
            raise
        finally:
            self._waiting.remove(mine)

    def _has_room(self, asker: Asker) -> bool:
        mine, all_of_them = self._under_way[asker.run_id], self._under_way.total()
        has_its_game = mine < ALWAYS or (mine < MOST and all_of_them < SHARED)
        return all_of_them < LIMIT and has_its_game and self._of_one[asker] < MOST_OF_ONE

    def _is_at_its_most(self, asker: Asker) -> bool:
        return self._under_way[asker.run_id] >= MOST or self._of_one[asker] >= MOST_OF_ONE

    def _count(self, asker: Asker) -> None:
        self._under_way[asker.run_id] += 1
        self._of_one[asker] += 1

    def _give_back(self, asker: Asker) -> None:
        self._under_way[asker.run_id] -= 1
        self._of_one[asker] -= 1
        if not self._under_way[asker.run_id]:
            del self._under_way[asker.run_id]
        if not self._of_one[asker]:
            del self._of_one[asker]
        self._wake()

    def _wake(self) -> None:
        """Give what came free to whoever has waited longest of those who may have it."""
        for asker, turn in list(self._waiting):
            if turn.done():
                continue
            if self._has_room(asker):
                self._count(asker)
                turn.set_result(None)
