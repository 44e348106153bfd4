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

    @property
    def published(self) -> GameVersion | None:
        """The version that launches get."""
        return self.versions.filter(state=VersionState.PUBLISHED).first()


class VersionState(models.TextChoices):
    FETCHING = "fetching", "Its source is fetched"
    FETCHED = "fetched", "Its manifest is read"
    TRYING = "trying", "On trial"
    FAILED = "failed", "Failed"
    TRIED = "tried", "Tried, and not published"
    PUBLISHED = "published", "Published"
    REPLACED = "replaced", "Replaced"


class VersionCode(models.TextChoices):
    """Reasons for a version's failure before its trial; a trial's is a code of its run."""

    UNREACHABLE = "unreachable", "Its address does not answer as a git repository"
    NO_BRANCH = "no_branch", "There is no such branch"
    NO_FOLDER = "no_folder", "There is no such folder"
    TOO_LARGE = "too_large", "It is too large"
    TOO_SLOW = "too_slow", "It took too long to fetch"
    NOT_FILES = "not_files", "It holds links or other repositories"
    BAD_MANIFEST = "bad_manifest", "Its manifest can't be used"
    NAME_TAKEN = "name_taken", "Another game has its name"
    UNCHANGED = "unchanged", "There is a version of the same files"
    INTERNAL_ERROR = "internal_error", "Something went wrong here"


class GameVersion(models.Model):
    """A game as it was at one commit, or as the catalog's folder had it. Written only by `games.versions`."""

    game = models.ForeignKey(
        Game, on_delete=models.CASCADE, null=True, blank=True, related_name="versions",
        help_text="None until its manifest is read.",
    )  # fmt: skip
    state = models.CharField(max_length=10, choices=VersionState.choices, default=VersionState.FETCHING)
    address = models.CharField(max_length=300, blank=True, help_text="Of its git repository; empty for the catalog's.")
    branch = models.CharField(max_length=100, blank=True, help_text="Empty for the repository's default.")
    folder = models.CharField(
        max_length=200, blank=True, help_text="The game's in the repository; empty for all of it."
    )
    commit = models.CharField(max_length=64, blank=True)
    source_digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 over the game's files.")
    manifest = models.JSONField(default=dict, blank=True, help_text="The columns of Game that the manifest gives.")
    code = models.CharField(max_length=20, blank=True, help_text="Why it failed.")
    reason = models.TextField(blank=True, help_text="The same as a sentence.")
    trial = models.UUIDField(null=True, blank=True, help_text="The run in which it was tried last.")
    asked_by = models.CharField(max_length=200, blank=True)
    asked_at = models.DateTimeField()
    published_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-asked_at", "-pk"]
        verbose_name = "version of a game"
        verbose_name_plural = "versions of games"
        constraints = [
            models.UniqueConstraint(fields=["game"], condition=Q(state="published"), name="version_one_published"),
            models.UniqueConstraint(
                fields=["game", "source_digest"], condition=~Q(source_digest=""), name="version_once"
            ),
            models.CheckConstraint(condition=Q(state__in=VersionState.values), name="version_state_valid"),
        ]

    def __str__(self) -> str:
        name = self.game.slug if self.game else self.address
        return f"{name} {self.short}" if self.short else name

    @property
    def short(self) -> str:
        """What people call it: the beginning of its commit, or of its files' hash."""
        return (self.commit or self.source_digest)[:7]


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
