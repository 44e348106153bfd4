"""What the supervisor asks and does beside starting processes."""

import threading
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import OperationalError
from django.utils import timezone
from django_q.models import OrmQ
from django_q.tasks import async_task

from orchestrator_site.models import Beat
from orchestrator_site.processes import services
from orchestrator_site.processes.supervisor import Service
from pools.models import Fleet
from pools.this_machine import this_host
from tests.fixtures.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)

PID = 4242


def beat(seconds_ago: float) -> None:
    at = timezone.now() - timedelta(seconds=seconds_ago)
    Beat.record(this_host(), PID, at=at, workers=4, idle_workers=4, waiting=0, due=0)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch):
    """A cluster that has been up for long, as the watching thread sees it."""
    monkeypatch.setattr(services, "WATCH_SECONDS", 0.02)
    cluster = Service(name="cluster", command=[], answers=lambda: True)
    cluster.process = SimpleNamespace(pid=PID)
    cluster.started_at_seconds = -1000.0
    supervisor = SimpleNamespace(services=[cluster], stopping=threading.Event())
    thread = threading.Thread(target=services.watch_clusters, args=(supervisor,))
    yield SimpleNamespace(cluster=cluster, start=thread.start)
    supervisor.stopping.set()
    thread.join(20)


def test_a_cluster_that_lives_without_a_sign_of_life_is_restarted(watched):
    beat(seconds_ago=60)
    watched.start()
    until(lambda: watched.cluster.must_restart, "the silent cluster is to be restarted")


def test_a_cluster_that_beats_is_left_alone(watched):
    beat(seconds_ago=1)
    watched.start()
    looks = services.is_silent(PID)
    assert looks is False
    assert not watched.cluster.must_restart


def test_before_a_cluster_starts_its_predecessors_tasks_are_due_and_a_turn_is_queued():
    Fleet.get()
    async_task("math.sqrt", 4)
    OrmQ.objects.update(lock=timezone.now() + timedelta(minutes=10))
    services.give_back_tasks_and_nudge()
    assert OrmQ.objects.filter(lock__lte=timezone.now()).count() == 2
    assert {row.task["func"] for row in OrmQ.objects.all()} == {"math.sqrt", "pools.tasks.reconcile"}


@pytest.mark.parametrize("starts", [services.note_start, services.give_back_tasks_and_nudge])
def test_a_start_is_noted_and_looked_at_by_a_turn(starts):
    """What was ready before it may be dead."""
    Fleet.get()
    starts()
    fleet = Fleet.get()
    assert fleet.started_at is not None
    assert fleet.nudged


def test_a_database_that_is_new_is_no_trouble_at_a_start(monkeypatch, caplog):
    """The embedded cloud starts before the tables are made: the first thing that anybody read was a warning."""
    monkeypatch.setattr(Fleet._meta, "db_table", "not_there_yet")
    services.note_start()
    assert not caplog.records


def test_a_cluster_is_not_silent_because_nothing_can_be_written(monkeypatch):
    """On a full disk each cluster was killed every 45 s: it could not give a sign of life."""
    beat(seconds_ago=300)
    assert services.is_silent(PID)

    def out_of_room() -> None:
        raise OperationalError("database or disk is full")

    monkeypatch.setattr(services, "prove_writable", out_of_room)
    assert not services.is_silent(PID)
