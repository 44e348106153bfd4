"""The index of the admin begins with what needs attention, the worst first."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_q.models import Failure, Schedule

from orchestrator_site.models import Beat
from pools import claims
from pools.models import CloudApp, Fleet, Pool, Sandbox
from pools.reasons import EndCode
from tests.integration.admin.conftest import Person, queries

BEAT = {"pid": 7, "workers": 4, "idle_workers": 4, "waiting": 0, "due": 0}


@pytest.fixture
def well(fleet: Any) -> Any:
    """A cluster has just beaten, schedules are on time, and DigitalOcean was just listed."""
    now = timezone.now()
    Beat.objects.create(host="worker-1", at=now, **BEAT)
    Schedule.objects.update(next_run=now + timedelta(seconds=30))
    fleet.turn()
    return fleet


def alarms(person: Person) -> list[tuple[str, str]]:
    """Urgency and title, in their order."""
    answer = person.get("/admin/")
    for alarm in answer.context["alarms"]:
        assert alarm.title in answer.content.decode().replace("&#x27;", "'")
    return [(alarm.urgency.value, alarm.title) for alarm in answer.context["alarms"]]


def test_when_all_is_well_it_says_so_and_leads_to_the_fleet(viewer, well):
    assert alarms(viewer) == []
    page = viewer.get("/admin/").content.decode()
    assert "Nothing needs attention." in page
    assert 'href="/admin/pools/fleet/"' in page


def test_a_cluster_that_has_not_beaten_for_a_minute_is_an_error(viewer, well):
    Beat.objects.update(at=timezone.now() - timedelta(seconds=61))
    assert alarms(viewer) == [("error", "No Django-Q cluster gives a sign of life")]


def test_one_silent_cluster_among_others_is_a_warning(viewer, well):
    silent = Beat.objects.create(host="worker-2", at=timezone.now() - timedelta(seconds=61), **BEAT)
    assert alarms(viewer) == [("warning", f"{silent} has not beaten")]


def test_a_stuck_cluster_is_an_error(viewer, well):
    Beat.objects.update(stuck="work waits, nobody takes it")
    assert alarms(viewer) == [("error", f"{Beat.objects.get()} is stuck")]


def test_a_token_that_stopped_working_is_an_error(viewer, well):
    well.cloud.fault(operation="list", status=401)
    well.turn()
    assert alarms(viewer) == [("error", "DigitalOcean refuses the token")]
    well.cloud.faults.clear()
    well.turn()
    assert alarms(viewer) == []


def test_a_cloud_that_can_not_be_listed_is_an_error(viewer, well):
    well.cloud.fault(operation="list", status=503)
    well.turn()
    assert alarms(viewer) == [("error", "DigitalOcean can't be listed")]


def test_a_listing_that_is_old_without_an_error_is_one_too(viewer, well):
    Fleet.objects.update(listed_at=timezone.now() - timedelta(minutes=4))
    assert alarms(viewer) == [("error", "No listing for a while")]


def test_orphans_and_lost_sandboxes_are_warnings_and_a_stranger_is_none(viewer, well, pool):
    well.acquire(pool)
    well.settle()
    well.clock.advance(35)
    Beat.objects.update(at=timezone.now())
    Pool.objects.update(mode="paused")
    well.cloud.control.delete_app(Sandbox.objects.get().app_id)
    well.cloud.control.make_app("sandbox-dead0001", owner="local")
    well.cloud.control.make_app("sandbox-dead0002", owner="local")
    well.cloud.control.make_app("company-website")
    well.turn()
    assert alarms(viewer) == [
        ("warning", "2 orphans"), ("warning", "1 sandbox missing from the listing"),
        ("info", "Pool python is paused"),
    ]  # fmt: skip


@pytest.mark.parametrize("what", ["an orphan", "a sandbox"])
def test_what_stays_though_it_is_due_is_an_error_in_the_clouds_words(viewer, well, pool, what, monkeypatch):
    """Orphans that stayed, and deletes that were refused, never alarmed."""
    monkeypatch.setattr("pools.cloud.app_platform.CONFIRM_SECONDS", 0.0)
    well.cloud.fault(operation="delete", status=403, message="deletes need the scope app:delete")
    if what == "an orphan":
        well.cloud.control.make_app("sandbox-dead0001", owner="local")
    else:
        well.acquire(pool)
        well.settle()
        claims.retire(Sandbox.objects.get().id, EndCode.RETIRED, "an operator wants it gone", well.clock.now())
    well.turns(14, seconds_apart=60)
    Beat.objects.update(at=timezone.now())
    told = {alarm.title: alarm for alarm in viewer.get("/admin/").context["alarms"]}
    assert told["1 app is not deleted"].urgency == "error"
    assert "deletes need the scope app:delete" in told["1 app is not deleted"].detail


def test_sandboxes_that_are_silent_together_are_one_error(viewer, well, pool):
    Pool.objects.update(min_ready=3, max_ready=3)
    well.acquire(pool)
    well.settle()
    for sandbox in Sandbox.objects.all():
        well.cloud.control.kill_agent(sandbox.app_id)
    well.clock.advance(35)
    well.turns(90, seconds_apart=4)
    Beat.objects.update(at=timezone.now())
    assert set(well.states()) == {"ready"}, "nobody was given up"
    assert ("error", "3 of 3 sandboxes do not answer") in alarms(viewer)


def test_drift_is_a_warning(viewer, well, pool):
    well.acquire(pool)
    well.settle()
    Sandbox.objects.update(health_failures=1, trouble="it did not answer")
    assert alarms(viewer) == [("warning", "1 drifting sandbox")]


def test_an_open_breaker_is_a_warning_that_leads_to_its_pool(viewer, well, pool):
    well.cloud.fault(operation="create", quota=0)
    well.acquire(pool)
    well.turns(10, seconds_apart=5)
    Beat.objects.update(at=timezone.now())
    (alarm,) = [each for each in viewer.get("/admin/").context["alarms"] if "breaker" in each.title]
    assert (alarm.urgency, alarm.title) == ("warning", "The breaker of pool python is open")
    assert alarm.url == f"/admin/pools/pool/{pool.pk}/change/"
    assert "quota" in alarm.detail


def test_a_late_schedule_is_a_warning(viewer, well):
    schedule = Schedule.objects.order_by("pk").first()
    Schedule.objects.filter(pk=schedule.pk).update(next_run=timezone.now() - timedelta(minutes=10))
    assert alarms(viewer) == [("warning", f"Schedule {schedule.name} is late")]


def test_failed_tasks_of_a_day_are_told_once_with_their_last_error(viewer, well):
    now = timezone.now()
    for number in range(3):
        Failure.objects.create(
            id=f"{number:032}", name=f"task-{number}", func="pools.tasks.reconcile", started=now, stopped=now,
            success=False, result="Traceback\nValueError: no such thing",
        )  # fmt: skip
    (alarm,) = viewer.get("/admin/").context["alarms"]
    assert alarm.title == "pools.tasks.reconcile failed 3 times within a day"
    assert "ValueError: no such thing" in alarm.detail
    Failure.objects.update(stopped=now - timedelta(days=2))
    assert alarms(viewer) == []


def test_maintenance_and_a_full_fleet_are_told(viewer, well, pool, settings):
    settings.MAX_TOTAL_SANDBOXES = 1
    Fleet.objects.update(maintenance=True, maintenance_message="Back soon.")
    well.acquire(pool)
    well.settle()
    assert alarms(viewer) == [("warning", "Maintenance mode is on"), ("info", "The fleet is full")]
    CloudApp.objects.all().delete()
    Sandbox.objects.update(accepted_at=timezone.now() - timedelta(hours=1))
    assert ("info", "The fleet is full") in alarms(viewer), "one that is missing takes its place until it is deleted"


def test_errors_come_before_warnings_and_those_before_the_rest(viewer, well, pool):
    Pool.objects.update(mode="paused")
    Fleet.objects.update(maintenance=True)
    Beat.objects.all().delete()
    assert [urgency for urgency, _ in alarms(viewer)] == ["error", "warning", "info"]


def test_the_index_takes_a_bounded_number_of_queries(viewer, well):
    assert queries(viewer, "/admin/") <= 40
