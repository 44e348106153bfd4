"""The size of a pool, and the creates and retirements that lead there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from pools.ages import ago, is_over
from pools.breaker import breaker_at, deletes_fail
from pools.models import BEING_CREATED, ON_THE_WAY, SUPPLY, Mode, Pool, State
from pools.reasons import CreateCode, EndCode, HoldCode
from pools.turn.decisions import Decision, Kind, decide, leaving
from pools.turn.facts import FleetFacts, PoolFacts, SandboxFacts


def plan_pool(
    pool: PoolFacts,
    sandboxes: Sequence[SandboxFacts],
    facts: FleetFacts,
    places: int,
    now: datetime,
    *,
    doubtful: Sequence[SandboxFacts] = (),
) -> Iterator[Decision]:
    """Yield what to change so that `pool` is right at `now`. `places` is what the fleet has left for it, `doubtful`
    are given up, and may exist all the same."""
    if not facts.is_trusted:
        yield _hold(
            pool,
            HoldCode.NOT_TRUSTED,
            f"no create and no delete: {facts.listing_error or 'the listing was not complete'}",
        )
        return
    if pool.mode == Mode.PAUSED:
        yield _hold(pool, HoldCode.PAUSED, "paused by an operator")
        return
    supply = [sandbox for sandbox in sandboxes if sandbox.state in SUPPLY]
    ready = sorted((sandbox for sandbox in supply if sandbox.state == State.READY), key=lambda s: s.age_from)
    if pool.mode == Mode.DRAINING:
        for sandbox in ready[:1]:
            yield decide(Kind.RETIRE, sandbox, EndCode.DRAINING, f"pool {pool.name} is draining")
        return
    waiting = facts.demand.waiting.get(pool.runtime, 0)
    wanted = wanted_of(pool, waiting, is_wanted=pool.is_wanted(now))
    outdated = [sandbox for sandbox in supply if is_outdated(sandbox, pool, now)]
    fresh = len(supply) - len(outdated)
    if len(supply) > pool.max_ready and ready:
        over = min(len(supply) - pool.max_ready, facts.blast_radius_floor)  # a few a turn: the guard lets them pass
        for sandbox in _spare(ready, pool, now)[:over]:
            yield decide(
                Kind.RETIRE,
                sandbox,
                EndCode.POOL_SURPLUS,
                f"pool {pool.name} holds {len(supply)}, at most {pool.max_ready} allowed",
            )
    elif fresh < wanted and doubtful:
        name = doubtful[0].name
        reason = f"no create: {name} may exist, its create was not answered and no listing shows it"
        yield _hold(pool, HoldCode.IN_DOUBT, reason)
    elif fresh < wanted and deletes_fail(facts.deletes_failing_since, now) and facts.deletes_failing_since:
        since = ago(facts.deletes_failing_since, now)
        yield _hold(pool, HoldCode.DELETES_FAIL, f"no create: no deletion was accepted for {since}")
    elif fresh < wanted:
        trials = sum(s.runtime == pool.runtime and s.state in ON_THE_WAY for s in facts.sandboxes)
        yield from _plan_creates(
            pool, supply, now, fresh=fresh, wanted=wanted, waiting=waiting, places=places, trials=trials
        )
    if len(supply) <= pool.max_ready and len(ready) > wanted:
        yield from _plan_shrink(pool, ready, wanted, now)
    elif fresh < wanted and len(supply) == pool.max_ready:
        yield from _replace_in_place(pool, supply, now)


def wanted_of(pool: PoolFacts | Pool, waiting: int, *, is_wanted: bool) -> int:
    """How many ready sandboxes a pool wants, so many launches `waiting`. `is_wanted`: somebody launched lately."""
    return min(pool.max_ready, max(pool.min_ready, pool.target_ready if is_wanted else 0) + waiting)


def is_outdated(sandbox: SandboxFacts, pool: PoolFacts, now: datetime) -> bool:
    """Too old to hand over, or made before the operator (or a new snapshot) asked for fresh ones."""
    if was_made_before_recycling(sandbox, pool, now):
        return True
    return sandbox.ready_at is not None and (now - sandbox.ready_at).total_seconds() > pool.max_warm_age_seconds


def was_made_before_recycling(sandbox: SandboxFacts, pool: PoolFacts, now: datetime) -> bool:
    """Not while that moment lies ahead, after the clock was set back: each fresh one would be outdated at once."""
    return pool.recycle_before is not None and sandbox.requested_at < pool.recycle_before <= now


def _hold(pool: PoolFacts, code: HoldCode, reason: str) -> Decision:
    return Decision(Kind.HOLD, code, f"pool {pool.name}: {reason}", pool_id=pool.id, name=pool.name)


def _plan_creates(
    pool: PoolFacts,
    supply: Sequence[SandboxFacts],
    now: datetime,
    *,
    fresh: int,
    wanted: int,
    waiting: int,
    places: int,
    trials: int,
) -> Iterator[Decision]:
    """`trials` are on their way of its runtime, for whomever."""
    creating = sum(sandbox.state in BEING_CREATED for sandbox in supply)
    breaker = breaker_at(pool.outcomes, now)
    slots = (1 if breaker.failures else pool.max_concurrent_creates) - creating
    if breaker.is_probing:
        slots = min(slots, 1 - trials)
    room = pool.max_ready - len(supply)
    cooldown = timedelta(seconds=pool.cooldown_after_acquire_seconds)
    cooled_at = pool.last_acquired_at + cooldown if pool.last_acquired_at else now
    count = min(wanted - fresh, slots, room, places)
    if breaker.retry_at is not None:
        yield _hold(pool, HoldCode.BACKING_OFF, f"no create: {breaker.explanation}")
    elif pool.surplus_until is not None and pool.surplus_until > now:
        reason = f"no create until {pool.surplus_until:%H:%M:%S}: too many failed within an hour"
        yield _hold(pool, HoldCode.SURPLUS, reason)
    elif cooled_at > now and not waiting:
        yield _hold(
            pool, HoldCode.COOLING_DOWN, f"no create until {cooled_at:%H:%M:%S}: cools down after the last launch"
        )
    elif count > 0:
        ready = sum(sandbox.state == State.READY for sandbox in supply)
        outdated = f" ({len(supply) - fresh} outdated)" if fresh < len(supply) else ""
        counts = f"{ready} ready + {len(supply) - ready} creating{outdated}"
        reason = f"create 1 for pool {pool.name}: {counts} < target {wanted}, "
        reason += _demand(pool, waiting, now) + (f"; {breaker.explanation}" if breaker.is_probing else "")
        code = _demand_code(pool, waiting, now)
        for _ in range(count):
            yield Decision(Kind.CREATE, code, reason, pool_id=pool.id, name=pool.name)
    elif places <= 0:
        yield _hold(pool, HoldCode.NO_PLACE, "no create: the fleet has no place left")


def _replace_in_place(pool: PoolFacts, supply: Sequence[SandboxFacts], now: datetime) -> Iterator[Decision]:
    """The pool's own maximum leaves no room for a fresh one beside an outdated one: it goes, then one comes."""
    if any(sandbox.state in ON_THE_WAY for sandbox in supply):
        return
    for sandbox in [s for s in supply if s.state == State.READY and is_outdated(s, pool, now)][:1]:
        reason = f"outdated ({_why_outdated(sandbox, pool, now)}), and no room beside it"
        yield decide(Kind.RETIRE, sandbox, _outdated_code(sandbox, pool, now), reason)


