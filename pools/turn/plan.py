"""The plan that makes the fleet as it should be. Pure: facts and a time in, decisions with reasons out.

A turn that could not read the whole listing, or can't believe it, decides no deletion and no create for a pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from pools.models import Origin, State
from pools.places import Places
from pools.reasons import EndCode
from pools.turn.decisions import Decision, Kind, decide, leaving
from pools.turn.facts import FleetFacts, PoolFacts
from pools.turn.guard import guard
from pools.turn.listed import Listed
from pools.turn.plan_looks import is_unseen, plan_looks
from pools.turn.plan_orphans import plan_orphans, untracked_of_ours
from pools.turn.plan_pool import plan_pool, plan_surplus
from pools.turn.plan_sandbox import is_in_doubt, plan_sandbox
from pools.turn.plan_target import plan_target


def plan_fleet(facts: FleetFacts, now: datetime) -> list[Decision]:
    """Every decision of one turn, guarded against deleting too much at once."""
    return guard(plan_unguarded(facts, now), facts)


def plan_unguarded(facts: FleetFacts, now: datetime) -> list[Decision]:
    """Every decision of one turn, those too that its guard may hold back."""
    plans: list[Decision] = []
    listed = Listed(facts)
    pools = {pool.id: pool for pool in facts.pools}
    for sandbox in facts.sandboxes:
        if sandbox.id in listed.crowded_out:
            reason = f"another installation under our mark has {listed.others} of {facts.max_total} places"
            plans.append(decide(Kind.FAIL, sandbox, EndCode.FLEET_SURPLUS, reason))
            continue
        plans += plan_sandbox(sandbox, listed.app_of(sandbox), pools.get(sandbox.pool_id or 0), facts, now)
    plans += plan_looks(facts, now)
    plans += plan_orphans(facts, now)
    gone = leaving(plans)
    strays = len(untracked_of_ours(facts))
    places = Places(facts.max_total, len(facts.sandboxes), listed.others, strays, facts.demand.places).left
    for pool in (_with_failures(pool, facts, plans, now) for pool in facts.pools):
        resized = plan_target(pool, facts)
        plans += [resized] if resized else []
        mine = [s for s in facts.sandboxes if s.pool_id == pool.id and s.origin == Origin.POOL]
        staying = [sandbox for sandbox in mine if sandbox.id not in gone]
        doubtful = [s for s in mine if is_in_doubt(s) and (s.state == State.DELETING or s.id in gone)]
        changes = list(plan_pool(_resized(pool, resized), staying, facts, max(0, places), now, doubtful=doubtful))
        places -= sum(change.kind == Kind.CREATE for change in changes)
        plans += changes
    plans += plan_surplus(facts, plans)
    unseen = {sandbox.id for sandbox in facts.sandboxes if is_unseen(sandbox, facts.started_at)}
    return [plan for plan in plans if plan.kind != Kind.RETIRE or plan.sandbox_id not in unseen]


def _resized(pool: PoolFacts, decision: Decision | None) -> PoolFacts:
    """The pool with the target that this turn gives it: what follows from it is not left to the next turn."""
    if decision is None or decision.target_ready is None:
        return pool
    return replace(pool, target_ready=decision.target_ready[1])


def _with_failures(pool: PoolFacts, facts: FleetFacts, plans: Sequence[Decision], now: datetime) -> PoolFacts:
    """The pool with this turn's failures counted, so that none is answered by a create in the same turn."""
    alike = {sandbox.id for sandbox in facts.sandboxes if sandbox.runtime == pool.runtime}
    failing = [plan.failure_kind for plan in plans if plan.kind == Kind.FAIL and plan.sandbox_id in alike]
    return replace(pool, outcomes=(*pool.outcomes, *((now, kind) for kind in failing if kind)))
