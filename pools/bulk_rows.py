"""Bulk work: many deletions that an operator has ordered at once."""

from __future__ import annotations

from django.db import models

from pools.reasons import EndCode


class BulkState(models.TextChoices):
    RUNNING = "running", "Under way"
    PAUSED = "paused", "Paused"
    STOPPED = "stopped", "Stopped"
    DONE = "done", "Done"


class BulkWork(models.Model):
    """Many deletions that an operator has ordered at once: each turn begins some. Written only by `pools.bulk`."""

    what = models.CharField(max_length=40, help_text="What was ordered: force delete, or sweep.")
    code = models.CharField(max_length=30, choices=EndCode.choices)
    state = models.CharField(max_length=10, choices=BulkState.choices, default=BulkState.RUNNING)
    waiting = models.JSONField(
        default=list, help_text="The keys of those that are not begun: nothing was done to them."
    )
    begun = models.JSONField(default=list, help_text="The keys of those that go.")
    total = models.PositiveIntegerField()
    actor = models.CharField(max_length=200)
    reason = models.CharField(max_length=300)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-started_at"]
        verbose_name_plural = "bulk work"
        constraints = [
            models.CheckConstraint(condition=models.Q(state__in=BulkState.values), name="bulk_work_state_valid")
        ]

    def __str__(self) -> str:
        return f"{self.what} of {self.total}"
