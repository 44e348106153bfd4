"""One launch from click to end (Run) and everything it said (RunEvent)."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import datetime

from django.db import models
from django.db.models import Count, F, Q
from django.urls import reverse

from games.models import Game
from pools.beginnings import ids_beginning
from pools.models import Level, Sandbox
from runs.addresses import play_url
from runs.reasons import RunEndCode, RunNoticeCode
from runs.words import STATUS_OF_STATE, Status


class LaunchMode(models.TextChoices):
    WARM = "warm", "Warm"
    COLD = "cold", "Cold"


class AskedMode(models.TextChoices):
    AUTO = "auto", "Warm where a pool serves launches, else cold"
    WARM = "warm", "Warm"
    COLD = "cold", "Cold"


class OnMiss(models.TextChoices):
    """What a warm launch does when no warm sandbox is ready."""

    COLD = "cold", "Start cold"
    WAIT = "wait", "Wait for the pool"
    FAIL = "fail", "Refuse the launch"


class ServedBy(models.TextChoices):
    POOL = "pool", "From the pool"
    COLD_FALLBACK = "cold_fallback", "Cold, no warm one was free"
    COLD = "cold", "Cold, as asked"


class RunState(models.TextChoices):
    ACQUIRING = "acquiring", "Getting a sandbox"
    DEPLOYING = "deploying", "Deploying"
    RUNNING = "running", "Running"
    ENDED = "ended", "Ended"
    FAILED = "failed", "Failed"


STARTING = (RunState.ACQUIRING, RunState.DEPLOYING)
ACTIVE = (*STARTING, RunState.RUNNING)
OVER = (RunState.ENDED, RunState.FAILED)


class DeployedFrom(models.TextChoices):
    STAGED = "staged", "Staged in the sandbox"
    SNAPSHOT = "snapshot", "Snapshot"
    SOURCE = "source", "Source"


class RunQuerySet(models.QuerySet["Run"]):
    def active(self) -> RunQuerySet:
        """Those that are not over. In no order: by date, every run there ever was would be looked at."""
        return self.filter(state__in=ACTIVE).order_by()

    def waiting_for_pool(self, runtime: str | None = None) -> RunQuerySet:
        """Warm launches that wait for a sandbox of the runtime's pool (of any, by default), first come first."""
        waiting = self._without_sandbox().filter(served_by=ServedBy.POOL)
        return waiting if runtime is None else waiting.filter(game__runtime=runtime)

    def waiting_for_warm(self, runtime: str | None = None) -> RunQuerySet:
        """All warm launches that wait, first come first: in the pool's line, and those that start cold instead and have
        no sandbox of their own yet. A warm one that comes free is for the first of them."""
        waiting = self._without_sandbox().filter(mode=LaunchMode.WARM).exclude(served_by="")
        return waiting if runtime is None else waiting.filter(game__runtime=runtime)

    def waiting_for_place(self) -> RunQuerySet:
        """Launches that wait for a place in the fleet, for a sandbox of their own, first come first."""
        return self._without_sandbox().filter(served_by__in=[ServedBy.COLD, ServedBy.COLD_FALLBACK])

    def before(self, run: Run) -> RunQuerySet:
        """Those of them that came before this one."""
        return self.filter(Q(created_at__lt=run.created_at) | Q(created_at=run.created_at, pk__lt=run.pk))

    def _without_sandbox(self) -> RunQuerySet:
        return self.active().filter(state=RunState.ACQUIRING, sandbox=None).order_by("created_at", "id")

    def by_runtime(self) -> Counter[str]:
        """Count these runs by the runtime that they need."""
        counted = self.order_by().values("game__runtime").annotate(number=Count("*"))
        return Counter(dict(counted.values_list("game__runtime", "number")))

    def named(self, beginning: str) -> RunQuerySet:
        """The runs whose id begins so; none when no id can."""
        ids = ids_beginning(beginning)
        return self.filter(pk__range=ids) if ids else self.none()

    def being_deployed(self) -> RunQuerySet:
        """Those whose game a worker brings up, or is to: for the first time, or again after it had stopped."""
        again = Q(state=RunState.RUNNING, deploy_lease_until__isnull=False)
        return self.active().filter(Q(state=RunState.DEPLOYING) | again)

    def played(self) -> RunQuerySet:
        """Those whose game is to answer right now."""
        return self.active().filter(state=RunState.RUNNING, deploy_lease_until=None)

    def to_be_warned(self, upto: datetime) -> RunQuerySet:
        """Those whose time is up by then, and of whose end as it is now nothing was said yet."""
        soon = self.active().filter(state=RunState.RUNNING, expires_at__lte=upto)
        return soon.filter(Q(warned_of=None) | ~Q(warned_of=F("expires_at")))

    def lately(self, count: int) -> RunQuerySet:
        """About the newest `count` of all there are, to look for a few among them: what is rare, or is not there at
        all, would else be looked for among all there ever were."""
        begin = Run.objects.order_by("-created_at").values_list("created_at", flat=True)[count : count + 1].first()
        return self.filter(created_at__gt=begin) if begin is not None else self

    def hits(self) -> RunQuerySet:
        """Launches that found a warm sandbox ready when they came."""
        return self.filter(served_by=ServedBy.POOL, sandbox__ready_at__lte=F("created_at"))


