"""Deleting keeps out of the way while players launch, and is never put off for long."""

from __future__ import annotations

from pools.demand import Demand
from pools.models import State
from pools.turn.deletions import DELETES_A_TURN, DELETES_IN_A_BURST, deletes_a_turn
from tests.unit.pools.builders import NOW, make_fleet, make_pool, make_sandbox, seconds

LAUNCHING = make_pool(last_acquired_at=NOW - seconds(1))
QUIET = make_pool(last_acquired_at=NOW - seconds(10))


def deleting(age_seconds: float, **fields):
    return make_sandbox(State.DELETING, delete_requested_at=NOW - seconds(age_seconds), **fields)


def test_a_quiet_fleet_deletes_as_many_as_it_may() -> None:
    assert deletes_a_turn(make_fleet(deleting(5), pools=(QUIET,)), NOW) == DELETES_A_TURN
    assert deletes_a_turn(make_fleet(deleting(5), pools=(make_pool(),)), NOW) == DELETES_A_TURN


def test_while_players_launch_few_are_deleted() -> None:
    assert deletes_a_turn(make_fleet(deleting(5), pools=(QUIET, LAUNCHING)), NOW) == DELETES_IN_A_BURST


def test_who_waits_for_a_place_does_not_wait_for_the_burst() -> None:
    fleet = make_fleet(deleting(5), pools=(LAUNCHING,), demand=Demand(places=1))
    assert deletes_a_turn(fleet, NOW) == DELETES_A_TURN


def test_launches_that_never_pause_put_nothing_off_for_more_than_a_minute() -> None:
    assert deletes_a_turn(make_fleet(deleting(61), pools=(LAUNCHING,)), NOW) == DELETES_A_TURN
    already_asked_for = deleting(61, delete_sent_at=NOW - seconds(20))
    assert deletes_a_turn(make_fleet(already_asked_for, pools=(LAUNCHING,)), NOW) == DELETES_IN_A_BURST
