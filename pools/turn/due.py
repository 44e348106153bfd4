"""The moment of the next turn: the first at which there could be something to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from pools.breaker import breaker_at
from pools.models import ON_THE_WAY, State
from pools.turn.decisions import Decision, Kind
from pools.turn.facts import FleetFacts, PoolFacts, SandboxFacts
from pools.turn.plan_looks import is_looked_at, last_seen, look_pause_seconds
from pools.turn.waits import LOOK_AGAIN_SECONDS


def due_in_seconds(facts: FleetFacts, decisions: Sequence[Decision], now: datetime) -> float | None:
    """Return the seconds until a turn could find something to do; None when the next scheduled turn comes sooner."""
    moments: list[float] = []
    if facts.demand.places or any(facts.demand.waiting.values()):
        moments.append(1.0)
    if any(decision.kind not in (Kind.HOLD, Kind.STOP, Kind.LOOK) for decision in decisions):
        moments.append(1.0)
    for sandbox in facts.sandboxes:
        moments += _moments(sandbox, facts.started_at, now)
    for pool in facts.pools:
        moments += _pool_moments(pool, facts, now)
    soon = [max(0.5, moment) for moment in moments if moment <= 60]
    return min(soon, default=None)


def _looks(sandbox: SandboxFacts, started_at: datetime | None, now: datetime) -> Iterator[float]:
    """The next look: soon after one that failed, and in time at what is played. The schedule's will do for the idle."""
    if sandbox.health_failures or sandbox.state == State.IN_USE:
        seen_seconds = (now - last_seen(sandbox)).total_seconds()
        yield max(LOOK_AGAIN_SECONDS, look_pause_seconds(sandbox, started_at) - seen_seconds)


def _moments(sandbox: SandboxFacts, started_at: datetime | None, now: datetime) -> Iterator[float]:
    if sandbox.state in (*ON_THE_WAY, State.DELETING):
        age = (now - (sandbox.delete_requested_at or sandbox.requested_at)).total_seconds()
        yield 1.0 if age < 60 else 3.0 if age < 300 else 10.0
    if sandbox.missing_since is not None:
        yield 2.0
    if is_looked_at(sandbox):
        yield from _looks(sandbox, started_at, now)
    if sandbox.state == State.IN_USE and sandbox.expires_at is not None:
        yield max(1.0, (sandbox.expires_at - now).total_seconds())


def _pool_moments(pool: PoolFacts, facts: FleetFacts, now: datetime) -> Iterator[float]:
    """Moments to come; what is due already was decided in this turn."""
    moments = []
    ready = [s for s in facts.sandboxes if s.pool_id == pool.id and s.state == State.READY]
    if pool.last_acquired_at is not None and ready:
        moments.append(pool.last_acquired_at + timedelta(seconds=pool.idle_timeout_seconds))
    if pool.last_shrunk_at is not None and len(ready) > pool.min_ready:
        moments.append(pool.last_shrunk_at + timedelta(seconds=pool.scale_down_delay_seconds))
    if pool.last_acquired_at is not None and pool.is_wanted(now):
        moments.append(pool.last_acquired_at + timedelta(seconds=pool.cooldown_after_acquire_seconds))
        retry_at = breaker_at(pool.outcomes, now).retry_at
        moments += [retry_at] if retry_at else []
    yield from ((moment - now).total_seconds() for moment in moments if moment > now)
