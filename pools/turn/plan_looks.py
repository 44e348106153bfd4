"""The idle sandboxes to look at this turn, and those that failed their looks too often."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from pools.ages import ago
from pools.models import State
from pools.reasons import EndCode, StepCode
from pools.turn.decisions import Decision, Kind, decide
from pools.turn.facts import FleetFacts
from pools.turn.waits import (
    LOOK_AGAIN_SECONDS,
    LOOK_SECONDS,
    LOOKS_A_TURN,
    LOOKS_TO_FAIL,
    REFUSALS_TO_FAIL,
)


def plan_looks(facts: FleetFacts, now: datetime) -> Iterator[Decision]:
    """The idle sandboxes whose health is looked at this turn, those not seen for longest first."""
    due = []
    for sandbox in facts.sandboxes:
        if sandbox.state != State.READY:
            continue
        if sandbox.health_failures >= (REFUSALS_TO_FAIL if sandbox.refuses_us else LOOKS_TO_FAIL):
            if facts.is_trusted:
                code, reason = EndCode.UNWELL, f"its agent did not answer {sandbox.health_failures} looks in a row"
                if sandbox.refuses_us:
                    code, reason = EndCode.AGENT_REFUSED, f"its agent refuses our token: {sandbox.trouble}"
                yield decide(Kind.RETIRE, sandbox, code, reason)
            continue
        seen = sandbox.health_checked_at or sandbox.age_from
        pause = LOOK_AGAIN_SECONDS if sandbox.health_failures else LOOK_SECONDS
        if now - seen >= timedelta(seconds=pause):
            due.append((seen, sandbox))
    due.sort(key=lambda pair: pair[0])
    for seen, sandbox in due[:LOOKS_A_TURN]:
        yield decide(Kind.LOOK, sandbox, StepCode.UNSEEN, f"not looked at for {ago(seen, now)}")
