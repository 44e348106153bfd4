"""How many requests each game may have under way, so that one that hangs takes nothing from the others.

Two are always there for each game; beyond that, games share what the process has, and none takes more than a browser
and a half can use. Who gets no turn in time is told so: it is our shortage, and says nothing about the game.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

ALWAYS = 2
MOST = 12
SHARED = 200
LIMIT = 1_000  # whatever happens: connections of one process
WAIT_SECONDS = 5.0
MOST_WAITING = 50  # of one game


class NoTurn(Exception):
    """None came free in time. `is_own`: the game itself has too many under way."""

    def __init__(self, *, is_own: bool) -> None:
        super().__init__()
        self.is_own = is_own


class Shares:
    """Of one event loop."""

    def __init__(self) -> None:
        self._under_way: Counter[UUID] = Counter()
        self._waiting: deque[tuple[UUID, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def turn(self, run_id: UUID, seconds: float = WAIT_SECONDS) -> AsyncIterator[None]:
        """One request to this game. Raises NoTurn."""
        await self._take(run_id, seconds)
        try:
            yield
        finally:
            self._give_back(run_id)

    async def _take(self, run_id: UUID, seconds: float) -> None:
        if self._has_room(run_id):
            self._under_way[run_id] += 1
            return
        if sum(waiting == run_id for waiting, _ in self._waiting) >= MOST_WAITING:
            raise NoTurn(is_own=self._is_at_its_most(run_id))
        mine = (run_id, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        try:
            await asyncio.wait([mine[1]], timeout=seconds)
            if not mine[1].done():
                raise NoTurn(is_own=self._is_at_its_most(run_id))
        except asyncio.CancelledError:
            if mine[1].done():  # it was given a turn that it does not take
                self._give_back(run_id)
            raise
        finally:
            self._waiting.remove(mine)

    def _has_room(self, run_id: UUID) -> bool:
        mine, all_of_them = self._under_way[run_id], self._under_way.total()
        return all_of_them < LIMIT and (mine < ALWAYS or (mine < MOST and all_of_them < SHARED))

    def _is_at_its_most(self, run_id: UUID) -> bool:
        return self._under_way[run_id] >= MOST

    def _give_back(self, run_id: UUID) -> None:
        self._under_way[run_id] -= 1
        if not self._under_way[run_id]:
            del self._under_way[run_id]
        self._wake()

    def _wake(self) -> None:
        """Give what came free to whoever has waited longest of those who may have it."""
        for run_id, turn in list(self._waiting):
            if turn.done():
                continue
            if self._has_room(run_id):
                self._under_way[run_id] += 1
                turn.set_result(None)
