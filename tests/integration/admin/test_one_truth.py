"""The fleet's page, its alarms, the plan, the API and the command line say the same of one trouble, and nothing that is
not so. Each test is a breakage that an engineer new to it was misled by."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from pools import api_keys
from pools.api_keys import Scope
from pools.console import fleet_admin
from pools.console.alarms import fleet_alarms
from pools.console.fleet_page import picture
from pools.console.fleet_table import Row
from pools.models import CloudApp, Fleet, Mode, Pool, Sandbox, State
from tests.fixtures.fleet import FleetUnderTest
from tests.integration.admin.conftest import FLEET, MakeRun, told
from tests.integration.admin.test_fleet import text

EMPTY = "the listing is empty, though sandboxes were expected"


def row_of(name: str) -> Row:
    return next(row for row in picture(timezone.now()).rows if row.name == name)


def alarms() -> str:
    return "\n".join(f"{alarm.title}: {alarm.detail}" for alarm in fleet_alarms(picture(timezone.now())))


def plan() -> str:
    return picture(timezone.now()).next_turn


def dry_run() -> tuple[int, str]:
    """Exit code and output of `reconcile --dry-run --detailed-exitcode`."""
    out = StringIO()
    try:
        call_command("reconcile", "--dry-run", "--detailed-exitcode", stdout=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    except CommandError as error:
        return 1, f"{out.getvalue()}{error}"
    return 0, out.getvalue()


@pytest.fixture
def fleet(paper_fleet: FleetUnderTest, settings: Any, monkeypatch: pytest.MonkeyPatch) -> FleetUnderTest:
    """As the other tests of the admin have it, with a database that a lease can be renewed in meanwhile."""
    monkeypatch.setattr(fleet_admin, "TURN_WAIT_SECONDS", 0.0)
    settings.ORCHESTRATOR_ID = "local"
    return paper_fleet


@pytest.fixture
def three(fleet: Any, pool: Pool) -> list[Sandbox]:
    """Three ready sandboxes of a pool that makes no more, long enough there to be expected in a listing."""
    Pool.objects.update(target_ready=3, max_ready=3, max_concurrent_creates=3)
    fleet.acquire(pool)
    fleet.settle()
    fleet.clock.advance(35)
    Pool.objects.update(mode=Mode.PAUSED)
    return list(Sandbox.objects.order_by("name"))


def test_no_row_says_that_the_machine_deletes_what_is_held_back(fleet):
    for number in range(4):  # more than one turn may delete
        fleet.cloud.control.make_app(f"sandbox-0badcaf{number}", owner="local")
    fleet.turns(2)
    fleet.clock.advance(125)
    fleet.turn()
    assert Fleet.get().stopped_at is not None
    row = row_of("sandbox-0badcaf0")
    assert "machine deletes it" not in row.why
    assert row.judgement.attempt is not None
    assert "stopped" in row.judgement.attempt.held
    assert row.judgement.attempt.next_at is None


def test_an_empty_listing_that_is_not_believed_loses_nothing(viewer, fleet, three):
    before = picture(timezone.now()).usd_per_hour
    assert before > 0
    fleet.cloud.fault(operation="list", empty=True)
    fleet.turns(2, seconds_apart=3)
    seen = picture(timezone.now())
    assert {row.verdict for row in seen.rows} == {"in step"}
    assert {row.judgement.sync for row in seen.rows} == {"unknown"}
    assert seen.usd_per_hour == before
    assert "listing is not believed" in alarms()
    assert EMPTY in plan()
    assert EMPTY in text(viewer.get(FLEET))
    code, said = dry_run()
    assert code == 1
    assert EMPTY in said


def test_an_account_that_really_was_emptied_is_told_by_digitalocean_itself(fleet, three):
    for sandbox in three:
        fleet.cloud.control.delete_app(sandbox.app_id)
    fleet.turns(20, seconds_apart=5)
    assert {row.verdict for row in picture(timezone.now()).rows} == {"lost"}
    assert not Sandbox.objects.existing().exists()
    fleet.turn()
    assert not Fleet.get().listing_error
    assert not CloudApp.objects.exists()


def test_one_that_a_listing_leaves_out_is_missing_and_not_lost(fleet, pool, make_run: MakeRun, three):
    sandbox = fleet.acquire(pool, minutes=9)
    make_run(sandbox=sandbox)
    fleet.cloud.fault(operation="list", omit=sandbox.name)
    fleet.turns(6, seconds_apart=3)
    row = row_of(sandbox.name)
    assert row.verdict == "missing"
    assert "DigitalOcean itself" in row.why
    assert not re.search(r"\blost\b|run in it has ended", f"{row.why} {alarms()}")
    assert row.usd_per_second > 0


def test_one_that_is_lost_and_whose_run_is_over_is_no_alarm_any_more(fleet, three):
    fleet.cloud.control.delete_app(three[0].app_id)
    fleet.turns(6, seconds_apart=6)
    assert row_of(three[0].name).verdict == "lost", "it is shown for an hour"
    assert "lost" not in alarms()


def test_every_surface_counts_the_same_places(viewer, fleet, pool, settings, client):
    settings.MAX_TOTAL_SANDBOXES = 3
    Pool.objects.update(target_ready=2, max_ready=2)
    refused = fleet.cloud.fault(operation="delete", status=500)
    for number in range(3):
        fleet.cloud.control.make_app(f"sandbox-0badcaf{number}", owner="local")
    fleet.acquire(pool)
    fleet.turns(2)
    assert "no place left" in plan()
    assert "3 of 3 places taken" in text(viewer.get(FLEET))
    assert "3 of 3 places" in alarms()
    places = client.get("/api/pool/status").json()["places"]
    assert (places["most"], places["taken"], places["free"], places["orphans"]) == (3, 3, 0, 3)
    fleet.cloud.control.clear(refused)


def test_a_refused_delete_of_an_app_without_a_row_tells_why_when_again_and_is_an_alarm(viewer, fleet):
    fleet.cloud.control.make_app("sandbox-0badcafe", owner="local")
    fleet.cloud.fault(operation="delete", status=403, message="you are not allowed")
    fleet.turns(2)
    fleet.clock.advance(125)
    fleet.turn()
    fleet.clock.advance(16)
    fleet.turn()
    row = row_of("sandbox-0badcafe")
    attempt = row.judgement.attempt
    assert attempt is not None
    assert (attempt.what, attempt.number, attempt.error_code) == ("delete", 2, "unauthorized")
    assert attempt.next_at is not None
    assert (row.judgement.sync, row.judgement.health) == ("out_of_sync", "degraded")
    assert attempt.error.rstrip(".") in text(viewer.get(FLEET))
    assert "sandbox-0badcafe" in alarms()
    assert attempt.error.rstrip(".") in alarms()


def test_the_dry_run_tells_of_refused_deletes_between_two_tries(fleet, three):
    fleet.cloud.fault(operation="delete", status=500)
    Sandbox.objects.filter(pk=three[0].pk).update(
        state=State.DELETING, end_code="retired", end_reason="a test", delete_requested_at=timezone.now()
    )
    fleet.turn()
    code, said = dry_run()
    assert code == 2
    assert "as it should be" not in said
    assert "refused" in said
    assert three[0].name in said
    assert "attempt 1" in said


def test_an_error_is_forgotten_once_the_delete_is_taken(fleet, three):
    refused = fleet.cloud.fault(operation="delete", status=500)
    Sandbox.objects.filter(pk=three[0].pk).update(
        state=State.DELETING, end_code="retired", end_reason="a test", delete_requested_at=timezone.now()
    )
    fleet.turn()
    assert "refused" in alarms()
    fleet.cloud.control.clear(refused)
    fleet.cloud.fault(operation="delete", linger_seconds=600)
    fleet.clock.advance(16)
    fleet.turn()
    assert row_of(three[0].name).judgement.attempt.error == ""
    assert "refused" not in alarms()


def test_a_turn_that_could_not_see_does_not_say_that_it_left_this(operator, fleet, three, monkeypatch):
    fleet.cloud.fault(operation="list", status=401)

    def turn_at_once(*_: Any) -> bool:
        fleet.turn()
        return True

    monkeypatch.setattr("pools.console.operations.turn_since", turn_at_once)
    said = told(operator.post(f"{FLEET}turn/", reason="a test"))
    assert "this is what it left" not in said
    assert Fleet.get().listing_error in said


def test_a_failing_listing_is_no_fleet_as_it_should_be(fleet, three):
    fleet.cloud.fault(operation="list", status=500)
    fleet.turn()
    assert "as it should be" not in plan()
    assert Fleet.get().listing_error in plan()


def test_the_api_tells_of_a_sandbox_what_the_page_tells(fleet, three, client, read_key):
    fleet.cloud.fault(operation="delete", status=500)
    going = three[0]
    Sandbox.objects.filter(pk=going.pk).update(
        state=State.DELETING, end_code="retired", end_reason="a test", delete_requested_at=timezone.now()
    )
    CloudApp.objects.filter(pk=three[1].app_id).update(region="ams")
    fleet.turn()
    CloudApp.objects.filter(pk=three[1].app_id).update(region="ams")
    listed = client.get("/api/sandboxes", headers={"X-API-Key": read_key}).json()["sandboxes"]
    for told_of in listed:
        judgement = row_of(told_of["name"]).judgement
        assert (told_of["sync"], told_of["health"]) == (judgement.sync, judgement.health)
    of_name = {each["name"]: each for each in listed}
    assert of_name[going.name]["attempt"]["number"] == 1
    assert of_name[going.name]["attempt"]["next_at"]
    assert of_name[three[1].name]["differences"] == [{"field": "region", "wanted": "syd", "found": "ams"}]
    assert of_name[three[2].name]["sync"] == "synced"
    one = client.get(f"/api/sandboxes/{going.name}", headers={"X-API-Key": read_key}).json()
    assert one["attempt"] == of_name[going.name]["attempt"]


def test_a_sandbox_s_page_shows_what_differs_field_by_field(viewer, fleet, three):
    CloudApp.objects.filter(pk=three[1].app_id).update(region="ams", size="apps-d-8vcpu-32gb")
    said = text(viewer.get(f"/admin/pools/sandbox/{three[1].pk}/change/"))
    assert re.search(r"region\W+syd\W+ams", said)
    assert re.search(r"size\W+apps-s-1vcpu-1gb\W+apps-d-8vcpu-32gb", said)
    assert "out of sync" in said


@pytest.fixture
def read_key(db: None) -> str:
    return api_keys.make("a test", [Scope.READ], by="ada", now=timezone.now())[1]
