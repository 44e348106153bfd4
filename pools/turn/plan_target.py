"""The autopilot of a pool: the target that it should have from this turn on."""

from __future__ import annotations

from pools.models import Mode
from pools.reasons import TargetCode
from pools.sizing.rule import moved
from pools.turn.decisions import Decision, Kind
from pools.turn.facts import FleetFacts, PoolFacts


def plan_target(pool: PoolFacts, facts: FleetFacts) -> Decision | None:
    """What the pool's target becomes, towards what is needed: within the pool's min and max, the fleet's limit and the
    autopilot's budget, by one step at most. None when it stays."""
    pilot = pool.autopilot
    if pilot is None or pool.mode != Mode.ACTIVE:
        return None
    bounds = {"max ready": pool.max_ready, "MAX_TOTAL_SANDBOXES": facts.max_total}
    if pilot.affordable is not None:
        bounds["its budget"] = pilot.affordable
    limit, most = min(bounds.items(), key=lambda bound: bound[1])
    target = moved(pool.target_ready, pilot.needed, least=min(pool.min_ready, most), most=most, step=pilot.step)
    if target == pool.target_ready:
        return None
    code = TargetCode.TARGET_RAISED if target > pool.target_ready else TargetCode.TARGET_LOWERED
    reason = f"target {target}, was {pool.target_ready}; {pilot.needed} would be right: {pilot.reason}"
    if pilot.needed > most:
        reason += f"; {limit} allows {most}"
    sizes = pool.target_ready, target
    return Decision(Kind.SET_TARGET, code, reason, pool_id=pool.id, name=pool.name, target_ready=sizes)
