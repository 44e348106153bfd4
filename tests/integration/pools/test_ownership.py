"""Whose an app is: an id counts only once the name and the mark were seen under it."""

from __future__ import annotations

import pytest
from django.utils import timezone

from pools import claims
from pools.console.alarms import Alarm, fleet_alarms
from pools.console.fleet_page import picture
from pools.console.force_delete import force_delete
from pools.models import FleetEvent, Pool, Sandbox, State

pytestmark = pytest.mark.django_db(transaction=True)


def one_ready(fleet, pool) -> Sandbox:
    fleet.acquire(pool)
    fleet.settle()
    return Sandbox.objects.get(state=State.READY)


def bearer(fleet) -> dict[str, str]:
    return {"Authorization": f"Bearer {fleet.cloud.token}"}


def names(fleet) -> list[str]:
    return sorted(app["name"] for app in fleet.cloud.apps())


def retire(sandbox: Sandbox) -> None:
    """It goes, and nothing takes its place."""
    Pool.objects.update(mode="paused")
    claims.retire(sandbox.id, "run_over", "its run is over", timezone.now())


@pytest.fixture
def foreign(paper_fleet) -> str:
    """The id of an app that is somebody else's."""
    return paper_fleet.cloud.control.make_app("company-website", owner="somebody")["id"]


# The answer to a create.


@pytest.mark.parametrize(
    "spec",
    [{}, {"spec": {"name": "company-website"}}, {"spec": {"services": [{"envs": []}]}}],
    ids=["no spec", "another name", "no name"],
)
def test_a_create_answered_with_somebody_elses_id_never_leads_to_their_app(paper_fleet, pool, foreign, spec):
    """The machine took the id, and when the run ended it deleted their app."""
    paper_fleet.cloud.fault(operation="create", times=1, after=True, json={"app": {"id": foreign, **spec}})
    paper_fleet.acquire(pool)
    paper_fleet.turn()
    assert not Sandbox.objects.filter(app_id=foreign).exists()
    paper_fleet.settle()
    sandbox = Sandbox.objects.get()
    assert sandbox.state == State.READY
    assert sandbox.app_id != foreign
    retire(sandbox)
    paper_fleet.turns(10)
    assert names(paper_fleet) == ["company-website"]


def answered_with(foreign: str, name: str, owner: str = "local") -> dict:
    """A create's answer that claims the id of their app for ours."""
    service = {"name": "sandbox", "envs": [{"key": "ORCHESTRATOR_ID", "value": owner}]}
    return {"app": {"id": foreign, "spec": {"name": name, "services": [service]}}}


@pytest.fixture
def mistaken(paper_fleet, pool, foreign) -> Sandbox:
    """A sandbox in whose row stands the id of their app, on the word of its create."""
    stopped = paper_fleet.cloud.fault(operation="create", status=500)
    paper_fleet.acquire(pool)
    paper_fleet.turn()
    paper_fleet.cloud.control.clear(stopped)
    sandbox = Sandbox.objects.get()
    answer = answered_with(foreign, sandbox.name)
    paper_fleet.cloud.fault(operation="create", times=1, after=True, json=answer)
    paper_fleet.clock.advance(16)
    paper_fleet.turn()
    sandbox.refresh_from_db()
    assert sandbox.app_id == foreign
    return sandbox


def test_a_mark_that_is_somebody_elses_in_the_answer_to_a_create_is_not_believed(paper_fleet, pool, foreign):
    stopped = paper_fleet.cloud.fault(operation="create", status=500)
    paper_fleet.acquire(pool)
    paper_fleet.turn()
    paper_fleet.cloud.control.clear(stopped)
    answer = answered_with(foreign, Sandbox.objects.get().name, owner="somebody")
    paper_fleet.cloud.fault(operation="create", times=1, after=True, json=answer)
    paper_fleet.clock.advance(16)
    paper_fleet.turn()
    assert Sandbox.objects.get().app_id != foreign


