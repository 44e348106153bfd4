"""Trouble that comes in storms: refusals, slow answers, answers about others, clocks that jump, limits that change."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from pools import claims, leases, this_machine
from pools.cloud.connection import connect
from pools.models import CloudApp, Fleet, FleetEvent, Lease, Pool, Sandbox, State
from pools.reasons import CreateCode, EndCode
from pools.shared_budget import counted
from pools.turn.act import Effects
from pools.turn.decisions import Decision, Kind
from pools.turn.observe import observe

pytestmark = pytest.mark.django_db(transaction=True)


def one_ready(fleet, pool) -> Sandbox:
    fleet.acquire(pool)
    fleet.settle()
    return Sandbox.objects.get(state=State.READY)


@pytest.mark.parametrize("fault", [{"retry_after": 30}, {}], ids=["with Retry-After", "without"])
def test_a_storm_of_429s_is_waited_out_and_does_not_flood_the_log(paper_fleet, pool, fault):
    """Each second said in other words for how long it still waits."""
    one_ready(paper_fleet, pool)
    paper_fleet.cloud.fault(operation="*", status=429, **fault)
    paper_fleet.acquire(pool)
    requests, lines = sum(paper_fleet.cloud.state()["operations"].values()), FleetEvent.objects.count()
    paper_fleet.turns(30)
    assert sum(paper_fleet.cloud.state()["operations"].values()) - requests <= 3  # after 0, 5 and 15 seconds
    assert FleetEvent.objects.count() - lines <= 8
    assert paper_fleet.cloud.state()["creates"] == 1


def test_a_deletion_that_never_works_is_tried_for_ever_and_told_once(paper_fleet, pool):
    sandbox = one_ready(paper_fleet, pool)
    paper_fleet.cloud.fault(operation="delete", status=500)
    claims.retire(sandbox.id, "retired", "retired by an operator", timezone.now())
    Pool.objects.update(mode="paused")
    paper_fleet.turns(40, seconds_apart=16)
    assert paper_fleet.states() == ["deleting"]
    assert paper_fleet.cloud.state()["operations"]["delete"] >= 39
    assert FleetEvent.objects.filter(kind="trouble").count() == 1


def test_an_orphan_whose_deletion_fails_is_not_called_deleted(paper_fleet):
    """A failure was written to the log as a deletion."""
    app = paper_fleet.cloud.control.make_app("sandbox-0badcafe", owner="local")
    fault = paper_fleet.cloud.fault(operation="delete", status=500)
    paper_fleet.turns(20, seconds_apart=10)
    assert paper_fleet.log("deleted") == []
    assert paper_fleet.log("trouble") == ["not deleted yet: The cloud answered 500: Something went wrong.."]
    assert len(paper_fleet.log("delete")) == 1
    paper_fleet.cloud.control.clear(fault)
    paper_fleet.turns(3, seconds_apart=16)
    assert paper_fleet.cloud.apps() == []
    assert paper_fleet.log("deleted")[0].startswith("deleted: orphan for")
    assert not CloudApp.objects.filter(pk=app["id"]).exists()


def test_an_operators_order_outlasts_a_list_that_misses_the_app(paper_fleet):
    app = paper_fleet.cloud.control.make_app("web")
    paper_fleet.turn()
    CloudApp.objects.filter(pk=app["id"]).update(delete_reason="force delete by an operator: a leftover")
    paper_fleet.cloud.fault(operation="delete", times=1, status=500)
    paper_fleet.cloud.fault(operation="list", times=3, omit="web")
    paper_fleet.turns(10, seconds_apart=6)
    assert paper_fleet.cloud.apps() == []
    assert not CloudApp.objects.exists()


@pytest.mark.parametrize("kind", [Kind.EXPIRE, Kind.FAIL, Kind.RETIRE])
def test_what_was_decided_of_a_sandbox_does_not_hold_once_it_serves_somebody_for_longer(paper_fleet, pool, kind):
    """Between the decision and the act a player got more time, or staging ended and a player got the sandbox, or policy
    took it for idle."""
    one_ready(paper_fleet, pool)
    now = timezone.now()
    sandbox = claims.claim(pool, by="a run", expires_at=now + timedelta(minutes=5), now=now)
    facts, _ = observe(connect())
    Effects(connect(), facts).act([Decision(kind, EndCode.IDLE, "decided a moment ago", sandbox.id)])
    sandbox.refresh_from_db()
    assert sandbox.state == State.IN_USE


def test_a_create_that_is_answered_with_somebody_elses_app_never_touches_that(paper_fleet, pool):
    """Its id was kept as ours, and would have been deleted with the sandbox."""
    theirs = paper_fleet.cloud.control.make_app("web")
    paper_fleet.cloud.fault(operation="create", times=1, after=True, json={"app": theirs_as_listed(theirs)})
    sandbox = one_ready(paper_fleet, pool)
    assert sandbox.app_id != theirs["id"]
    paper_fleet.clock.advance(700)
    paper_fleet.settle()
    assert [app["id"] for app in paper_fleet.cloud.apps()] == [theirs["id"]]


def theirs_as_listed(app: dict[str, object]) -> dict[str, object]:
    return {"id": app["id"], "spec": {"name": "web"}, "created_at": "2026-01-01T00:00:00Z"}


def test_an_app_that_loses_its_mark_is_still_its_sandboxs(paper_fleet, pool):
    """Somebody edits its environment: the row knows it by its id, and deletes it in the end."""
    sandbox = one_ready(paper_fleet, pool)
    [app] = paper_fleet.cloud.apps()
    spec = {"name": "renamed", "region": "syd", "services": [service()]}
    put(paper_fleet, app["id"], spec)
    paper_fleet.turns(10, seconds_apart=5)
    sandbox.refresh_from_db()
    assert sandbox.state == State.READY
    paper_fleet.clock.advance(700)
    paper_fleet.settle()
    assert paper_fleet.cloud.apps() == []
    assert paper_fleet.cloud.state()["creates"] == 1


def service() -> dict[str, object]:
    image = {"registry_type": "GHCR", "registry": "someone", "repository": "web", "tag": "latest"}
    return {"name": "sandbox", "image": image, "instance_count": 1, "http_port": 8080}


def put(fleet, app_id: object, spec: dict[str, object]) -> None:
    headers = {"Authorization": f"Bearer {fleet.cloud.token}"}
    answer = fleet.cloud.control.client.put(f"/v2/apps/{app_id}", json={"spec": spec}, headers=headers)
    assert answer.status_code == 200, answer.text


def test_a_lower_limit_shrinks_what_is_idle_and_makes_nothing(paper_fleet, pool, settings):
    Pool.objects.update(target_ready=4, max_ready=4, min_ready=4, max_concurrent_creates=4)
    paper_fleet.settle()
    assert len(paper_fleet.states()) == 4
    settings.MAX_TOTAL_SANDBOXES = 2
    paper_fleet.turns(20, seconds_apart=3)
    assert paper_fleet.states() == ["ready", "ready"]
    assert paper_fleet.cloud.state()["creates"] == 4


def test_a_pool_that_is_gone_takes_its_sandboxes_along(paper_fleet, pool):
    """Rows deleted by hand, past the check that a pool is empty: one sandbox is ready, one on its way."""
    Pool.objects.update(target_ready=2)
    paper_fleet.acquire(pool)
    paper_fleet.turns(3)
    stuck = paper_fleet.cloud.fault(operation="agent.health", latency_seconds=0.5)
    Pool.objects.all().delete()
    paper_fleet.cloud.control.clear(stuck)
    paper_fleet.turns(20, seconds_apart=3)
    assert paper_fleet.states() == []
    assert paper_fleet.cloud.apps() == []


def test_two_pools_share_what_the_fleet_may_hold(paper_fleet, pool, settings):
    settings.MAX_TOTAL_SANDBOXES = 3
    node = Pool.objects.create(
        name="node", runtime="node", image="a/b:c", region="syd", size="apps-s-1vcpu-1gb", stage="none", target_ready=2
    )
    Pool.objects.update(target_ready=2, max_ready=2)
    paper_fleet.acquire(pool)
    paper_fleet.acquire(node)
    paper_fleet.turns(60, seconds_apart=3)
    assert len(paper_fleet.states()) == 3
    assert paper_fleet.cloud.state()["creates"] == 3
    assert any("no place left" in line for line in paper_fleet.log("hold"))


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_jumps_makes_and_loses_nothing(paper_fleet, pool, hours):
    sandbox = one_ready(paper_fleet, pool)
    paper_fleet.clock.advance(hours * 3600)
    paper_fleet.turns(20, seconds_apart=2)
    assert paper_fleet.cloud.state()["creates"] == 1
    claims.retire(sandbox.id, "retired", "retired by an operator", timezone.now())
    paper_fleet.turns(3)
    paper_fleet.clock.advance(-hours * 3600)
    paper_fleet.turns(20, seconds_apart=2)
    sandbox.refresh_from_db()
    assert sandbox.state == State.DELETED
    assert len(paper_fleet.cloud.apps()) <= 1
    assert paper_fleet.cloud.state()["most_apps"] == 1


def test_a_lease_from_before_the_clock_was_set_back_is_nobodys(paper_fleet, clock):
    """Whoever held it on another machine is gone; it would have been held for as long as the clock was set back."""
    leases.take("turn", 60)
    Lease.objects.update(process="another machine|pid:[1]|1")
    clock.advance(-3600)
    leases.take("turn", 60)
    Lease.objects.update(process="another machine|pid:[1]|1")
    with pytest.raises(leases.LeaseHeld):
        leases.take("turn", 60)


def test_a_turn_whose_listing_outlasts_its_lease_is_taken_all_the_same(paper_fleet, pool, clock, monkeypatch):
    """A list of many slow pages took longer than the lease: no turn ever did anything."""
    from pools.cloud.app_platform import DigitalOcean

    list_all = DigitalOcean.apps

    def slowly(cloud):
        clock.advance(70)
        return list_all(cloud)

    monkeypatch.setattr(DigitalOcean, "apps", slowly)
    paper_fleet.acquire(pool)
    paper_fleet.turn()
    assert paper_fleet.cloud.state()["creates"] == 1


def test_a_turn_that_another_process_took_over_does_nothing_more(paper_fleet, pool, clock, monkeypatch):
    from pools.cloud.app_platform import DigitalOcean

    list_all = DigitalOcean.apps

    def slowly(cloud):
        clock.advance(70)
        leases.take("turn", 60)
        return list_all(cloud)

    monkeypatch.setattr(DigitalOcean, "apps", slowly)
    paper_fleet.acquire(pool)
    with pytest.raises(leases.LeaseLost):
        paper_fleet.turn()
    assert paper_fleet.cloud.state()["creates"] == 0


def test_what_a_turn_writes_after_it_lost_its_lease_takes_no_effect(paper_fleet, pool, clock):
    """A process that was frozen in the middle of an act went on writing beside its successor."""
    sandbox = one_ready(paper_fleet, pool)
    with leases.hold("turn", 60) as lease:
        with lease.fencing():
            Sandbox.objects.filter(pk=sandbox.pk).update(trouble="while it was held")
        clock.advance(70)
        leases.take("turn", 60)
        with pytest.raises(leases.LeaseLost):
            lease.renew()
        assert not lease.is_renewed()
        with lease.fencing(), pytest.raises(leases.LeaseLost):
            claims.retire(sandbox.id, EndCode.RETIRED, "by one who stood still", clock.now())
        with lease.fencing(), pytest.raises(leases.LeaseLost):
            Sandbox.objects.filter(pk=sandbox.pk).update(trouble="when it was lost")
    sandbox.refresh_from_db()
    assert (sandbox.state, sandbox.trouble) == (State.READY, "while it was held")


def test_machines_of_one_name_do_not_take_each_others_leases(paper_fleet, monkeypatch):
    """By its name and number the other machine's process seemed to be a dead one of ours."""
    gone = str(2**22 + 1)  # no process has such a number
    leases.take("turn", 60)
    ours = this_machine.this_process().rpartition("|")[0]
    Lease.objects.update(process=f"{ours}|{gone}")
    leases.take("turn", 60)
    monkeypatch.setattr(this_machine, "_boot_id", lambda: "another machine's")
    theirs = this_machine.this_process().rpartition("|")[0]
    monkeypatch.undo()
    Lease.objects.update(process=f"{theirs}|{gone}")
    with pytest.raises(leases.LeaseHeld):
        leases.take("turn", 60)


