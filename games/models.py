"""The games that can be played, and their snapshots."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from pools.models import Runtime


class GameQuerySet(models.QuerySet["Game"]):
    def playable(self) -> GameQuerySet:
        return self.filter(enabled=True)


class Game(models.Model):
    """A game of the catalog. Loaded from its manifest by `games.loading.load_catalog`; the manifest wins over edits."""

    slug = models.SlugField(max_length=40, unique=True)
    title = models.CharField(max_length=80)
    tagline = models.CharField(max_length=160, blank=True)
    description = models.TextField(blank=True)
    how_to_play = models.TextField(blank=True)
    runtime = models.CharField(max_length=20, choices=Runtime.choices)
    port = models.PositiveIntegerField(default=5000)
    install_command = models.TextField(blank=True)
    run_command = models.TextField()
    health_path = models.CharField(max_length=200, default="/")
    snapshot_name = models.SlugField(max_length=60, unique=True)
    repository_url = models.CharField(max_length=500, blank=True, help_text="What `git clone` is given.")
    source_digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 over the game's files.")
    cover = models.TextField(blank=True, help_text="The picture, as SVG.")
    position = models.PositiveIntegerField(default=0)
    enabled = models.BooleanField(default=True)
    current_sha256: str | None = None  # its current snapshot's, where a query has brought it along

    objects = GameQuerySet.as_manager()

    class Meta:
        ordering = ["position", "slug"]

    def __str__(self) -> str:
        return self.title


class SnapshotState(models.TextChoices):
    BUILDING = "building", "Building"
    CURRENT = "current", "Current"
    OLD = "old", "Old"
    FAILED = "failed", "Failed"


class Snapshot(models.Model):
    """A game with its dependencies, packed once in a sandbox of its runtime; named by the hash of its bytes."""

    game = models.ForeignKey(Game, on_delete=models.CASCADE, related_name="snapshots")
    state = models.CharField(max_length=10, choices=SnapshotState.choices, default=SnapshotState.BUILDING)
    source_digest = models.CharField(max_length=64, help_text="The game's source_digest when it was built.")
    sha256 = models.CharField(max_length=64, blank=True)
    storage_key = models.CharField(max_length=200, blank=True)
    size_bytes = models.PositiveBigIntegerField(default=0)
    progress = models.CharField(max_length=200, blank=True)
    error = models.TextField(blank=True)
    started_at = models.DateTimeField()
    built_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-started_at"]
        constraints = [
            models.UniqueConstraint(fields=["game"], condition=Q(state="current"), name="snapshot_one_current"),
            models.UniqueConstraint(fields=["game"], condition=Q(state="building"), name="snapshot_one_building"),
            models.CheckConstraint(condition=Q(state__in=SnapshotState.values), name="snapshot_state_valid"),
        ]

    def __str__(self) -> str:
        return f"{self.game.snapshot_name} {self.sha256[:12]}"
