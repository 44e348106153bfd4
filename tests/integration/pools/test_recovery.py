"""What the cloud can do to a fleet, provoked over HTTP, and what becomes of it."""

from __future__ import annotations

import pytest
from django.utils import timezone

from pools.models import CloudApp, FailureKind, Fleet, FleetEvent, Pool, Sandbox, State
from tests.fixtures.fleet import approve_all

pytestmark = pytest.mark.django_db(transaction=True)


def one_ready(fleet, pool) -> Sandbox:
    fleet.acquire(pool)
    fleet.settle()
    return Sandbox.objects.get(state=State.READY)


# Creates.


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"body": "html", "status": 502}, {"body": "empty"}, {"reset": True}]
)
def test_a_lost_create_is_adopted_by_name(paper_fleet, pool, fault):
    paper_fleet.cloud.fault(operation="create", times=1, after=True, **fault)
    sandbox = one_ready(paper_fleet, pool)
    assert sandbox.app_id == paper_fleet.cloud.apps()[0]["id"]
    assert paper_fleet.cloud.state()["creates"] == 1
    assert paper_fleet.log("accepted")[0].startswith("adopted (the answer to its create was lost")


def test_a_create_that_never_arrived_is_sent_again_under_the_same_name(paper_fleet, pool):
    paper_fleet.cloud.fault(operation="create", times=1, status=503)
    sandbox = one_ready(paper_fleet, pool)
    assert [app["name"] for app in paper_fleet.cloud.apps()] == [sandbox.name]
    assert Sandbox.objects.count() == 1


def test_a_lost_create_that_listings_show_late_is_not_created_twice(paper_fleet, pool):
    """A list that shows yesterday's fleet: the name is taken, so asking again can't double it."""
    paper_fleet.cloud.fault(operation="create", times=1, after=True, status=500)
    stale = paper_fleet.cloud.fault(operation="list", stale_seconds=3600)
    paper_fleet.acquire(pool)
    paper_fleet.turns(12, seconds_apart=2)
    assert paper_fleet.cloud.state()["creates"] == 1
    paper_fleet.cloud.control.clear(stale)
    paper_fleet.settle()
    assert paper_fleet.states() == ["ready"]
    assert paper_fleet.cloud.state()["creates"] == 1


def test_a_429_holds_creates_for_as_long_as_it_says(paper_fleet, pool):
    paper_fleet.cloud.fault(operation="create", times=1, status=429, retry_after=20)
    paper_fleet.acquire(pool)
    paper_fleet.turns(5)
    assert paper_fleet.cloud.state()["requests"].get("POST /v2/apps") == 1
    paper_fleet.clock.advance(25)
    Fleet.objects.update(request_budget={})  # the client's own clock is the machine's
    paper_fleet.settle()
    assert paper_fleet.states() == ["ready"]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"error": "failed to pull image"}, FailureKind.IMAGE),
        ({"quota": 0}, FailureKind.QUOTA),
        ({"stuck": "BUILDING"}, FailureKind.PROVIDER),
        ({"agent": {"silent": True}}, FailureKind.AGENT),
    ],
)
def test_a_failed_create_is_deleted_classified_and_replaced_later(paper_fleet, pool, monkeypatch, fault, kind):
    monkeypatch.setattr("pools.turn.act.PROBE_TIMEOUT_SECONDS", 0.1)  # what a silent agent costs each turn
    Pool.objects.update(create_timeout_seconds=60)
    paper_fleet.cloud.fault(operation="create", times=1, **fault)
    paper_fleet.acquire(pool)
    paper_fleet.turns(25, seconds_apart=6)
    failed = Sandbox.objects.get(failure_kind=kind)
    assert failed.state == State.DELETED
    assert paper_fleet.states() == ["ready"]
    assert len(paper_fleet.cloud.apps()) == 1


def test_repeated_failure_opens_the_breaker_and_one_probe_closes_it(paper_fleet, pool):
    fault = paper_fleet.cloud.fault(operation="create", error="image pull failed")
    paper_fleet.acquire(pool)
    paper_fleet.turns(30, seconds_apart=2)
    assert paper_fleet.cloud.state()["creates"] == 3
    assert "breaker open until" in paper_fleet.log("hold")[0]
    assert "3 image failures" in paper_fleet.log("hold")[0]
    paper_fleet.turns(15, seconds_apart=2)
    assert paper_fleet.cloud.state()["creates"] == 4
    paper_fleet.cloud.control.clear(fault)
    paper_fleet.turns(33, seconds_apart=4)
    assert paper_fleet.states() == ["ready"]
    assert paper_fleet.cloud.state()["creates"] == 5


