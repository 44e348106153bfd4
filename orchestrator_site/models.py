"""The site's own rows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import models

BEAT_SECONDS = 5.0
CLOCK_OFF_SECONDS = 5.0  # a machine's clock that differs more from the database's is named
FRESH_SECONDS = 20.0  # three beats missed, and a moment


def clock_sentence(ahead_seconds: float) -> str:
    side = "ahead of" if ahead_seconds > 0 else "behind"
    return f"{abs(ahead_seconds):.0f} s {side} the database's"


class BeatQuerySet(models.QuerySet["Beat"]):
    def fresh(self, now: datetime) -> BeatQuerySet:
        """Not from before the clock was set back, either."""
        near = timedelta(seconds=FRESH_SECONDS)
        return self.filter(at__gt=now - near, at__lt=now + near)


class Beat(models.Model):
    """A sign of life of one Django-Q cluster: written by its guard, the process that keeps its workers alive."""

    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField(help_text="The cluster's leader, the process that was started.")
    at = models.DateTimeField(db_index=True)
    workers = models.PositiveIntegerField()
    idle_workers = models.PositiveIntegerField()
    waiting = models.PositiveIntegerField(help_text="Tasks fetched that no worker has taken.")
    due = models.PositiveIntegerField(help_text="Tasks in the queue that no cluster has fetched.")
    stuck = models.TextField(blank=True, help_text="Why the cluster ended itself.")
    clock_ahead_seconds = models.FloatField(
        default=0, help_text="By how much its machine's clock is ahead of the database's."
    )

    objects = BeatQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["host", "pid"], name="beat_one_a_cluster")]

    def __str__(self) -> str:
        return f"cluster {self.pid} on {self.host}"

    @classmethod
    def record(cls, host: str, pid: int, **what: Any) -> None:
        mine = cls.objects.filter(host=host, pid=pid)
        if not mine.update(**what):
            cls.objects.create(host=host, pid=pid, **what)