class Run(models.Model):
    """One launch of one game in one sandbox, asked for by one visitor or API client.

    `runs.lifecycle` alone writes it; `docs/run-states.md` draws its states.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    game = models.ForeignKey(Game, on_delete=models.PROTECT, related_name="runs")
    sandbox = models.OneToOneField(Sandbox, null=True, blank=True, on_delete=models.PROTECT, related_name="run")
    mode = models.CharField(max_length=10, choices=LaunchMode.choices)
    asked_mode = models.CharField(
        max_length=10,
        choices=AskedMode.choices,
        blank=True,
        default="",
        db_default="",
        help_text="Empty in old rows: as mode.",
    )
    on_miss = models.CharField(
        max_length=10,
        choices=OnMiss.choices,
        blank=True,
        default="",
        db_default="",
        help_text="What it does when no warm sandbox is ready; empty for the pool's own rule.",
    )
    labels = models.JSONField(default=dict, db_default={}, blank=True, help_text="What its client put on it.")
    served_by = models.CharField(max_length=20, choices=ServedBy.choices, blank=True)
    notice_code = models.CharField(
        max_length=20, choices=RunNoticeCode.choices, blank=True, help_text="Why it was not served as asked."
    )
    notice = models.CharField(max_length=300, blank=True, help_text="The same as a sentence for the player.")
    use_snapshot = models.BooleanField(default=True)
    source_digest = models.CharField(
        max_length=64, blank=True, default="", db_default="",
        help_text="The game's when it was started here: its version. On a trial, that of the version to be tried.",
    )  # fmt: skip
    port = models.PositiveIntegerField(null=True, blank=True, help_text="Where the game listens in the sandbox.")
    deployed_from = models.CharField(max_length=10, choices=DeployedFrom.choices, blank=True)
    state = models.CharField(max_length=10, choices=RunState.choices, default=RunState.ACQUIRING)
    end_code = models.CharField(max_length=20, choices=RunEndCode.choices, blank=True, help_text="Why it is over.")
    end_reason = models.TextField(blank=True, help_text="The same as a sentence for the player.")
    visitor = models.CharField(
        max_length=64, help_text="Who launched it: key:… for an API key, else a salted hash; never an address."
    )
    network = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="A salted hash of the network it was launched from; empty with a key.",
    )
    idempotency_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001  unique, so absent is null
    extensions = models.PositiveIntegerField(default=0)
    deploy_attempts = models.PositiveIntegerField(
        default=0, help_text="With the sandbox the fencing token of a deployment: who carries an older one is refused."
    )
    deploy_lease_until = models.DateTimeField(
        null=True, blank=True, help_text="A task is on its way or at work until then, in the database's time."
    )
    deploy_process = models.CharField(max_length=200, blank=True, help_text="The worker, so that its death is noticed.")
    restarts = models.PositiveIntegerField(
        default=0, help_text="How often its game was started again, after it had stopped while it was played."
    )
    acquire_ms = models.PositiveIntegerField(null=True, blank=True)
    bootstrap_ms = models.PositiveIntegerField(null=True, blank=True)
    restore_ms = models.PositiveIntegerField(null=True, blank=True)
    start_ms = models.PositiveIntegerField(null=True, blank=True)
    total_ms = models.PositiveIntegerField(null=True, blank=True)
    last_seq = models.PositiveIntegerField(default=0)
    number = models.PositiveBigIntegerField(
        default=0,
        db_default=0,
        help_text="Of all launches there were, the how manyth; 0 for those from before they were numbered.",
    )
    created_at = models.DateTimeField()
    acquired_at = models.DateTimeField(null=True, blank=True)
    ready_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    warned_of = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="The end that it was said to be near to."
    )
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            # Whole, not of the active alone: SQLite takes a partial index for no query with parameters.
            models.Index(fields=["state", "-created_at"], name="run_state"),
            models.Index(fields=["-created_at"], name="run_newest"),
            models.Index(fields=["visitor", "-created_at"], name="run_of_visitor"),
            models.Index(fields=["network", "-created_at"], name="run_of_network"),
            models.Index(fields=["game", "-created_at"], name="run_of_game"),
            models.Index(fields=["number"], name="run_number"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=RunState.values), name="run_state_valid"),
            models.CheckConstraint(condition=Q(mode__in=LaunchMode.values), name="run_mode_valid"),
            models.CheckConstraint(
                condition=~Q(state__in=["ended", "failed"]) | ~Q(end_reason=""), name="run_ended_for_a_reason"
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["ended", "failed"]) | ~Q(end_code=""), name="run_ended_with_a_code"
            ),
            models.UniqueConstraint(fields=["visitor", "idempotency_key"], name="run_once_per_key"),
        ]

    def __str__(self) -> str:
        return f"run {self.short_id}"

    def get_absolute_url(self) -> str:
        return reverse("run", args=[self.id])

    @property
    def play_url(self) -> str:
        """The game's whole address, served by `runs.play.proxy`, outside of Django's URLs."""
        return play_url(self.id)

    @property
    def short_id(self) -> str:
        return self.id.hex[:8]

    @property
    def status(self) -> Status:
        """The state in the first demo's words."""
        return STATUS_OF_STATE[self.state]

    @property
    def asked_for(self) -> AskedMode:
        """The mode that was asked for; `mode` is what it became."""
        return AskedMode(self.asked_mode or self.mode)

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    def duration_ms(self, now: datetime) -> int | None:
        """How long it took or takes, from the click on; None while it starts."""
        if self.state in STARTING:
            return None
        return max(0, round(((self.ended_at or now) - self.created_at).total_seconds() * 1000))

    def has_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