def test_somebody_elses_app_of_the_same_name_is_left_alone(paper_fleet, pool):
    paper_fleet.cloud.fault(operation="create", times=1, status=500)
    paper_fleet.acquire(pool)
    paper_fleet.turn()
    paper_fleet.cloud.control.make_app(Sandbox.objects.get().name, owner="somebody")
    paper_fleet.settle()
    names = {app["name"]: app["owner"] for app in paper_fleet.cloud.apps()}
    assert sorted(names.values()) == ["local", "somebody"]
    assert paper_fleet.states() == ["ready"]


# Idle sandboxes.


def test_a_dead_warm_sandbox_is_found_by_looking_and_replaced_without_miscounting(paper_fleet, pool):
    """The seed's churn came from health checks that emptied the queue; here a look changes no count."""
    sandbox = one_ready(paper_fleet, pool)
    paper_fleet.cloud.control.kill_agent(sandbox.app_id)
    for _ in range(40):
        paper_fleet.turns(1, seconds_apart=5)
        assert len(paper_fleet.states()) <= 2
    sandbox.refresh_from_db()
    assert sandbox.state == State.DELETED
    assert "did not answer 3 times in a row" in sandbox.end_reason
    assert paper_fleet.states() == ["ready"]
    assert paper_fleet.cloud.state()["creates"] == 2


def test_one_look_that_fails_costs_nothing(paper_fleet, pool):
    sandbox = one_ready(paper_fleet, pool)
    Sandbox.objects.update(health_failures=2, health_checked_at=timezone.now())
    paper_fleet.clock.advance(4)
    paper_fleet.turns(3)
    sandbox.refresh_from_db()
    assert (sandbox.state, sandbox.health_failures) == (State.READY, 0)
    assert paper_fleet.cloud.state()["creates"] == 1


# Absence.


def test_a_sandbox_deleted_behind_our_back_is_lost_and_replaced(paper_fleet, pool):
    sandbox = one_ready(paper_fleet, pool)
    paper_fleet.clock.advance(60)
    paper_fleet.cloud.control.make_app("unrelated")
    paper_fleet.cloud.control.delete_app(sandbox.app_id)
    paper_fleet.settle()
    sandbox.refresh_from_db()
    assert sandbox.state == State.DELETED
    assert sandbox.end_reason.startswith("lost: it vanished")
    assert paper_fleet.states() == ["ready"]


def test_the_only_sandbox_deleted_behind_our_back_is_lost_too_but_later(paper_fleet, pool):
    sandbox = one_ready(paper_fleet, pool)
    paper_fleet.clock.advance(60)
    paper_fleet.cloud.control.delete_app(sandbox.app_id)
    paper_fleet.turns(5, seconds_apart=2)
    sandbox.refresh_from_db()
    assert sandbox.state == State.READY
    assert Fleet.get().listing_error == "the listing is empty, though sandboxes were expected"
    paper_fleet.turns(60, seconds_apart=2)
    sandbox.refresh_from_db()
    assert sandbox.state == State.DELETED


def test_a_list_that_lags_behind_loses_nobody(paper_fleet, pool):
    sandbox = one_ready(paper_fleet, pool)
    paper_fleet.cloud.fault(operation="list", stale_seconds=3600)
    paper_fleet.clock.advance(60)
    paper_fleet.turns(60, seconds_apart=3)
    sandbox.refresh_from_db()
    assert sandbox.state == State.READY
    assert paper_fleet.cloud.state()["creates"] == 1


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"body": "html"}, {"body": "empty"}, {"body": "truncated"}, {"body": "odd"}]
)
def test_invariant_7_a_listing_that_fails_stops_deletions_and_says_so(paper_fleet, pool, fault):
    one_ready(paper_fleet, pool)
    fault_id = paper_fleet.cloud.fault(operation="list", **fault)
    paper_fleet.clock.advance(700)
    paper_fleet.turns(10)
    assert paper_fleet.cloud.state()["deletes"] == 0
    assert paper_fleet.states() == ["ready"]
    assert paper_fleet.log("listing")[0].startswith("the listing failed: ")
    assert "no create and no delete" in paper_fleet.log("hold")[0]
    paper_fleet.cloud.control.clear(fault_id)
    paper_fleet.clock.advance(10)  # a list that failed often is asked for less often
    paper_fleet.settle()
    assert paper_fleet.states() == []
    assert "the listing is complete again" in paper_fleet.log("listing")


