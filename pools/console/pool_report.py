"""A pool's report for operators: how it stands, what comes next, the size it should have, its cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from pools import clock
from pools.breaker import Breaker, breaker_at
from pools.models import ON_THE_WAY, Pool, State
from pools.occupants import Arrival, arrivals
from pools.prices import usd_per_hour
from pools.sizes import Recommendation, recommend
from pools.turn.decisions import Decision, Kind
from pools.turn.preview import Explanation, explain

HOURS = 6
QUIET = (Kind.LOOK, Kind.PROBE, Kind.ASK, Kind.NOTE_MISSING, Kind.NOTE_FOUND)


@dataclass(frozen=True, slots=True)
class PoolReport:
    pool: Pool
    ready: int
    creating: int
    in_use: int
    deleting: int
    launches: int
    hits: int
    breaker: Breaker
    next_steps: Sequence[Decision]
    recommendation: Recommendation

    @property
    def hit_percent(self) -> int | None:
        return round(100 * self.hits / self.launches) if self.launches else None

    @property
    def idle_usd_per_hour(self) -> Decimal:
        """The price of its ready sandboxes while nobody uses them."""
        return usd_per_hour(self.pool.size) * self.ready

    @property
    def target_usd_per_hour(self) -> Decimal:
        return usd_per_hour(self.pool.size) * self.pool.target_ready

    @property
    def wants_another_size(self) -> bool:
        return self.launches > 0 and self.recommendation.target_ready != self.pool.target_ready


def arrivals_lately() -> list[Arrival]:
    """The launches that hit rates are told of."""
    return arrivals(clock.now() - timedelta(hours=HOURS))


def pool_reports(pools: Iterable[Pool], now: datetime, came: Sequence[Arrival] | None = None) -> dict[int, PoolReport]:
    """A report for each pool by its key, from one explanation of the next turn. `came`: the arrivals of the last hours,
    where they are known."""
    explanation, lately = explain(now), arrivals_lately() if came is None else came
    return {pool.pk: report(pool, explanation, lately, now) for pool in pools}


def report(pool: Pool, explanation: Explanation, arrivals: Sequence[Arrival], now: datetime) -> PoolReport:
    """One pool's report, from an explanation of the next turn and the launches of the last hours."""
    mine = Counter(each.state for each in explanation.facts.sandboxes if each.pool_id == pool.pk)
    facts = next(each for each in explanation.facts.pools if each.id == pool.pk)
    came = [arrival for arrival in arrivals if arrival.runtime == pool.runtime]
    return PoolReport(
        pool=pool,
        ready=mine[State.READY],
        creating=sum(mine[state] for state in ON_THE_WAY),
        in_use=mine[State.IN_USE],
        deleting=mine[State.DELETING],
        launches=len(came),
        hits=sum(arrival.was_hit for arrival in came),
        breaker=breaker_at(facts.outcomes, now),
        next_steps=[each for each in explanation.of_pool(pool) if each.kind not in QUIET],
        recommendation=recommend(pool, now),
    )
