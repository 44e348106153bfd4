"""What the past of the fleet is read from, beside the rows and lines that are kept anyway."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class FleetMinute(models.Model):
    """What there was beside the pools at one minute. Written only by `pools.minutes`."""

    minute = models.DateTimeField(primary_key=True, help_text="Its beginning.")
    oldest_at = models.DateTimeField(
        null=True, help_text="When the oldest sandbox that existed had been asked for; empty when none did."
    )
    cold = models.PositiveIntegerField(help_text="Sandboxes of no pool, without those that were being deleted.")
    deleting = models.PositiveIntegerField()
    orphans = models.PositiveIntegerField()

    class Meta:
        ordering = ["-minute"]

    def __str__(self) -> str:
        return f"{self.minute:%Y-%m-%d %H:%M}"


class FindingCode(models.TextChoices):
    """In what way a sandbox, or an app, is not simply one of the fleet's."""

    MISSING = "missing", "Missing from DigitalOcean's listing"
    UNWELL = "unwell", "Failed its looks"
    ORPHAN = "orphan", "Our mark, no record"
    ANOTHERS = "another_installation", "Our mark, another installation's"
    FOREIGN = "foreign", "Not ours"


class Finding(models.Model):
    """Something that was found of a sandbox or an app, from when until when: what its row forgets once it is well, or
    gone. Written only by `pools.turn.findings`, when it changes."""

    code = models.CharField(max_length=30, choices=FindingCode.choices)
    name = models.CharField(max_length=64)
    app_id = models.CharField(max_length=64, blank=True)
    detail = models.CharField(max_length=300, blank=True)
    since = models.DateTimeField()
    until = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-since", "-id"]
        indexes = [models.Index(fields=["until"], name="finding_until")]
        constraints = [
            models.UniqueConstraint(
                fields=["code", "name", "app_id"], condition=Q(until__isnull=True), name="finding_open_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.code}"