def test_invariant_7_an_empty_answer_where_sandboxes_were_expected_deletes_nothing(paper_fleet, pool):
    one_ready(paper_fleet, pool)
    paper_fleet.cloud.fault(operation="list", empty=True)
    paper_fleet.clock.advance(700)
    paper_fleet.turns(30, seconds_apart=5)
    assert paper_fleet.cloud.state()["deletes"] == 0
    assert paper_fleet.states() == ["ready"]


def test_a_lost_delete_is_repeated_until_absence_is_seen(paper_fleet, pool):
    one_ready(paper_fleet, pool)
    paper_fleet.cloud.fault(operation="delete", times=2, status=500)
    paper_fleet.clock.advance(601)
    paper_fleet.turns(40, seconds_apart=3)
    assert paper_fleet.states() == []
    assert paper_fleet.cloud.apps() == []
    assert paper_fleet.cloud.state()["requests"]["DELETE /v2/apps/{id}"] == 3


def test_a_delete_whose_answer_was_lost_is_confirmed_by_absence(paper_fleet, pool):
    one_ready(paper_fleet, pool)
    paper_fleet.cloud.fault(operation="delete", times=1, after=True, status=500)
    paper_fleet.clock.advance(601)
    paper_fleet.settle()
    assert paper_fleet.states() == []


# Orphans and foreign apps.


def test_invariant_6_an_orphan_goes_after_two_listings_and_the_grace(paper_fleet, pool):
    paper_fleet.cloud.control.make_app("sandbox-0badcafe", owner="local")
    paper_fleet.turns(20, seconds_apart=5)
    assert len(paper_fleet.cloud.apps()) == 1
    paper_fleet.turns(10, seconds_apart=5)
    assert paper_fleet.cloud.apps() == []
    assert FleetEvent.objects.filter(kind="orphan", sandbox_name="sandbox-0badcafe").count() == 1


@pytest.mark.parametrize(("name", "owner"), [("web", ""), ("sandbox-0badcafe", ""), ("sandbox-0badcafe", "production")])
def test_invariant_6_a_foreign_app_is_shown_and_never_touched(paper_fleet, pool, name, owner):
    paper_fleet.cloud.control.make_app(name, owner=owner)
    paper_fleet.turns(50, seconds_apart=60)
    assert [app["name"] for app in paper_fleet.cloud.apps()] == [name]
    assert CloudApp.objects.get().name == name
    assert paper_fleet.cloud.state()["deletes"] == 0


def test_an_app_that_an_operator_wants_gone_is_deleted_until_it_is(paper_fleet):
    app = paper_fleet.cloud.control.make_app("web")
    paper_fleet.turn()
    paper_fleet.cloud.fault(operation="delete", times=2, status=500)
    CloudApp.objects.filter(pk=app["id"]).update(delete_reason="deleted by ada: a leftover")
    paper_fleet.turns(30, seconds_apart=3)
    assert paper_fleet.cloud.apps() == []
    assert not CloudApp.objects.exists()


# Too much at once.


def test_invariant_7_too_many_deletions_stop_and_go_on_with_an_operators_word(paper_fleet, pool):
    paper_fleet.cloud.control.make_apps(8, owner="local")
    paper_fleet.turns(60, seconds_apart=5)
    assert len(paper_fleet.cloud.apps()) == 8
    assert Fleet.get().stopped_at is not None
    assert paper_fleet.log("stop") == [
        "STOPPED: 8 of 8 would be deleted in one turn, 4 at most: an operator must let them go"
    ]
    approve_all(timezone.now())
    paper_fleet.turns(5)
    assert paper_fleet.cloud.apps() == []
    paper_fleet.turn()
    assert Fleet.get().stopped_at is None


# The token.


def test_a_refused_token_is_noted_and_nothing_is_deleted(paper_fleet, pool, settings):
    one_ready(paper_fleet, pool)
    settings.DIGITALOCEAN_TOKEN = "revoked"
    paper_fleet.clock.advance(700)
    paper_fleet.turns(3)
    assert Fleet.get().token_refused_at is not None
    assert paper_fleet.states() == ["ready"]
    settings.DIGITALOCEAN_TOKEN = paper_fleet.cloud.token
    paper_fleet.turn()
    assert Fleet.get().token_refused_at is None