def _demand(pool: PoolFacts, waiting: int, now: datetime) -> str:
    if waiting:
        return f"{waiting} launch{'es' if waiting > 1 else ''} waiting"
    if pool.is_wanted(now) and pool.last_acquired_at is not None:
        by = f" by {pool.last_acquired_by}" if pool.last_acquired_by else ""
        return f"last acquired {ago(pool.last_acquired_at, now)} ago{by}"
    return f"its idle floor is {pool.min_ready}"


def _demand_code(pool: PoolFacts, waiting: int, now: datetime) -> CreateCode:
    if waiting:
        return CreateCode.WAITING
    return CreateCode.DEMAND if pool.is_wanted(now) else CreateCode.IDLE_FLOOR


def _outdated_code(sandbox: SandboxFacts, pool: PoolFacts, now: datetime) -> EndCode:
    return EndCode.RECYCLED if was_made_before_recycling(sandbox, pool, now) else EndCode.OUTDATED


def _why_outdated(sandbox: SandboxFacts, pool: PoolFacts, now: datetime) -> str:
    if pool.recycle_before is not None and was_made_before_recycling(sandbox, pool, now):
        return f"recycled: made before {pool.recycle_before:%H:%M:%S}"
    return f"warm for {ago(sandbox.age_from, now)}, at most {pool.max_warm_age_seconds} s"


def _spare(ready: Sequence[SandboxFacts], pool: PoolFacts, now: datetime) -> list[SandboxFacts]:
    """The idle ones in the order in which they can be done without: outdated first, then the oldest."""
    return sorted(ready, key=lambda sandbox: (not is_outdated(sandbox, pool, now), sandbox.age_from))


def _plan_shrink(pool: PoolFacts, ready: Sequence[SandboxFacts], wanted: int, now: datetime) -> Iterator[Decision]:
    """One idle sandbox at a time, and only while enough others are ready."""
    victim = _spare(ready, pool, now)[0]
    if is_outdated(victim, pool, now):
        reason = f"outdated ({_why_outdated(victim, pool, now)}), and enough others are ready"
        yield decide(Kind.RETIRE, victim, _outdated_code(victim, pool, now), reason)
        return
    if pool.last_shrunk_at is not None and not is_over(pool.last_shrunk_at, pool.scale_down_delay_seconds, now):
        return
    idle = pool.idle_for(now)
    why = "never acquired from" if idle is None else f"last acquired {ago(now - idle, now)} ago"
    reason = f"idle: {len(ready)} ready > {wanted} wanted by pool {pool.name}, {why}"
    yield decide(Kind.RETIRE, victim, EndCode.IDLE, reason)


def plan_surplus(facts: FleetFacts, plans: Sequence[Decision]) -> Iterator[Decision]:
    """Idle sandboxes that go because the fleet holds more than it may: its limit was lowered. A few a turn, together
    with what the pools retire, so that the guard lets them pass."""
    gone = leaving(plans)
    staying = [s for s in facts.sandboxes if s.state != State.DELETING and s.id not in gone]
    idle = sorted((s for s in staying if s.state == State.READY), key=lambda s: s.age_from)
    retired = sum(decision.kind == Kind.RETIRE for decision in plans)
    over = min(len(staying) - facts.max_total, facts.blast_radius_floor - retired)
    if facts.is_trusted:
        for sandbox in idle[: max(0, over)]:
            reason = f"the fleet holds {len(staying)}, at most {facts.max_total} allowed"
            yield decide(Kind.RETIRE, sandbox, EndCode.FLEET_SURPLUS, reason)
