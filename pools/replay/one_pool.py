"""One pool in simulated time: launches come, the planner decides (`pools.turn.plan_pool`), sandboxes are made, taken
and deleted. Nothing fails here and nobody is asked; what comes out is the same for the same seed.

A turn is taken where the product takes one: after a launch, when a sandbox becomes ready or is gone, and when
something is due. What lies between changes nothing, and is skipped.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import Any
from uuid import UUID

from pools.demand import Demand
from pools.models import OnEmpty, Origin, State
from pools.prices import LEAST_BILLED_SECONDS
from pools.reasons import EndCode
from pools.turn.decisions import Decision, Kind
from pools.turn.facts import FleetFacts, PoolFacts, SandboxFacts
from pools.turn.plan_pool import plan_pool

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
SCHEDULE_SECONDS = 60.0  # the longest without a turn, where the target may move
AGAIN_SECONDS = 1.0  # after a turn that changed something
DELETE_SECONDS = 5.0  # until a sandbox is known to be gone, and its place free
OLD = "simulated"

Target = Callable[[float, int], int]  # from a moment and the present target the one to have


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a pool meets: how long its sandboxes take to make and are used for, drawn from these; how many the fleet
    may hold; what a launch gets when none is ready or on its way."""

    create_seconds: Sequence[float] = (60.0,)
    run_seconds: Sequence[float] = (300.0,)
    max_total: int = 100_000
    on_empty: OnEmpty = OnEmpty.COLD


@dataclass(slots=True)
class Outcome:
    """What came of it. `waits` has the seconds of the launches that were not served at once."""

    target: int
    days: float
    launches: int = 0
    hits: int = 0
    refused: int = 0
    creates: int = 0
    idle_seconds: float = 0.0
    billed_seconds: float = 0.0
    lacked_places: int = 0  # turns in which the fleet was full, or the pool made as many as it may at a time
    lacked_creates: int = 0
    waits: list[float] = field(default_factory=list)

    @property
    def hit_share(self) -> float:
        return self.hits / self.launches if self.launches else 1.0

    @property
    def idle_seconds_a_launch(self) -> float:
        return self.idle_seconds / self.launches if self.launches else 0.0

    def wait_seconds(self, share: float) -> float:
        """So long that share of the launches waited at most."""
        waits, rank = sorted(self.waits), int(share * (self.launches - self.refused))
        index = rank - (self.launches - self.refused - len(waits))
        return waits[min(index, len(waits) - 1)] if waits and index >= 0 else 0.0


@dataclass(slots=True)
class _Life:
    """A sandbox of the simulation beside the facts about it."""

    requested: float
    facts: SandboxFacts
    ready: float = 0.0


