"""The blast-radius guard: no turn, and no row of turns, deletes more than a set share of the fleet without an operator.

Deaths count within a window of time: sandboxes that were given up for dead or lost, and orphans. What policy retires
counts within its turn only. What an operator has let go, by its id, passes and does not count.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from pools.models import BEING_CREATED, SUPPLY, Origin
from pools.reasons import StepCode
from pools.turn.decisions import DEATHS, Decision, Kind, leaving
from pools.turn.facts import FleetFacts

WINDOW = timedelta(minutes=30)  # in which deaths count together: a slow trickle empties a fleet, too


def guard(decisions: Sequence[Decision], facts: FleetFacts) -> list[Decision]:
    """The decisions, less the guarded deletions that nobody has let go when they are more than the set share of the
    fleet; then a STOP says so."""
    waiting = {d.target: d for d in decisions if d.is_guarded and d.target not in facts.approved}
    # By name, which an app has of its sandbox: one that was given up may still be there, or be seen again as an orphan.
    dying = {d.name for d in waiting.values() if d.code in DEATHS}
    orphans = {d.name for d in waiting.values() if d.kind == Kind.DELETE_ORPHAN}
    there = {sandbox.name for sandbox in facts.sandboxes} | orphans
    fleet = len(there | facts.deaths)
    allowed = max(facts.blast_radius_floor, math.floor(facts.blast_radius_share * fleet))
    deaths = len(facts.deaths | dying)
    if len(waiting) <= allowed and (not dying or deaths <= allowed):
        return list(decisions)
    count = f"{len({d.name for d in waiting.values()})} of {len(there)} would be deleted in one turn"
    if len(waiting) <= allowed:
        count = f"{deaths} of {fleet} would be deleted within {WINDOW.seconds // 60} minutes"
    reason = f"{count}, {allowed} at most: an operator must let them go"
    kept = [d for d in decisions if not d.is_guarded or d.target in facts.approved]
    return [Decision(Kind.STOP, StepCode.TOO_MANY, reason), *_that_have_room(kept, facts)]


def _that_have_room(decisions: Sequence[Decision], facts: FleetFacts) -> list[Decision]:
    """The decisions, less creates for the places of sandboxes that stay, since their deletions are held back."""
    gone = leaving(decisions)
    staying = [s for s in facts.sandboxes if s.origin == Origin.POOL and s.id not in gone]
    supply = Counter(s.pool_id for s in staying if s.state in SUPPLY)
    creating = Counter(s.pool_id for s in staying if s.state in BEING_CREATED)
    room = {
        pool.id: min(pool.max_ready - supply[pool.id], pool.max_concurrent_creates - creating[pool.id])
        for pool in facts.pools
    }
    kept = []
    for decision in decisions:
        if decision.kind == Kind.CREATE and decision.pool_id is not None:
            if room[decision.pool_id] <= 0:
                continue
            room[decision.pool_id] -= 1
        kept.append(decision)
    return kept
