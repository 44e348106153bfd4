"""The pool's life against a real cloud. The numbers are those of docs/invariants.md."""

from __future__ import annotations

import pytest
from django.utils import timezone

from pools.capacity import NoCapacity, reserve
from pools.models import Origin, Pool, Sandbox, State
from pools.reasons import Limit

pytestmark = pytest.mark.django_db(transaction=True)


def test_invariant_4_a_fresh_start_creates_nothing(paper_fleet, pool):
    paper_fleet.turns(20, seconds_apart=60)
    assert paper_fleet.cloud.state()["creates"] == 0


def test_first_demand_warms_the_pool_to_its_target_and_no_further(paper_fleet, pool):
    assert paper_fleet.acquire(pool) is None
    paper_fleet.turns(100, seconds_apart=3)
    assert paper_fleet.states() == ["ready"]
    assert paper_fleet.cloud.state()["creates"] == 1
    (why,) = paper_fleet.log("create")
    assert why.startswith("create 1 for pool python: 0 ready + 0 creating < target 1, last acquired ")
    assert why.endswith(" s ago by run 3fa9")


def test_what_was_acquired_is_replaced_once(paper_fleet, pool):
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    assert paper_fleet.acquire(pool) is not None
    paper_fleet.turns(50)
    assert paper_fleet.states() == ["in_use", "ready"]
    assert paper_fleet.cloud.state()["creates"] == 2


def test_invariant_4_idle_shrinks_to_the_floor_and_stays_there(paper_fleet, pool):
    Pool.objects.update(target_ready=3, max_ready=4, min_ready=1, max_concurrent_creates=3, max_warm_age_seconds=9000)
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    assert paper_fleet.states() == ["ready"] * 3
    paper_fleet.clock.advance(601)
    paper_fleet.turns(60, seconds_apart=25)
    assert paper_fleet.states() == ["ready"]
    assert paper_fleet.cloud.state()["creates"] == 3
    assert len(paper_fleet.cloud.apps()) == 1


def test_invariant_5_a_lifetime_ends_only_what_serves_a_run(paper_fleet, pool):
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    sandbox = paper_fleet.acquire(pool, minutes=5)
    paper_fleet.turns(10)
    idle = Sandbox.objects.get(state=State.READY)
    assert idle.expires_at is None
    paper_fleet.clock.advance(301)
    paper_fleet.turns(5)
    sandbox.refresh_from_db()
    assert sandbox.state == State.DELETED
    assert sandbox.end_reason.startswith("its lifetime ended")
    idle.refresh_from_db()
    assert idle.state == State.READY


def test_invariant_1_every_app_is_tracked_and_every_row_has_its_app(paper_fleet, pool):
    Pool.objects.update(target_ready=3, max_ready=4, max_concurrent_creates=2)
    for _ in range(5):
        paper_fleet.acquire(pool)
        paper_fleet.turns(4)
    paper_fleet.clock.advance(301)
    paper_fleet.settle()
    apps = {app["id"]: app["name"] for app in paper_fleet.cloud.apps()}
    rows = dict(Sandbox.objects.existing().values_list("app_id", "name"))
    assert apps == rows


def test_invariant_2_limits_hold_at_every_turn(paper_fleet, pool, settings):
    settings.MAX_TOTAL_SANDBOXES = 4
    Pool.objects.update(target_ready=4, max_ready=4, max_concurrent_creates=2)
    for _ in range(20):
        paper_fleet.acquire(pool)
        paper_fleet.turns(2)
        assert len(paper_fleet.states()) <= 4
        assert len(paper_fleet.cloud.apps()) <= 4
    assert paper_fleet.cloud.state()["most_apps"] <= 4


@pytest.mark.parametrize(
    ("edit", "limit", "made"),
    [
        ({"mode": "paused"}, Limit.POOL_MODE, 0),
        ({"target_ready": 0, "max_ready": 0}, Limit.MAX_READY, 0),
        ({"max_ready": 2, "max_concurrent_creates": 3}, Limit.MAX_READY, 2),
        ({"max_ready": 3, "max_concurrent_creates": 2}, Limit.MAX_CONCURRENT_CREATES, 2),
    ],
)
def test_invariant_2_what_an_operator_set_a_moment_ago_holds_for_a_create_that_was_decided_before(
    paper_fleet, pool, settings, edit, limit, made
):
    """The pool was read before the lock was taken."""
    settings.MAX_TOTAL_SANDBOXES = 10
    wanted = {"runtime": "python", "origin": Origin.POOL, "code": "demand", "reason": "decided before", "pool": pool}
    Pool.objects.update(**edit)
    for _ in range(made):
        reserve(**wanted, now=timezone.now())
    with pytest.raises(NoCapacity) as refused:
        reserve(**wanted, now=timezone.now())
    assert refused.value.limit == limit
    assert Sandbox.objects.count() == made


def test_real_sandboxes_warm_serve_and_go(real_fleet, pool):
    real_fleet.acquire(pool)
    for _ in range(200):
        real_fleet.turn()
        if real_fleet.states() == ["ready"]:
            break
    sandbox = real_fleet.acquire(pool)
    assert sandbox is not None
    assert real_fleet.cloud.apps()[0]["phase"] == "ACTIVE"
    Pool.objects.update(mode="draining")
    real_fleet.clock.advance(301)
    real_fleet.settle()
    assert real_fleet.states() == []
    assert real_fleet.cloud.apps() == []