class Simulation:
    """A pool over a row of launches. `run` once."""

    def __init__(
        self,
        pool: PoolFacts,
        arrivals: Sequence[float],
        conditions: Conditions,
        *,
        days: float,
        seed: int = 0,
        target: Target | None = None,
    ) -> None:
        self.pool = replace(pool)  # its own, see `_note`
        self.facts = FleetFacts(pools=(), sandboxes=(), apps=(), listed_at=BEGIN, max_total=conditions.max_total)
        self.arrivals, self.conditions, self.target = arrivals, conditions, target
        self.until = days * 86400.0
        self.outcome = Outcome(pool.target_ready, days)
        self.dice = random.Random(seed)  # noqa: S311  not for secrets
        self.supply: dict[UUID, _Life] = {}
        self.taken = 0  # in use, or going: they have a place each
        self.waiting: deque[float] = deque()  # in the pool's line, since when
        self.wanting: deque[float] = deque()  # in the line for a place
        self.agenda: list[tuple[float, int, UUID | None]] = []
        self.number = 0
        self.turn_at = float("inf")
        self.lacked_places = False

    def run(self) -> Outcome:
        """Let the launches come, one after the other, until the days are over."""
        arrivals, place, until = self.arrivals, 0, self.until
        while True:
            coming = arrivals[place] if place < len(arrivals) else until
            due = self.agenda[0][0] if self.agenda else until
            now = min(coming, due, self.turn_at)
            if now >= until:
                break
            if coming == now:
                place += 1
                self.launch(now)
            elif due == now:
                _, _, sandbox_id = heappop(self.agenda)
                if not self.happen(sandbox_id, now):
                    continue
            self.turn(now)
        for life in self.supply.values():
            self._end(life, until)
        self.outcome.waits += [until - since for since in (*self.waiting, *self.wanting)]
        return self.outcome

    # What comes from outside.

    def launch(self, now: float) -> None:
        """Somebody wants a warm sandbox."""
        self.outcome.launches += 1
        _note(self.pool, last_acquired_at=_at(now))
        ready = None if self.waiting else self._oldest_ready()
        if ready is not None:
            self.outcome.hits += 1
            self._take(ready, now)
        elif len(self.supply) > len(self.waiting):
            self.waiting.append(now)
        elif self.conditions.on_empty == OnEmpty.COLD:
            self.wanting.append(now)
            self._give_places(now)
        else:
            self.outcome.refused += 1

    def happen(self, sandbox_id: UUID | None, now: float) -> bool:
        """Something of the agenda comes about. Whether a turn could find something to do then."""
        if sandbox_id is None:
            self.taken -= 1
            self._give_places(now)
            return self.lacked_places
        life = self.supply.get(sandbox_id)
        if life is None:
            return False
        life.ready = now
        _note(life.facts, state=State.READY, ready_at=_at(now))
        if self.waiting:
            self.outcome.waits.append(now - self.waiting.popleft())
            self._take(sandbox_id, now)
        return True

    # Turns.

    def turn(self, now: float) -> None:
        """What the planner decides, done."""
        wanted = self.pool.target_ready if self.target is None else self.target(now, self.pool.target_ready)
        changes, creates = wanted != self.pool.target_ready, self.outcome.creates
        _note(self.pool, target_ready=wanted)
        at = _at(now)
        sandboxes = [life.facts for life in self.supply.values()]
        waiting = Demand({self.pool.runtime: len(self.waiting)}) if self.waiting else NOBODY
        _note(self.facts, sandboxes=sandboxes, listed_at=at, demand=waiting)
        places = max(0, self.conditions.max_total - len(self.supply) - self.taken - len(self.wanting))
        self.lacked_places = places < self.pool.max_concurrent_creates
        short = self.pool.target_ready + len(self.waiting) - len(self.supply)
        for decision in list(plan_pool(self.pool, sandboxes, self.facts, places, at)):
            changes = self._carry_out(decision, now) or changes
        if short > self.outcome.creates - creates:
            self.outcome.lacked_places += places < short
            self.outcome.lacked_creates += self.pool.max_concurrent_creates < short
        self.turn_at = self._next_turn(now, changes=changes)

    def _carry_out(self, decision: Decision, now: float) -> bool:
        if decision.kind == Kind.CREATE:
            self._create(now)
            return False  # nothing is due before it is ready
        if decision.kind == Kind.RETIRE and decision.sandbox_id is not None:
            if decision.code == EndCode.IDLE:
                _note(self.pool, last_shrunk_at=_at(now))
            life = self.supply.pop(decision.sandbox_id)
            self._end(life, now)
            self._go(now + DELETE_SECONDS)
            return True
        return False

    def _next_turn(self, now: float, *, changes: bool) -> float:
        """The first moment at which the planner could decide something else, if nothing happens before."""
        if changes:
            return now + AGAIN_SECONDS
        pool, moments = self.pool, [now + SCHEDULE_SECONDS] if self.target else []
        ready = [life for life in self.supply.values() if life.facts.state == State.READY]
        if pool.last_acquired_at is not None:
            acquired = _seconds(pool.last_acquired_at)
            moments += [acquired + pool.idle_timeout_seconds, acquired + pool.cooldown_after_acquire_seconds]
        if pool.last_shrunk_at is not None and ready:
            moments.append(_seconds(pool.last_shrunk_at) + pool.scale_down_delay_seconds)
        if ready:
            moments.append(min(life.ready for life in ready) + pool.max_warm_age_seconds + AGAIN_SECONDS)
        return min((moment for moment in moments if moment > now), default=float("inf"))

    # The lives of sandboxes.

    def _create(self, now: float) -> None:
        self.outcome.creates += 1
        self.number += 1
        sandbox_id = UUID(int=self.number)
        facts = SandboxFacts(
            sandbox_id, OLD, State.CREATING, Origin.POOL, _at(now), pool_id=self.pool.id, runtime=self.pool.runtime
        )
        self.supply[sandbox_id] = _Life(now, facts)
        self._plan(now + self.dice.choice(self.conditions.create_seconds), sandbox_id)

    def _take(self, sandbox_id: UUID, now: float) -> None:
        life = self.supply.pop(sandbox_id)
        used = self.dice.choice(self.conditions.run_seconds)
        self._end(life, now, used)
        self._go(now + used + DELETE_SECONDS)

    def _give_places(self, now: float) -> None:
        """Launches that start cold, as far as there are places."""
        while self.wanting and len(self.supply) + self.taken < self.conditions.max_total:
            takes = self.dice.choice(self.conditions.create_seconds)
            used = self.dice.choice(self.conditions.run_seconds)
            self.outcome.creates += 1
            self.outcome.waits.append(now + takes - self.wanting.popleft())
            self.outcome.billed_seconds += max(LEAST_BILLED_SECONDS, takes + used + DELETE_SECONDS)
            self._go(now + takes + used + DELETE_SECONDS)

    def _go(self, gone_at: float) -> None:
        """One has its place until then."""
        self.taken += 1
        self._plan(gone_at, None)

    def _end(self, life: _Life, now: float, used_seconds: float = 0.0) -> None:
        """It is ready and waits no more; it is paid until it is deleted."""
        if life.facts.state == State.READY:
            self.outcome.idle_seconds += now - life.ready
        lived = now - life.requested + used_seconds + DELETE_SECONDS
        self.outcome.billed_seconds += max(LEAST_BILLED_SECONDS, lived)

    def _oldest_ready(self) -> UUID | None:
        ready = [(life.ready, key) for key, life in self.supply.items() if life.facts.state == State.READY]
        return min(ready)[1] if ready else None

    def _plan(self, at: float, sandbox_id: UUID | None) -> None:
        """At that moment the sandbox is ready; without one, a place comes free."""
        self.number += 1
        heappush(self.agenda, (at, self.number, sandbox_id))


NOBODY = Demand()


def _note(facts: PoolFacts | SandboxFacts | FleetFacts, **fields: Any) -> None:
    """Change facts that nobody but the simulation has: a copy for each event would take a third of the time."""
    for name, value in fields.items():
        object.__setattr__(facts, name, value)


def _at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def _seconds(moment: datetime) -> float:
    return (moment - BEGIN).total_seconds()
