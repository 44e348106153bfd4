"""A plan in one line: counts of distinct sandboxes, and why what is held is."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from pools.models import Origin, State
from pools.reasons import EndCode, HoldCode, StepCode, TargetCode
from pools.turn.decisions import Decision, Kind, digest_of
from pools.turn.facts import FleetFacts, SandboxFacts
from pools.turn.totals import totals
from tests.unit.pools.test_planner import NOW


def facts(*sandboxes: SandboxFacts) -> FleetFacts:
    return FleetFacts(pools=(), sandboxes=sandboxes, apps=(), listed_at=NOW)


def sandbox(state: State, **fields: object) -> SandboxFacts:
    return SandboxFacts(uuid4(), "sandbox-1", state, Origin.POOL, NOW, **fields)


def about(each: SandboxFacts, kind: Kind) -> Decision:
    return Decision(kind, EndCode.IDLE, "why", each.id, name=each.name)


def hold(reason: str, pool_id: int) -> Decision:
    return Decision(Kind.HOLD, HoldCode.NO_PLACE, reason, pool_id=pool_id)


def test_a_fleet_without_anything_to_do_is_as_it_should_be():
    ready = sandbox(State.READY)
    found = totals([about(ready, Kind.LOOK)], [], facts(ready))
    assert (found.is_as_wished, found.sentence(NOW)) == (True, "Nothing to do: the fleet is as it should be.")


def test_a_sandbox_counts_once_however_many_decisions_are_about_it():
    gone, other = sandbox(State.READY), sandbox(State.READY)
    decisions = [about(gone, Kind.NOTE_MISSING), about(gone, Kind.RETIRE), about(gone, Kind.SEND_DELETE)]
    create = Decision(Kind.CREATE, StepCode.DUE, "why", pool_id=1)
    found = totals([*decisions, about(other, Kind.VERIFY), create], [], facts(gone, other))
    assert found.sentence(NOW) == "1 to create, 1 to delete, 1 to check."


def test_what_is_held_is_counted_with_its_reasons_each_once():
    held = [about(sandbox(State.READY), Kind.RETIRE) for _ in range(3)]
    stop = Decision(Kind.STOP, StepCode.TOO_MANY, "3 of 4 would be deleted")
    decisions = [stop, hold("launch cap 10 of 10", 1), hold("launch cap 10 of 10", 2)]
    found = totals(decisions, [*held, held[0]], facts())
    assert found.sentence(NOW) == "Nothing to do now, 5 held: 3 of 4 would be deleted; launch cap 10 of 10."
    assert not found.is_as_wished


def test_what_is_under_way_is_told_with_the_next_try():
    sent = NOW - timedelta(seconds=7)
    found = totals([], [], facts(sandbox(State.DELETING, delete_sent_at=sent), sandbox(State.CREATING)))
    assert found.sentence(NOW) == "Nothing to do now; 1 being created and 1 being deleted (asked for again in 8 s)."


def resized(pool_id: int, was: int, becomes: int) -> Decision:
    code = TargetCode.TARGET_RAISED
    return Decision(Kind.SET_TARGET, code, "why", pool_id=pool_id, name="python", target_ready=(was, becomes))


def test_each_pool_whose_target_is_set_counts():
    found = totals([resized(1, 1, 2), resized(2, 1, 2)], [], facts())
    assert found.sentence(NOW) == "2 of the pools to resize."


def test_who_agrees_to_a_target_agrees_to_no_other():
    """What was read as "target 2" could have been carried out as 4."""
    assert digest_of([resized(1, 1, 2)]) != digest_of([resized(1, 1, 4)])