@pytest.mark.parametrize(
    ("fault", "seconds", "said"),
    [({"trickle": 0.2}, 2.0, "longer than 2 s"), ({"bomb": 512}, 60.0, "too long")],
    ids=["trickles", "is packed"],
)
def test_a_list_that_trickles_or_unpacks_into_too_much_fails_in_time(
    paper_fleet, pool, monkeypatch, fault, seconds, said
):
    """A turn was held beyond its lease, or took 625 MB."""
    sandbox = one_ready(paper_fleet, pool)
    monkeypatch.setattr(connect()._wire, "_timeout_seconds", seconds)
    paper_fleet.cloud.fault(operation="list", **fault)
    paper_fleet.turn()
    assert said in Fleet.get().listing_error
    sandbox.refresh_from_db()
    assert sandbox.state == State.READY


def test_an_error_is_no_word_that_an_app_is_gone(paper_fleet, pool):
    """Not of one that vanished from the list, and not of one that was deleted: its place stays taken."""
    lost = one_ready(paper_fleet, pool)
    Pool.objects.update(target_ready=2, max_ready=2)
    paper_fleet.settle()
    deleted = Sandbox.objects.exclude(pk=lost.pk).get(state=State.READY)
    Pool.objects.update(mode="paused")
    paper_fleet.cloud.fault(operation="delete", linger_seconds=3600)
    paper_fleet.cloud.fault(operation="list", omit="^sandbox-")
    paper_fleet.cloud.fault(operation="get", status=503)
    claims.retire(deleted.pk, "retired", "by an operator", timezone.now())
    paper_fleet.turns(40, seconds_apart=5)
    assert {lost.pk: State.READY, deleted.pk: State.DELETING} == dict(Sandbox.objects.values_list("pk", "state"))


