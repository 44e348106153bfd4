"""The blast-radius guard: no turn deletes more than a set share of the fleet without an operator."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pools.reasons import StepCode
from pools.turn.decisions import GUARDED, Decision, Kind
from pools.turn.facts import FleetFacts


def guard(decisions: Sequence[Decision], facts: FleetFacts) -> list[Decision]:
    """The decisions, less the guarded deletions when they are more than the set share of the fleet and nobody has let
    them through; then a STOP says so."""
    deletions = [decision for decision in decisions if decision.kind in GUARDED]
    fleet = len(facts.sandboxes) + sum(decision.kind == Kind.DELETE_ORPHAN for decision in decisions)
    allowed = max(facts.blast_radius_floor, math.floor(facts.blast_radius_share * fleet), facts.approved_deletes)
    if len(deletions) <= allowed:
        return list(decisions)
    reason = (
        f"{len(deletions)} of {fleet} would be deleted in one turn, {allowed} at most: an operator must let them go"
    )
    kept = [decision for decision in decisions if decision.kind not in GUARDED]
    return [Decision(Kind.STOP, StepCode.TOO_MANY, reason), *kept]
