"""The autopilot of a pool, turn by turn: what it sets, writes down, and leaves to operators."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from pools.models import FleetEvent, Pool
from pools.pools_api import tag_of
from pools.reasons import TargetCode
from pools.signals import launches_asked
from pools.turn import act
from pools.turn.decisions import Decision, Kind
from pools.turn.observe import pool_facts


@pytest.fixture
def surge():
    """Ten launches within the last ten seconds, and none before."""
    begin = timezone.now() - timedelta(seconds=10)

    def launches(since, **_):
        return [at for at in (begin + timedelta(seconds=n) for n in range(10)) if at > since]

    launches_asked.connect(launches)
    yield
    launches_asked.disconnect(launches)


def test_a_turn_sets_the_target_by_one_step_and_logs_it_with_its_sentence(paper_fleet, pool, surge):
    Pool.objects.update(autopilot=True, autopilot_step=3, max_ready=9)
    paper_fleet.turn()
    pool.refresh_from_db()
    assert pool.target_ready == 4
    event = FleetEvent.objects.get(kind="pool")
    assert (event.code, event.actor, event.pool_name) == ("target_raised", "", "python")
    assert event.message.startswith("pool python: target 4, was 1; ")
    assert "10 launches within the last 60 s, more than usual" in event.message
    paper_fleet.turns(3)
    pool.refresh_from_db()
    assert pool.target_ready == 9


def test_one_that_is_off_leaves_the_target_alone(paper_fleet, pool, surge):
    paper_fleet.turn()
    pool.refresh_from_db()
    assert pool.target_ready == 1


@pytest.mark.parametrize("meanwhile", [{"target_ready": 2}, {"autopilot": False}, {"mode": "paused"}, {"max_ready": 3}])
def test_what_an_operator_has_set_meanwhile_holds(paper_fleet, pool, meanwhile):
    Pool.objects.update(autopilot=True, max_ready=9)
    decision = Decision(
        Kind.SET_TARGET,
        TargetCode.TARGET_RAISED,
        "target 5, was 1",
        pool_id=pool.pk,
        name=pool.name,
        target_ready=(1, 5),
    )
    Pool.objects.update(**meanwhile)
    act.Effects.set_targets(None, [decision])
    pool.refresh_from_db()
    assert pool.target_ready == meanwhile.get("target_ready", 1)
    assert not FleetEvent.objects.exists()


def test_its_budget_is_what_could_stay_ready_for_a_month(pool, db):
    """A sandbox of this size costs 12.86 USD in thirty days."""
    pool.autopilot, pool.autopilot_usd_a_month = True, 30
    assert pool_facts(pool, timezone.now()).autopilot.affordable == 2
    pool.autopilot_usd_a_month = 0
    assert pool_facts(pool, timezone.now()).autopilot.affordable is None


def test_what_the_autopilot_sets_is_no_other_version_of_the_settings(pool):
    """Otherwise who reads a pool and then changes it would be told again and again that somebody was first."""
    by_hand = tag_of(pool)
    pool.target_ready = 2
    assert tag_of(pool) != by_hand
    pool.autopilot = True
    by_itself = tag_of(pool)
    pool.target_ready = 1
    assert tag_of(pool) == by_itself
