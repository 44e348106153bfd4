"""First come, first served: for a warm sandbox, and for a place in the fleet."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from games.models import Game
from pools import claims
from pools.capacity import NoCapacity, reserve
from pools.models import Origin, Pool, Sandbox, State
from pools.reasons import CreateCode
from runs import lifecycle, upkeep
from runs.clients import Client
from runs.launching import progress
from runs.launching.launch import launch
from runs.limits import LimitReached
from runs.models import Run, RunState, ServedBy
from runs.reasons import RunEndCode, RunNoticeCode
from tests.fixtures.fleet import FleetUnderTest

pytestmark = pytest.mark.django_db(transaction=True)


def start(visitor: str, mode: str = "warm", game: str = "snake") -> Run:
    return launch(game=game, mode=mode, client=Client(visitor))


def again(run: Run) -> Run:
    return Run.objects.select_related("sandbox", "game").get(pk=run.pk)


@pytest.fixture
def full(paper_fleet, pool, game, settings) -> Sandbox:
    """A fleet of two, both idle and warm; a Node game, too. The sandbox that is the first to make room."""
    settings.MAX_TOTAL_SANDBOXES = 2
    Pool.objects.update(target_ready=2, max_ready=2)
    paper_fleet.acquire(pool)
    paper_fleet.turns(10)
    assert paper_fleet.states() == ["ready", "ready"]
    Game.objects.create(slug="ttt", title="T", runtime="node", run_command="x", snapshot_name="ttt-node")
    return Sandbox.objects.filter(state=State.READY).order_by("ready_at")[0]


def gone(sandbox: Sandbox, fleet: FleetUnderTest) -> None:
    """The cloud has deleted it and confirms that, between two turns."""
    fleet.cloud.control.delete_app(sandbox.app_id)
    Sandbox.objects.filter(pk=sandbox.pk).update(state=State.DELETED, deleted_at=timezone.now())


# Places.


def test_a_place_that_was_made_for_a_launch_is_not_taken_by_a_later_one(full, paper_fleet):
    first = start("ada", "cold", "ttt")
    gone(full, paper_fleet)
    second = start("bob", "cold", "ttt")
    assert again(second).sandbox is None, "the newcomer overtook"
    upkeep.put_right(timezone.now())
    assert again(first).sandbox is not None


def test_a_place_that_was_made_for_a_launch_is_not_taken_by_a_pool_or_a_build(full, paper_fleet, pool):
    first = start("ada", "cold", "ttt")
    gone(full, paper_fleet)
    for origin, of in ((Origin.POOL, pool), (Origin.COLD, None)):
        with pytest.raises(NoCapacity):
            reserve(
                runtime="python", origin=origin, code=CreateCode.BUILD, reason="a test", now=timezone.now(), pool=of
            )
    upkeep.put_right(timezone.now())
    assert again(first).sandbox is not None


def test_each_launch_that_waits_has_a_place_made_and_they_get_them_in_the_order_in_which_they_came(full, paper_fleet):
    runs = [start(visitor, "cold", "ttt") for visitor in ("ada", "bob")]
    assert Sandbox.objects.filter(state=State.DELETING).count() == 2
    with pytest.raises(LimitReached):
        start("eve", "cold", "ttt")
    gone(full, paper_fleet)
    upkeep.put_right(timezone.now())
    assert [again(run).sandbox is not None for run in runs] == [True, False]
    paper_fleet.turns(10)
    assert all(again(run).sandbox for run in runs)


def test_a_launch_that_waits_for_a_place_does_not_fail_because_the_fleet_is_full_just_now(full, paper_fleet, settings):
    """What was to make room for it was taken; it failed with "No place for a sandbox", and one came free a second
    later."""
    run = start("ada", "cold", "ttt")
    settings.MAX_TOTAL_SANDBOXES = 1  # an operator lowers it at that moment
    Sandbox.objects.filter(state=State.READY).update(
        state=State.IN_USE, acquired_at=timezone.now(), expires_at=timezone.now() + timedelta(minutes=5)
    )
    paper_fleet.turns(10)
    assert again(run).state == RunState.ACQUIRING
    settings.MAX_TOTAL_SANDBOXES = 2
    paper_fleet.turns(3)
    assert again(run).sandbox is not None


def test_a_launch_whose_place_never_comes_ends_with_its_time_to_start(full, paper_fleet, settings):
    run = start("ada", "cold", "ttt")
    settings.MAX_TOTAL_SANDBOXES = 1
    Sandbox.objects.filter(state=State.READY).update(
        state=State.IN_USE, acquired_at=timezone.now(), expires_at=timezone.now() + timedelta(hours=5)
    )
    paper_fleet.clock.advance(upkeep.START_SECONDS + 1)
    paper_fleet.turn()
    assert again(run).end_code == RunEndCode.START_TIMEOUT


def test_a_spent_budget_ends_a_launch_that_waits_for_a_place(full, paper_fleet, settings):
    run = start("ada", "cold", "ttt")
    gone(full, paper_fleet)
    settings.MONTHLY_BUDGET_USD = 0.000001
    upkeep.put_right(timezone.now())
    assert again(run).end_code == RunEndCode.NO_PLACE


# Warm sandboxes.


def test_the_launch_that_has_waited_longest_gets_the_next_warm_sandbox(paper_fleet, pool, game):
    """Both wait; one sandbox comes. Whoever came last was served first, and nobody noticed."""
    Pool.objects.update(target_ready=2, max_ready=2, max_concurrent_creates=2, last_acquired_at=timezone.now())
    paper_fleet.cloud.fault(operation="create", deploy_seconds=60)
    paper_fleet.turn()
    first, second, third = start("ada"), start("bob"), start("eve")
    assert [run.served_by for run in (first, second, third)] == [ServedBy.POOL, ServedBy.POOL, ServedBy.COLD_FALLBACK]
    coming = list(Sandbox.objects.filter(pool=pool, state=State.CREATING))
    for served, sandbox in ((first, coming[0]), (second, coming[1])):
        assert claims.make_ready(sandbox.id, timezone.now())
        assert again(served).sandbox == sandbox


def test_a_newcomer_does_not_get_the_warm_sandbox_that_another_waits_for(paper_fleet, pool, game):
    Pool.objects.update(last_acquired_at=timezone.now())
    paper_fleet.cloud.fault(operation="create", deploy_seconds=60)
    paper_fleet.turn()
    first = start("ada")
    Sandbox.objects.filter(state=State.CREATING).update(state=State.READY, ready_at=timezone.now())
    second = start("bob")
    assert again(second).sandbox is None or again(second).sandbox.origin == Origin.COLD
    upkeep.put_right(timezone.now())
    assert again(first).sandbox.origin == Origin.POOL


def test_a_warm_launch_that_waits_for_a_place_takes_a_warm_sandbox_that_comes_free_first(full, paper_fleet, pool):
    """It came before whoever clicks now, and would have started cold beside it."""
    Pool.objects.create(
        name="node", runtime="node", image="bikramkgupta/sandbox-node-service:latest", region="syd",
        size="apps-s-1vcpu-1gb", stage="none",
    )  # fmt: skip
    run = start("ada", "warm", "ttt")
    assert (run.served_by, run.sandbox) == (ServedBy.COLD_FALLBACK, None)
    idle = Sandbox.objects.filter(state=State.READY).get()
    Sandbox.objects.filter(pk=idle.pk).update(runtime="node", pool=Pool.objects.get(name="node"))
    upkeep.put_right(timezone.now())
    run = again(run)
    assert (run.sandbox, run.served_by, run.notice, run.notice_code) == (idle, ServedBy.POOL, "", "")


# A warm one that does not come.


@pytest.fixture
def waiting(paper_fleet, pool, game) -> Run:
    """A warm launch that waits for a sandbox which is stuck; they usually take 20 s."""
    now = timezone.now()
    for number in range(3):
        Sandbox.objects.create(
            name=f"sandbox-past{number}", pool=pool, runtime="python", state=State.DELETED, origin=Origin.POOL,
            create_code="demand", create_reason="a test", end_code="idle", end_reason="a test",
            requested_at=now - timedelta(seconds=520), ready_at=now - timedelta(seconds=500),
            deleted_at=now - timedelta(seconds=400),
        )  # fmt: skip
    Pool.objects.update(last_acquired_at=now)
    paper_fleet.cloud.fault(operation="create", times=1, deploy_seconds=3600)
    paper_fleet.turn()
    run = start("ada")
    assert (run.served_by, run.sandbox) == (ServedBy.POOL, None)
    return run


def test_a_warm_launch_starts_cold_after_twice_the_usual_time_and_says_so(paper_fleet, waiting):
    """It waited for ten minutes for a sandbox that was stuck."""
    paper_fleet.clock.advance(39)
    paper_fleet.turn()
    assert again(waiting).served_by == ServedBy.POOL
    paper_fleet.clock.advance(2)
    paper_fleet.turn()
    run = again(waiting)
    assert (run.served_by, run.notice_code) == (ServedBy.COLD_FALLBACK, RunNoticeCode.TOO_SLOW)
    assert run.sandbox.origin == Origin.COLD


def test_a_warm_launch_goes_on_waiting_where_no_place_is_free_for_a_cold_one(paper_fleet, waiting, settings):
    settings.MAX_TOTAL_SANDBOXES = 1
    paper_fleet.clock.advance(41)
    paper_fleet.turn()
    run = again(waiting)
    assert (run.served_by, run.state, run.notice) == (ServedBy.POOL, RunState.ACQUIRING, "")


def test_a_pool_that_starts_none_cold_starts_none_for_one_that_waits(paper_fleet, waiting):
    Pool.objects.update(on_empty="fail")
    paper_fleet.clock.advance(60)
    paper_fleet.turn()
    assert (again(waiting).served_by, again(waiting).sandbox) == (ServedBy.POOL, None)


def test_whoever_comes_then_does_not_wait_for_the_one_that_is_stuck(paper_fleet, waiting):
    paper_fleet.clock.advance(41)
    run = start("bob")
    assert (run.served_by, run.notice_code) == (ServedBy.COLD_FALLBACK, RunNoticeCode.NONE_READY)


def test_a_launch_that_waits_longer_than_usual_is_told_so_and_no_number(paper_fleet, waiting, settings, client):
    """ "About 10 s left" stood there for ten minutes."""
    settings.MAX_TOTAL_SANDBOXES = 1
    paper_fleet.clock.advance(10)
    upkeep.tell_progress(timezone.now())
    assert progress.latest(waiting)["left_seconds"] <= 15
    paper_fleet.clock.advance(15)
    upkeep.tell_progress(timezone.now())
    assert progress.latest(waiting)["left_seconds"] is None
    assert waiting.events.filter(kind="progress").last().message.endswith("longer than usual")
    page = client.get(f"/runs/{waiting.pk}/").content.decode()
    assert "longer than usual" in page
    assert lifecycle.end(waiting.pk, RunEndCode.ENDED_BY_PLAYER, "Ended by the player.", timezone.now())


def test_a_new_launch_takes_no_ready_sandbox_that_another_waits_for(paper_fleet, pool, game):
    paper_fleet.acquire(pool)
    paper_fleet.turn()
    first = start("ada")
    assert again(first).sandbox is None
    Sandbox.objects.update(state=State.READY, ready_at=timezone.now(), health_checked_at=timezone.now())
    second = start("bob")
    assert again(second).sandbox is None or again(second).sandbox.origin == Origin.COLD
    upkeep.put_right(timezone.now())
    assert again(first).sandbox.origin == Origin.POOL


def test_room_is_made_at_the_cost_of_a_runtime_that_is_not_wanted(full):
    newer = Sandbox.objects.exclude(pk=full.pk).get()
    Sandbox.objects.filter(pk=newer.pk).update(runtime="node")
    start("ada", "cold", "snake")
    assert dict(Sandbox.objects.values_list("pk", "state")) == {full.pk: State.READY, newer.pk: State.DELETING}
