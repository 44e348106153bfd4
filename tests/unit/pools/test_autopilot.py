"""The autopilot moves a pool's target towards what is needed, within every bound, and says why."""

from __future__ import annotations

from typing import Any

import pytest

from pools.models import Mode
from pools.reasons import TargetCode
from pools.turn.decisions import Decision, Kind
from pools.turn.facts import Autopilot
from pools.turn.plan import plan_fleet
from tests.unit.pools.builders import NOW, make_fleet, make_pool, wanted_pool

WHY = "99.1 % of the last seven evenings between 18 and 19 h needed at most 9 within 97 s"


def moves(fleet: dict[str, Any] | None = None, **fields: Any) -> list[Decision]:
    pool = make_pool(**{"target_ready": 3, "max_ready": 20, "min_ready": 1} | fields)
    decisions = plan_fleet(make_fleet(pools=(pool,), **{"max_total": 50} | (fleet or {})), NOW)
    return [decision for decision in decisions if decision.kind == Kind.SET_TARGET]


def target(**fields: Any) -> int | None:
    found = moves(**fields)
    return found[0].target_ready[1] if found else None


def test_without_an_autopilot_the_target_is_the_operators():
    assert moves() == []


def test_it_goes_up_by_a_step_and_says_why():
    (decision,) = moves(autopilot=Autopilot(9, WHY, step=2))
    assert (decision.target_ready, decision.code) == ((3, 5), TargetCode.TARGET_RAISED)
    assert decision.reason == f"target 5, was 3; 9 would be right: {WHY}"


def test_it_goes_down_by_a_step():
    (decision,) = moves(target_ready=9, autopilot=Autopilot(2, "2: fewer", step=4))
    assert (decision.target_ready, decision.code) == ((9, 5), TargetCode.TARGET_LOWERED)


def test_it_stays_where_it_is_right():
    assert moves(autopilot=Autopilot(3, "3: as it is")) == []


@pytest.mark.parametrize(
    ("fields", "fleet", "says"),
    [
        ({"max_ready": 6}, {}, "max ready allows 6"),
        ({}, {"max_total": 6}, "MAX_TOTAL_SANDBOXES allows 6"),
        ({"autopilot": Autopilot(9, WHY, affordable=6, step=10)}, {}, "its budget allows 6"),
    ],
)
def test_no_bound_is_passed_and_the_one_that_holds_it_is_named(fields: dict, fleet: dict, says: str):
    (decision,) = moves(fleet, **{"autopilot": Autopilot(9, WHY, step=10)} | fields)
    assert decision.target_ready == (3, 6)
    assert decision.reason.endswith(says)


def test_it_never_goes_below_the_pools_floor():
    assert target(min_ready=2, autopilot=Autopilot(0, "nobody", step=10)) == 2


def test_a_target_above_what_is_allowed_comes_down_even_where_more_are_needed():
    assert target(target_ready=8, max_ready=8, fleet={"max_total": 5}, autopilot=Autopilot(9, WHY, step=10)) == 5


@pytest.mark.parametrize("mode", [Mode.PAUSED, Mode.DRAINING])
def test_a_pool_that_an_operator_has_stopped_keeps_its_target(mode: Mode):
    assert moves(mode=mode, autopilot=Autopilot(9, WHY)) == []


def test_what_it_asks_for_is_made_in_the_same_turn():
    pool = wanted_pool(
        target_ready=1, max_ready=20, max_concurrent_creates=20, autopilot=Autopilot(4, "4: more", step=10)
    )
    decisions = plan_fleet(make_fleet(pools=(pool,), max_total=50), NOW)
    assert [decision.kind for decision in decisions] == [Kind.SET_TARGET, *[Kind.CREATE] * 4]
