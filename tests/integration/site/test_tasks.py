"""What is scheduled, and what is pruned."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import OperationalError
from django.test import override_settings
from django.utils import timezone
from django_q.models import Failure, OrmQ, Schedule
from django_q.tasks import async_task

from orchestrator_site.cluster import in_hand, schedules
from orchestrator_site.models import Beat
from orchestrator_site.tasks import prune
from pools import tasks
from pools.journal import record
from pools.models import FleetEvent, Lease

pytestmark = pytest.mark.django_db


def test_migrating_schedules_a_turn_every_minute():
    """A deployment that never runs `up` has the schedule too."""
    reconcile = Schedule.objects.get(name="reconcile")
    assert (reconcile.func, reconcile.minutes, reconcile.repeats) == ("pools.tasks.reconcile", 1, -1)


def test_a_schedule_is_corrected_and_keeps_its_time():
    later = timezone.now() + timedelta(seconds=40)
    Schedule.objects.filter(name="reconcile").update(func="pools.tasks.renamed_since", next_run=later)
    schedules.ensure()
    assert Schedule.objects.filter(name="reconcile", func="pools.tasks.reconcile", next_run=later).count() == 1


def test_what_was_written_before_the_clock_was_set_back_does_not_wait_for_it():
    """Schedules, tasks that wait and tasks that were fetched: all stood still for the hour."""
    before = timezone.now()
    now = before - timedelta(hours=1)
    in_time = now + timedelta(seconds=40)
    async_task("math.sqrt", 4)
    Schedule.objects.filter(name="reconcile").update(next_run=before)
    Schedule.objects.filter(name="snapshots").update(next_run=in_time)
    assert OrmQ.objects.filter(lock__lt=now).count() == 1, "it waits for no clock"
    fetched = OrmQ.objects.create(key="orchestrator", payload="", lock=in_hand.lease_from(before))
    schedules.mend(now)
    fetched.refresh_from_db()
    assert fetched.lock == in_hand.lease_from(now)
    assert Schedule.objects.get(name="reconcile").next_run == now
    assert Schedule.objects.get(name="snapshots").next_run == in_time


@override_settings(EVENTS_KEPT_DAYS=7)
def test_pruning_removes_what_is_too_old_and_nothing_else():
    now = timezone.now()
    for days in (1, 8):
        record("test", f"{days} days old", now=now - timedelta(days=days))
        Failure.objects.create(
            id=f"{days}", name=f"{days}", func="f", success=False, started=now, stopped=now - timedelta(days=days)
        )
        Lease.objects.create(name=f"{days}", holder=uuid4(), expires_at=now - timedelta(days=days - 0.5))
        Beat.record(f"{days}", 1, at=now - timedelta(days=days - 0.5), workers=4, idle_workers=4, waiting=0, due=0)
    prune()
    assert [event.message for event in FleetEvent.objects.all()] == ["1 days old"]
    assert [failure.name for failure in Failure.objects.all()] == ["1"]
    assert [beat.host for beat in Beat.objects.all()] == ["1"]
    assert [lease.name for lease in Lease.objects.all()] == ["1"]


def test_a_turn_that_the_database_left_is_taken_when_it_is_back(monkeypatch):
    """Nobody asked for another meanwhile: the fleet's row said that one was queued."""
    taken = []

    def turn_when_free(_patience_seconds: float) -> None:
        taken.append("turn")
        if len(taken) == 1:
            raise OperationalError("terminating connection due to administrator command")

    monkeypatch.setattr(tasks, "turn_when_free", turn_when_free)
    monkeypatch.setattr(tasks, "DATABASE_PAUSE_SECONDS", 0)
    monkeypatch.setattr(tasks, "close_old_connections", lambda: None)  # the test has one of its own
    tasks.reconcile()
    assert len(taken) == 2