def test_an_id_that_a_listing_shows_as_somebody_elses_is_forgotten_and_its_own_app_is_found(
    paper_fleet, pool, foreign, mistaken
):
    paper_fleet.settle()
    mistaken.refresh_from_db()
    assert mistaken.state == State.READY
    assert mistaken.app_id not in (None, foreign)
    assert FleetEvent.objects.filter(code="id_of_another", level="error", app_id=foreign).count() == 1
    assert wrong_ids() == [], "it was put right: nobody is needed any more"
    Sandbox.objects.filter(pk=mistaken.pk).update(app_id=None, known_app_id="")
    [alarm] = wrong_ids()
    assert alarm.urgency == "error"
    assert mistaken.name in alarm.detail


def wrong_ids() -> list[Alarm]:
    return [each for each in fleet_alarms(picture(timezone.now())) if each.title.startswith("A wrong app id")]


def test_an_id_that_nothing_but_a_create_has_named_is_asked_about_before_it_is_deleted(
    paper_fleet, pool, foreign, mistaken
):
    """Not even the list shows it: a yesterday's one."""
    paper_fleet.cloud.fault(operation="list", stale_seconds=3600)
    retire(mistaken)
    paper_fleet.turns(20, seconds_apart=5)
    assert foreign in [app["id"] for app in paper_fleet.cloud.apps()]
    paper_fleet.cloud.faults.clear()
    paper_fleet.turns(20, seconds_apart=5)
    assert names(paper_fleet) == ["company-website"]
    mistaken.refresh_from_db()
    assert mistaken.state == State.DELETED


def test_force_delete_sends_nothing_to_an_id_that_is_not_its_apps(paper_fleet, pool, foreign, mistaken):
    Pool.objects.update(mode="paused")
    [outcome] = force_delete([f"sandbox:{mistaken.pk}"], actor="ada", reason="stuck")
    assert outcome.is_done
    assert foreign in [app["id"] for app in paper_fleet.cloud.apps()]
    paper_fleet.turns(20, seconds_apart=5)
    assert names(paper_fleet) == ["company-website"]


def test_somebody_elses_address_never_gets_our_token(paper_fleet, pool, foreign, mistaken, monkeypatch):
    """Their app is active and has an address: it was probed with our token."""
    from pools.cloud import agent_transport

    asked = []
    send = agent_transport.AgentWire._sent
    monkeypatch.setattr(
        agent_transport.AgentWire,
        "_sent",
        lambda wire, client, request: (asked.append(str(request.url)), send(wire, client, request))[1],
    )
    paper_fleet.cloud.fault(operation="list", times=2, status=500)  # then it is asked for by its id
    paper_fleet.turns(20, seconds_apart=5)
    assert asked
    assert not [url for url in asked if foreign in url]


# Sandboxes that have an id already.


@pytest.mark.parametrize("state", ["ready", "in_use"])
def test_an_app_that_became_anothers_is_given_up_and_never_deleted(paper_fleet, pool, state):
    """Somebody has put another orchestrator's mark on it."""
    sandbox = one_ready(paper_fleet, pool)
    if state == "in_use":
        assert paper_fleet.acquire(pool) == sandbox
    app_id = sandbox.app_id
    spec = paper_fleet.cloud.control.client.get(f"/v2/apps/{app_id}", headers=bearer(paper_fleet)).json()["app"]["spec"]
    spec["services"][0]["envs"] = [{"key": "ORCHESTRATOR_ID", "value": "production"}]
    put = paper_fleet.cloud.control.client.put(f"/v2/apps/{app_id}", json={"spec": spec}, headers=bearer(paper_fleet))
    assert put.status_code == 200
    paper_fleet.turn()
    sandbox.refresh_from_db()
    assert (sandbox.state, sandbox.end_code) == (State.DELETING, "not_ours")
    assert (sandbox.app_id, sandbox.url) == (None, "")
    paper_fleet.turns(20, seconds_apart=5)
    assert app_id in [app["id"] for app in paper_fleet.cloud.apps()]


