"""What the metrics tell of the machinery: clusters, queues, the database and the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime

from django.conf import settings
from django.db import connection
from django.db.models import Q
from django_q.conf import Conf
from django_q.models import OrmQ

from orchestrator_site.models import Beat
from pools.meters import Figure
from pools.nudge import TURNS

CLUSTERS = Figure("clusters", "Django-Q clusters that gave a sign of life lately and are not stuck.")
WORKERS = Figure("cluster_workers", "Their workers, idle or busy.", "state")
QUEUED = Figure("queue_tasks", "Tasks that are due and that no cluster has fetched.", "queue")
QUEUE_AGE = Figure("queue_oldest_age_seconds", "How long ago the oldest of them was queued; 0 without any.", "queue")
LOCK_WAITS = Figure("database_lock_waits", "Sessions of PostgreSQL that wait for a lock now; always 0 on SQLite.")
DISK_FREE = Figure("disk_free_bytes", "Room on the disk of ORCHESTRATOR_VAR.", of_machine=True)
DISK_SIZE = Figure("disk_size_bytes", "The size of that disk.", of_machine=True)

Told = tuple[Figure, float, tuple[str, ...]]
QUEUES = {"tasks": Conf.CLUSTER_NAME, "turns": TURNS}
LOCK_WAITS_SQL = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def tell(now: datetime) -> Iterator[Told]:
    """All figures of the machinery."""
    beats = list(Beat.objects.fresh(now).filter(stuck=""))
    idle = sum(beat.idle_workers for beat in beats)
    yield CLUSTERS, len(beats), ()
    yield WORKERS, idle, ("idle",)
    yield WORKERS, sum(beat.workers for beat in beats) - idle, ("busy",)
    for queue, key in QUEUES.items():
        due = OrmQ.objects.filter(Q(lock__lte=now) | Q(lock__isnull=True), key=key)
        oldest = due.order_by("id").first()
        yield QUEUED, due.count(), (queue,)
        yield QUEUE_AGE, _age(oldest, now), (queue,)
    yield LOCK_WAITS, _lock_waits(), ()
    disk = shutil.disk_usage(settings.VAR_DIR)
    yield DISK_FREE, disk.free, ()
    yield DISK_SIZE, disk.total, ()


def _age(row: OrmQ | None, now: datetime) -> float:
    """Since a task was queued, as it says itself; 0 for one that can't be read."""
    queued_at = row.task.get("started") if row is not None else None
    return max(0.0, (now - queued_at).total_seconds()) if isinstance(queued_at, datetime) else 0.0


def _lock_waits() -> int:
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute(LOCK_WAITS_SQL)
        return int(cursor.fetchone()[0])