class Tally(models.Model):
    """The one row that counts launches against their limits. Written only by `runs.limits`, as the last thing before a
    commit: it is locked for no longer. The rows of the runs are the truth; every turn compares."""

    warm = models.PositiveIntegerField(default=0, help_text="Warm launches that are not over.")
    cold = models.PositiveIntegerField(default=0, help_text="Cold launches that are not over.")
    launches = models.PositiveBigIntegerField(default=0, help_text="All there ever were: the newest one's number.")

    class Meta:
        verbose_name_plural = "tally"
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="tally_is_one_row")]

    def __str__(self) -> str:
        return f"{self.warm} warm, {self.cold} cold, {self.launches} in all"


class LaunchHour(models.Model):
    """How the launches of one hour were served that asked for a warm sandbox. Written only by `runs.launch_hours`."""

    hour = models.DateTimeField(unique=True, help_text="Its beginning.")
    at_once = models.PositiveIntegerField()
    waited = models.PositiveIntegerField()
    fell_back = models.PositiveIntegerField()

    class Meta:
        ordering = ["-hour"]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}:00"


class UsageDay(models.Model):
    """What was used on one day, of what is settled. Written only by `runs.usage`."""

    day = models.DateField()
    client = models.CharField(max_length=64, blank=True, help_text="A key's, or anonymous; empty for nobody.")
    game = models.CharField(max_length=64, blank=True)
    pool = models.CharField(max_length=40, blank=True)
    launches = models.PositiveIntegerField()
    hits = models.PositiveIntegerField()
    in_use_seconds = models.FloatField()
    idle_seconds = models.FloatField()
    in_use_usd = models.FloatField()
    idle_usd = models.FloatField()
    unused = models.PositiveIntegerField()

    class Meta:
        ordering = ["-day"]
        constraints = [models.UniqueConstraint(fields=["day", "client", "game", "pool"], name="usage_day_once")]

    def __str__(self) -> str:
        return f"{self.day} {self.client} {self.game} {self.pool}"


class UsageMark(models.Model):
    """The one row that says up to when usage stands in the days' rows. Written only by `runs.usage`."""

    until = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="usage_mark_is_one_row")]

    def __str__(self) -> str:
        return f"{self.until:%Y-%m-%d %H:%M}"


class EventKind(models.TextChoices):
    LOG = "log", "Log"
    STATUS = "status", "Status"
    PROGRESS = "progress", "Progress"
    READY = "ready", "Ready"
    END = "end", "End"


class RunEvent(models.Model):
    """One numbered line of a run. Written only by `runs.events.emit`."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="events")
    seq = models.PositiveIntegerField()
    kind = models.CharField(max_length=10, choices=EventKind.choices)
    level = models.CharField(max_length=10, choices=Level.choices, default=Level.INFO)
    message = models.TextField()
    data = models.JSONField(default=dict, blank=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ["run", "seq"]
        constraints = [models.UniqueConstraint(fields=["run", "seq"], name="run_event_once")]

    def __str__(self) -> str:
        return f"{self.seq} {self.message}"