@pytest.mark.parametrize("state", ["ready", "in_use", "deleting"])
def test_an_id_in_a_row_that_was_never_seen_as_its_own_is_given_up_and_its_app_deleted_in_the_end(
    paper_fleet, pool, foreign, state
):
    """However it came there: it is checked against each listing."""
    sandbox = one_ready(paper_fleet, pool)
    if state == "in_use":
        assert paper_fleet.acquire(pool) == sandbox
    Pool.objects.update(mode="paused")
    own, wrong = sandbox.app_id, foreign
    Sandbox.objects.update(app_id=wrong)
    if state == "deleting":
        retire(sandbox)
    paper_fleet.turns(20, seconds_apart=5)
    assert FleetEvent.objects.filter(code="id_of_another", level="error").count() == 1
    apps = [app["id"] for app in paper_fleet.cloud.apps()]
    assert (wrong in apps, own in apps) == (True, False)
    sandbox.refresh_from_db()
    assert sandbox.state == State.DELETED


def test_a_list_that_misnames_an_app_costs_nothing_when_its_own_record_is_right(paper_fleet, pool):
    sandbox = one_ready(paper_fleet, pool)
    Sandbox.objects.update(known_app_id="")
    paper_fleet.cloud.fault(operation="list", shown_name="company-website")
    paper_fleet.turns(5)
    sandbox.refresh_from_db()
    assert sandbox.state == State.READY
    assert not FleetEvent.objects.filter(code="id_of_another").exists()


def test_two_rows_never_share_an_id(paper_fleet, pool):
    """The turn died of it."""
    first = one_ready(paper_fleet, pool)
    stopped = paper_fleet.cloud.fault(operation="create", status=500)
    assert paper_fleet.acquire(pool) == first
    paper_fleet.turn()
    second = Sandbox.objects.exclude(pk=first.pk).get()
    paper_fleet.cloud.control.clear(stopped)
    answer = answered_with(first.app_id, second.name)
    paper_fleet.cloud.fault(operation="create", times=1, after=True, json=answer)
    paper_fleet.clock.advance(16)
    paper_fleet.settle()
    assert paper_fleet.states() == ["in_use", "ready"]


# A mark that can't be read.


@pytest.mark.parametrize("marks", ["encrypted", "absent"])
def test_lost_creates_whose_mark_cannot_be_read_are_found_by_their_names(paper_fleet, pool, settings, marks):
    """Eight apps and no row, eleven at a cap of five: their names are random and our own."""
    settings.MAX_TOTAL_SANDBOXES = 2
    paper_fleet.cloud.fault(operation="list", marks=marks)
    paper_fleet.cloud.fault(operation="get", marks=marks)
    paper_fleet.cloud.fault(operation="create", after=True, status=500)
    for _ in range(12):
        paper_fleet.acquire(pool)
        paper_fleet.turns(10, seconds_apart=8)
    state = paper_fleet.cloud.state()
    assert state["most_apps"] <= 2
    rows = set(Sandbox.objects.existing().values_list("name", flat=True))
    assert {app["name"] for app in state["apps"]} <= rows


@pytest.mark.parametrize("marks", ["encrypted", "absent"])
def test_an_app_that_is_back_after_its_deletion_goes_though_its_mark_cannot_be_read(paper_fleet, pool, marks):
    sandbox = one_ready(paper_fleet, pool)
    retire(sandbox)
    paper_fleet.settle()
    paper_fleet.cloud.control.make_app(sandbox.name)
    paper_fleet.cloud.fault(operation="list", marks=marks)
    paper_fleet.turns(40, seconds_apart=5)
    assert names(paper_fleet) == []


@pytest.mark.parametrize("owner", ["somebody", "x" * 70])
def test_an_app_of_our_name_with_a_mark_that_reads_as_somebody_elses_stays(paper_fleet, pool, owner):
    sandbox = one_ready(paper_fleet, pool)
    retire(sandbox)
    paper_fleet.settle()
    paper_fleet.cloud.control.make_app(sandbox.name, owner=owner)
    paper_fleet.turns(60, seconds_apart=5)
    assert names(paper_fleet) == [sandbox.name]


def test_a_foreign_app_with_a_name_like_ours_and_an_unreadable_mark_stays(paper_fleet, pool):
    paper_fleet.cloud.control.make_app("sandbox-0badcafe", owner="local")
    paper_fleet.cloud.fault(operation="list", marks="encrypted")
    paper_fleet.turns(60, seconds_apart=5)
    assert names(paper_fleet) == ["sandbox-0badcafe"]
