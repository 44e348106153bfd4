"""Whoever starts where no cluster is alive doubts what the database calls ready: it may be from a backup, however
young."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from orchestrator_site.first_to_start import note_pause
from orchestrator_site.models import Beat
from pools.models import Fleet
from pools.this_machine import this_host
from tests.fixtures.clusters import MakeCluster
from tests.fixtures.databases import Database

NOW = timezone.now()
BEFORE = NOW - timedelta(hours=1)
NO_PROCESS = 2**22 + 1  # no process has such a number
TURNED = """
from datetime import timedelta
from django.utils import timezone
from django_q.models import Schedule
from pools.models import Fleet
Schedule.objects.all().delete()
Fleet.get()
now = timezone.now()
Fleet.objects.update(turned_at=now, started_at=now - timedelta(hours=1))
"""
STARTED = "from pools.models import Fleet; print(Fleet.get().started_at.isoformat(), Fleet.get().turned_at.isoformat())"


def beat(host: str, pid: int, seconds_ago: float) -> None:
    at = NOW - timedelta(seconds=seconds_ago)
    Beat.record(host, pid, at=at, workers=2, idle_workers=2, waiting=0, due=0)


def started_at(turned_seconds_ago: float) -> datetime | None:
    """When it is said to have started, by a process that starts so long after the last turn."""
    Fleet.get()
    Fleet.objects.update(turned_at=NOW - timedelta(seconds=turned_seconds_ago), started_at=BEFORE)
    note_pause(NOW)
    return Fleet.get().started_at


@pytest.mark.django_db
def test_a_backup_of_just_now_is_noticed_by_the_clusters_that_are_gone():
    """It was taken for the database as it was, up to three minutes after the last turn."""
    assert started_at(5) == NOW
    beat("another", 7, seconds_ago=60)
    assert started_at(5) == NOW
    beat(this_host(), NO_PROCESS, seconds_ago=2)
    assert started_at(5) == NOW, "of this machine's processes it is known that they are gone"


@pytest.mark.django_db
@pytest.mark.parametrize(("host", "pid"), [("another", 7), (this_host(), os.getpid())], ids=["elsewhere", "here"])
def test_beside_a_cluster_that_is_alive_nothing_is_doubted(host: str, pid: int):
    beat(host, pid, seconds_ago=2)
    assert started_at(5) == BEFORE
    assert started_at(600) == NOW, "unless it took no turn for long"


@pytest.mark.django_db
def test_who_starts_after_the_first_doubts_nothing_anew():
    assert started_at(5) == NOW
    note_pause(NOW + timedelta(seconds=1))
    assert Fleet.get().started_at == NOW


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_cluster_that_starts_alone_says_so(database: Database, make_cluster: MakeCluster):
    database.answer(TURNED)
    make_cluster(database)
    started, turned = database.answer(STARTED).split()
    assert datetime.fromisoformat(started) > datetime.fromisoformat(turned)