def test_a_sandbox_whose_time_is_over_is_given_no_more(paper_fleet, pool):
    one_ready(paper_fleet, pool)
    sandbox = paper_fleet.acquire(pool, minutes=1)
    now, later = timezone.now(), timezone.now() + timedelta(hours=1)
    assert claims.extend(sandbox.pk, later, now)
    assert not claims.extend(sandbox.pk, later + timedelta(hours=1), later)


def test_a_sandbox_whose_agent_does_not_answer_is_not_ready(paper_fleet, pool):
    paper_fleet.acquire(pool)
    paper_fleet.turn()
    [app] = paper_fleet.cloud.apps()
    paper_fleet.cloud.control.kill_agent(app["id"])
    paper_fleet.turns(15, seconds_apart=2)
    sandbox = Sandbox.objects.get()
    assert (sandbox.state, sandbox.healthy_at) == (State.CREATING, None)
    assert sandbox.trouble


def test_a_pool_takes_no_place_while_only_launches_may_send_requests(paper_fleet, pool, settings):
    settings.CLOUD_REQUESTS_PER_MINUTE = 100
    paper_fleet.acquire(pool)
    with counted() as cloud:
        cloud.budget.spend(95)
    facts, _ = observe(connect())
    Effects(connect(), facts).act([Decision(Kind.CREATE, CreateCode.DEMAND, "one is wanted", pool_id=pool.pk)])
    assert not Sandbox.objects.exists()
    assert paper_fleet.cloud.state()["creates"] == 0
