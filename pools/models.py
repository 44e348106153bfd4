"""The fleet as we intend it (Pool, Sandbox), as the cloud reported it last (CloudApp), and the log (FleetEvent)."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q

from pools import agent_keys
from pools.about import about
from pools.alarm_rows import AlarmInHand, AlarmMail, RaisedAlarm  # noqa: F401  tables of this app
from pools.api_keys import ApiKey  # noqa: F401  a table of this app
from pools.bulk_rows import BulkWork  # noqa: F401  a table of this app
from pools.cloud.app_spec import region_slug
from pools.cloud.errors import InvalidSpec
from pools.cloud.records import App, AppSpec, Phase
from pools.history_rows import Finding, FleetMinute  # noqa: F401  tables of this app
from pools.prices import cost_usd
from pools.reasons import CreateCode, EndCode, LogKind
from pools.staged import StagedGame
from pools.staged import read as read_staged
from pools.webhooks import Courier, Delivery, Webhook  # noqa: F401  tables of this app

if TYPE_CHECKING:
    from pools.cloud.sandbox_agent import SandboxAgent


class Runtime(models.TextChoices):
    PYTHON = "python", "Python"
    NODE = "node", "Node.js"


class State(models.TextChoices):
    REQUESTED = "requested", "Requested"
    CREATING = "creating", "Creating"
    STAGING = "staging", "Staging"
    READY = "ready", "Ready"
    IN_USE = "in_use", "In use"
    DELETING = "deleting", "Deleting"
    DELETED = "deleted", "Deleted"


SUPPLY = (State.REQUESTED, State.CREATING, State.STAGING, State.READY)
ON_THE_WAY = (State.REQUESTED, State.CREATING, State.STAGING)
BEING_CREATED = (State.REQUESTED, State.CREATING)
LIVE = (*SUPPLY, State.IN_USE)
LOOKS_TO_FAIL = 3  # one after the other
PAUSE = timedelta(minutes=3)  # the schedule takes a turn each minute
EXISTING = (*LIVE, State.DELETING)


class Origin(models.TextChoices):
    POOL = "pool", "Pool"
    COLD = "cold", "Cold start"


class FailureKind(models.TextChoices):
    """The kinds of failed creates that the breaker tells apart."""

    QUOTA = "quota", "Quota"
    IMAGE = "image", "Image"
    PROVIDER = "provider", "Provider"
    AGENT = "agent", "Agent"


class Mode(models.TextChoices):
    ACTIVE = "active", "Active"
    PAUSED = "paused", "Paused"
    DRAINING = "draining", "Draining"


class OnEmpty(models.TextChoices):
    COLD = "cold", "Start cold"
    FAIL = "fail", "Refuse the launch"


class Stage(models.TextChoices):
    NONE = "none", "Nothing"
    FILES = "files", "Game files"
    STARTED = "started", "Game files, and the games started"


class Pool(models.Model):
    """A supply of idle, ready sandboxes of one runtime."""

    name = models.SlugField(max_length=40, unique=True)
    runtime = models.CharField(max_length=20, choices=Runtime.choices, unique=True, help_text="One pool a runtime.")
    image = models.CharField(
        max_length=200,
        validators=[
            RegexValidator(r"^[a-z0-9._-]+/[a-z0-9._/-]+:[A-Za-z0-9._-]+$", "Write it as registry/repository:tag.")
        ],
        help_text="GHCR image, as registry/repository:tag.",
    )
    region = models.CharField(max_length=20)
    size = models.CharField(max_length=60)
    target_ready = models.PositiveIntegerField(default=1, help_text="Ready sandboxes wanted while there is demand.")
    min_ready = models.PositiveIntegerField(default=0, help_text="Ready sandboxes kept even when nobody plays.")
    max_ready = models.PositiveIntegerField(default=2, help_text="Never more than this ready or on the way.")
    max_concurrent_creates = models.PositiveIntegerField(default=1, validators=[MinValueValidator(1)])
    idle_timeout_seconds = models.PositiveIntegerField(default=600, validators=[MinValueValidator(10)])
    scale_down_delay_seconds = models.PositiveIntegerField(
        default=30, help_text="Between two retirements of idle sandboxes."
    )
    cooldown_after_acquire_seconds = models.PositiveIntegerField(
        default=0, help_text="Wait this long after a launch before refilling."
    )
    max_warm_age_seconds = models.PositiveIntegerField(default=1800, validators=[MinValueValidator(60)])
    create_timeout_seconds = models.PositiveIntegerField(
        default=600, validators=[MinValueValidator(10), MaxValueValidator(7200)]
    )
    on_empty = models.CharField(max_length=10, choices=OnEmpty.choices, default=OnEmpty.COLD)
    stage = models.CharField(max_length=10, choices=Stage.choices, default=Stage.STARTED)
    autopilot = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Let each turn set the target that it recommends, within min and max.",
    )
    autopilot_step = models.PositiveIntegerField(
        default=2, db_default=2, validators=[MinValueValidator(1)], help_text="Never moved further at once."
    )
    autopilot_usd_a_month = models.PositiveIntegerField(
        "autopilot, US dollars a month",
        default=0,
        db_default=0,
        help_text="Never more than could stay ready for a month for so many dollars; 0: no limit of its own.",
    )
    mode = models.CharField(max_length=10, choices=Mode.choices, default=Mode.ACTIVE)
    last_acquired_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_acquired_by = models.CharField(
        max_length=80, blank=True, editable=False, help_text="What asked last, for the reasons in the log."
    )
    breaker_closed_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="Failures before this moment no longer count: an operator closed the breaker.",
    )
    recycle_before = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="Sandboxes requested before this moment are replaced, one by one.",
    )

    class Meta:
        ordering = ["name"]
        permissions = [
            ("operate_fleet", "Can act on the fleet"),
            ("destroy_fleet", "Can delete sandboxes and apps"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(target_ready__lte=F("max_ready")), name="pool_target_within_max"),
            models.CheckConstraint(condition=Q(min_ready__lte=F("max_ready")), name="pool_min_within_max"),
            models.CheckConstraint(condition=Q(max_concurrent_creates__gte=1), name="pool_creates_at_least_one"),
            models.CheckConstraint(condition=Q(runtime__in=Runtime.values), name="pool_runtime_valid"),
            models.CheckConstraint(condition=Q(mode__in=Mode.values), name="pool_mode_valid"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Sizes that fit together and into the fleet; each that does not is named, with the reason."""
        cap = settings.MAX_TOTAL_SANDBOXES
        errors: dict[str, str] = {}
        for name in ("target_ready", "min_ready", "max_ready", "max_concurrent_creates"):
            value = getattr(self, name)
            if value is not None and value > cap:
                errors[name] = f"{value} is more than the whole fleet may hold: MAX_TOTAL_SANDBOXES is {cap}."
        for name in ("target_ready", "min_ready"):
            value = getattr(self, name)
            if name not in errors and value is not None and self.max_ready is not None and value > self.max_ready:
                errors[name] = f"{value} is more than max ready ({self.max_ready}): it would never be reached."
        if self.region:
            try:
                region_slug(self.region)
            except InvalidSpec as error:
                errors["region"] = str(error)
        if errors:
            raise ValidationError(errors)

    def wanted(self, now: datetime) -> bool:
        """Whether somebody acquired from this pool within its idle timeout; the planner's `is_wanted` of a row."""
        if self.last_acquired_at is None:
            return False
        return abs(now - self.last_acquired_at) < timedelta(seconds=self.idle_timeout_seconds)


class SandboxQuerySet(models.QuerySet["Sandbox"]):
    """The fleet's vocabulary."""

    def live(self) -> SandboxQuerySet:
        return self.filter(state__in=LIVE)

    def existing(self) -> SandboxQuerySet:
        """Everything that may exist in the cloud: all but the deleted. In no order: by date, every row there ever was
        would be looked at."""
        return self.filter(state__in=EXISTING).order_by()

    def lately(self, count: int) -> SandboxQuerySet:
        """About the newest `count` of all there are, to look for a few among them."""
        begin = Sandbox.objects.order_by("-requested_at").values_list("requested_at", flat=True)
        at = begin[count : count + 1].first()
        return self.filter(requested_at__gt=at) if at is not None else self

    def answering(self) -> SandboxQuerySet:
        """Those that did not fail their looks so often that nothing more is expected of them."""
        return self.filter(health_failures__lt=LOOKS_TO_FAIL)

    def known_well(self, started_at: datetime | None) -> SandboxQuerySet:
        """Those of which `Sandbox.is_known_well` is true."""
        well = self.filter(health_failures=0)
        if started_at is None:
            return well
        return well.filter(Q(health_checked_at__gte=started_at) | Q(health_checked_at=None, healthy_at__gte=started_at))

    def seen_since(self, started_at: datetime | None) -> SandboxQuerySet:
        """Those that were looked at, however it went: of others it is not known who is in them."""
        return self if started_at is None else self.filter(health_checked_at__gte=started_at)

    def claimable(self, pool: Pool) -> SandboxQuerySet:
        """The pool's ready ones in the order in which they are taken: those known to be well first, then the oldest."""
        started_at = Fleet.objects.filter(pk=1).values("started_at")
        has_started = models.Exists(started_at.exclude(started_at=None))
        seen = Q(health_checked_at__gte=models.Subquery(started_at)) | ~Q(has_started)
        is_well = models.Case(models.When(seen, health_failures=0, then=0), default=1)
        given_back = Q(health_checked_at=None, unwell_since__isnull=False)  # and not looked at since
        ready = self.answering().filter(pool=pool, state=State.READY).exclude(given_back)
        return ready.order_by(is_well, "ready_at", "id")

    def move(self, sandbox_id: uuid.UUID, *, frm: Collection[State], to: State, **fields: Any) -> bool:
        """Move one sandbox if it still is where the caller believes; False if somebody else was first."""
        return self.filter(pk=sandbox_id, state__in=frm).update(state=to, **fields) == 1


class Sandbox(models.Model):
    """One App Platform app of ours, from the wish for it to its confirmed absence. A row is never reused."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=32, unique=True)
    pool = models.ForeignKey(Pool, null=True, blank=True, on_delete=models.SET_NULL, related_name="sandboxes")
    runtime = models.CharField(max_length=20, choices=Runtime.choices)
    image = models.CharField(max_length=200)
    region = models.CharField(max_length=20)
    size = models.CharField(max_length=60)
    app_id = models.CharField(max_length=64, unique=True, null=True, blank=True)
    known_app_id = models.CharField(
        max_length=64,
        blank=True,
        help_text="Its app's id once a listing, or the app, showed our name and mark under it.",
    )
    url = models.URLField(max_length=300, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.REQUESTED)
    origin = models.CharField(max_length=10, choices=Origin.choices)
    create_code = models.CharField(max_length=20, choices=CreateCode.choices)
    create_reason = models.TextField()
    end_code = models.CharField(max_length=20, choices=EndCode.choices, blank=True)
    end_reason = models.TextField(blank=True)
    failure_kind = models.CharField(max_length=10, choices=FailureKind.choices, blank=True)
    staged = models.JSONField(default=dict, blank=True, help_text="What was staged: game slug to snapshot hash.")
    health_checked_at = models.DateTimeField(null=True, blank=True)
    health_failures = models.PositiveIntegerField(default=0, help_text="Looks that failed, one after the other.")
    unwell_since = models.DateTimeField(null=True, blank=True, help_text="When the first of these looks failed.")
    trouble = models.TextField(blank=True, help_text="What went wrong last, as a sentence.")
    trouble_code = models.CharField(
        max_length=20, blank=True, help_text="What went wrong when its agent was asked last, as the code of an error."
    )
    token_key = models.CharField(
        max_length=agent_keys.FINGERPRINT_CHARACTERS,
        default=agent_keys.current,
        editable=False,
        help_text="The fingerprint of the SECRET_KEY that it was made under.",
    )
    missing_since = models.DateTimeField(null=True, blank=True, help_text="Absent from every complete listing since.")
    verified_at = models.DateTimeField(
        null=True, blank=True, help_text="When the app itself answered last, while no listing showed it."
    )
    vanished_at = models.DateTimeField(
        null=True, blank=True, help_text="When DigitalOcean said, asked for it by its id, that it has no such app."
    )
    requested_at = models.DateTimeField()
    create_sent_at = models.DateTimeField(
        null=True, blank=True, help_text="When the cloud was last asked to create it."
    )
    accepted_at = models.DateTimeField(null=True, blank=True)
    healthy_at = models.DateTimeField(null=True, blank=True)
    staging_started_at = models.DateTimeField(null=True, blank=True)
    ready_at = models.DateTimeField(null=True, blank=True)
    acquired_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    delete_requested_at = models.DateTimeField(null=True, blank=True)
    delete_sent_at = models.DateTimeField(
        null=True, blank=True, help_text="When the cloud was last asked to delete it."
    )
    create_attempts = models.PositiveIntegerField(
        default=0, db_default=0, help_text="How often the cloud was asked to create it."
    )
    delete_attempts = models.PositiveIntegerField(
        default=0, db_default=0, help_text="How often the cloud was asked to delete it."
    )
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = SandboxQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "sandboxes"
        ordering = ["-requested_at"]
        indexes = [
            models.Index(fields=["pool", "state", "ready_at", "id"], name="sandbox_claim"),
            # Whole, not of those that exist alone: SQLite takes a partial index for no query with parameters.
            models.Index(fields=["state", "-requested_at"], name="sandbox_state"),
            models.Index(fields=["-requested_at"], name="sandbox_newest"),
            models.Index(fields=["pool", "-delete_requested_at"], name="sandbox_pool_ends"),
            models.Index(fields=["pool", "-requested_at"], name="sandbox_of_pool"),
            models.Index(fields=["-delete_requested_at"], name="sandbox_ends"),
            models.Index(fields=["deleted_at"], name="sandbox_gone"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=State.values), name="sandbox_state_valid"),
            models.CheckConstraint(condition=Q(origin__in=Origin.values), name="sandbox_origin_valid"),
            models.CheckConstraint(condition=~Q(create_reason=""), name="sandbox_created_for_a_reason"),
            models.CheckConstraint(condition=Q(create_code__in=CreateCode.values), name="sandbox_create_code_valid"),
            models.CheckConstraint(condition=Q(end_code__in=["", *EndCode.values]), name="sandbox_end_code_valid"),
            models.CheckConstraint(
                condition=~Q(state__in=["deleting", "deleted"]) | ~Q(end_code=""), name="sandbox_ended_with_a_code"
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["deleting", "deleted"]) | ~Q(end_reason=""),
                name="sandbox_ended_for_a_reason",
            ),
            # Invariant 5: a lifetime begins when a run takes the sandbox, never before.
            models.CheckConstraint(
                condition=Q(expires_at__isnull=True) | Q(acquired_at__isnull=False),
                name="sandbox_expires_only_in_use",
            ),
            models.CheckConstraint(
                condition=~Q(state="in_use") | Q(acquired_at__isnull=False),
                name="sandbox_in_use_was_acquired",
            ),
            models.CheckConstraint(
                condition=~Q(origin="cold") | ~Q(state__in=["staging", "ready"]),
                name="sandbox_cold_never_pooled",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def token(self) -> str:
        """The token of this sandbox's agent: derived, so that no secret lies in the database."""
        return agent_keys.token(self.id, self.token_key)

    @property
    def is_known(self) -> bool:
        """Whether our name and mark were seen under its app's id."""
        return bool(self.app_id) and self.known_app_id == self.app_id

    @property
    def staged_games(self) -> dict[str, StagedGame]:
        """The games that were staged in it, by slug."""
        return read_staged(self.staged)

    def is_subject(self) -> AbstractContextManager[None]:
        """While the block runs, what is done is about this sandbox."""
        return about(sandbox=self.name, app=self.app_id)

    def agent(self) -> SandboxAgent:
        """The agent inside, once the sandbox has its address."""
        from pools.cloud.sandbox_agent import SandboxAgent

        return SandboxAgent(self.url, self.token)

    def spec(self, installation: str) -> AppSpec:
        """Return the spec that the cloud is asked for on its behalf, with this database's installation id."""
        return AppSpec(
            name=self.name,
            owner=settings.ORCHESTRATOR_ID,
            image=self.image,
            region=self.region,
            size=self.size,
            token=self.token,
            installation=installation,
        )

    def has_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def is_known_well(self, started_at: datetime | None) -> bool:
        """Whether it was well when it was last looked at, since the orchestrator's start at `started_at`."""
        checked_at = self.health_checked_at or self.healthy_at
        is_seen = started_at is None or (checked_at is not None and checked_at >= started_at)
        return is_seen and not self.health_failures

    def cost_usd(self, now: datetime) -> Decimal:
        """Return what App Platform bills until `now`: by the second since it was accepted, at least one minute."""
        if self.accepted_at is None:
            return Decimal(0)
        return cost_usd(self.size, ((self.deleted_at or now) - self.accepted_at).total_seconds())


class SpentHour(models.Model):
    """What the sandboxes of one size cost that were deleted within one hour. Written only by `pools.spending`."""

    hour = models.DateTimeField(help_text="Its beginning.")
    size = models.CharField(max_length=60)
    billed_seconds = models.FloatField()

    class Meta:
        ordering = ["-hour"]
        constraints = [models.UniqueConstraint(fields=["hour", "size"], name="spent_hour_once")]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}:00 {self.size}"


class PoolMinute(models.Model):
    """What a pool had at one minute. Written only by `pools.minutes`."""

    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="minutes")
    minute = models.DateTimeField(help_text="Its beginning.")
    seconds = models.PositiveIntegerField(help_text="How long the count stands for: since the one before.")
    made = models.PositiveIntegerField(help_text="How many sandboxes were asked for in that time.")
    creating = models.PositiveIntegerField()
    ready = models.PositiveIntegerField()
    in_use = models.PositiveIntegerField()
    target = models.PositiveIntegerField()

    class Meta:
        ordering = ["-minute"]
        constraints = [models.UniqueConstraint(fields=["pool", "minute"], name="pool_minute_once")]
        indexes = [models.Index(fields=["minute"], name="pool_minute_age")]

    def __str__(self) -> str:
        return f"{self.minute:%Y-%m-%d %H:%M} {self.pool}"


class CloudApp(models.Model):
    """One app as the cloud's last complete listing showed it: ours, an orphan, or somebody else's."""

    app_id = models.CharField(max_length=64, primary_key=True)
    name = models.CharField(max_length=64, db_index=True)
    owner = models.CharField(max_length=64, blank=True, help_text="Its ORCHESTRATOR_ID; empty when it has none.")
    installation = models.CharField(
        max_length=64, blank=True, help_text="The database that it belongs to; empty when its spec names none."
    )
    phase = models.CharField(max_length=20)
    url = models.CharField(max_length=300, blank=True)
    region = models.CharField(max_length=20, blank=True)
    size = models.CharField(max_length=60, blank=True)
    failure = models.TextField(blank=True)
    app_created_at = models.DateTimeField()
    first_seen_at = models.DateTimeField()
    orphan_since = models.DateTimeField(null=True, blank=True)
    orphan_listings = models.PositiveIntegerField(default=0)
    adopted_at = models.DateTimeField(
        null=True, blank=True, help_text="When an operator said that it is ours, whatever its mark says."
    )
    delete_reason = models.TextField(blank=True, help_text="Set when an operator or the orphan rule wants it gone.")
    delete_sent_at = models.DateTimeField(null=True, blank=True)
    delete_attempts = models.PositiveIntegerField(
        default=0, db_default=0, help_text="How often the cloud was asked to delete it."
    )
    trouble = models.TextField(
        blank=True, default="", db_default="", help_text="Why the last try to delete it failed, as a sentence."
    )
    trouble_code = models.CharField(
        max_length=20, blank=True, default="", db_default="", help_text="The same as the code of an error."
    )

    class Meta:
        ordering = ["name"]
        verbose_name = "app in the cloud"
        verbose_name_plural = "apps in the cloud"

    def __str__(self) -> str:
        return self.name

    # What a listing writes.
    LISTED = ("name", "owner", "installation", "phase", "url", "region", "size", "failure", "app_created_at")

    @staticmethod
    def columns_of(app: App) -> dict[str, Any]:
        """Return what a listing's app writes into its row."""
        return {
            "name": app.name,
            "owner": app.owner or "",
            "installation": app.installation or "",
            "phase": app.phase.value,
            "url": app.url or "",
            "region": app.region or "",
            "size": app.size or "",
            "failure": app.failure or "",
            "app_created_at": app.created_at,
        }

    def app(self) -> App:
        """Return the app as it was listed."""
        return App(
            id=self.app_id,
            name=self.name,
            owner=self.owner or None,
            phase=Phase(self.phase) if self.phase in Phase.__members__ else Phase.UNKNOWN,
            url=self.url or None,
            region=self.region or None,
            size=self.size or None,
            created_at=self.app_created_at,
            failure=self.failure or None,
            installation=self.installation or None,
        )


def new_installation() -> str:
    """An id for a new database."""
    return uuid.uuid4().hex


class Fleet(models.Model):
    """The one row that capacity is reserved under, and what holds for the whole fleet. Get it with `Fleet.get()`."""

    installation = models.CharField(
        max_length=32,
        default=new_installation,
        editable=False,
        help_text="Made once in each database, and set in each app: databases with one ORCHESTRATOR_ID differ by it.",
    )
    key_fingerprint = models.CharField(
        max_length=agent_keys.FINGERPRINT_CHARACTERS,
        blank=True,
        editable=False,
        help_text="The fingerprint of the SECRET_KEY that this database was used with last.",
    )
    others = models.PositiveIntegerField(
        default=0, help_text="How many apps the last listing showed that carry our mark and are another installation's."
    )
    orphans = models.PositiveIntegerField(
        default=0,
        db_default=0,
        help_text="How many apps of ours without a row there were when the last turn ended: each takes a place.",
    )
    existing = models.PositiveIntegerField(
        null=True, blank=True, help_text="How many sandboxes there were when the last turn ended: for launches, about."
    )
    maintenance = models.BooleanField(default=False)
    maintenance_message = models.CharField(max_length=200, blank=True)
    nudged = models.BooleanField(default=False, help_text="A turn is queued and has not begun.")
    started_at = models.DateTimeField(
        null=True, blank=True, help_text="When an orchestrator last started: what was seen before may be gone."
    )
    turned_at = models.DateTimeField(null=True, blank=True, help_text="When the last turn ended.")
    due_at = models.DateTimeField(
        null=True, blank=True, help_text="When the last turn wants the next; empty when the schedule's will do."
    )
    listed_at = models.DateTimeField(null=True, blank=True, help_text="When the last complete listing was taken.")
    listing_code = models.CharField(max_length=20, blank=True, help_text="What was wrong with the last listing.")
    listing_error = models.TextField(blank=True, help_text="Why the last listing was not complete; empty when it was.")
    token_refused_at = models.DateTimeField(null=True, blank=True)
    request_budget = models.JSONField(default=dict, blank=True)
    stopped_at = models.DateTimeField(null=True, blank=True, help_text="Deletions wait for an operator since.")
    stopped_reason = models.TextField(blank=True)
    approved = models.JSONField(default=list, blank=True, help_text="What an operator has let go: sandboxes, apps.")
    approved_until = models.DateTimeField(null=True, blank=True)
    deletes_failing_since = models.DateTimeField(
        null=True, blank=True, help_text="No deletion was accepted since; while that lasts nothing is created."
    )
    deletes_error = models.TextField(blank=True, help_text="Why the last deletion was not accepted.")

    class Meta:
        verbose_name_plural = "fleet"
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="fleet_is_one_row")]

    def __str__(self) -> str:
        return "fleet"

    @classmethod
    def get(cls) -> Fleet:
        return cls.objects.get_or_create(pk=1)[0]

    @classmethod
    def note_start(cls, now: datetime) -> None:
        """An orchestrator, or the embedded cloud, starts: every sandbox has to be seen once before it counts."""
        cls.objects.filter(pk=1).update(started_at=now)

    @classmethod
    def note_pause(cls, now: datetime) -> None:
        """A process starts. When no turn was taken for a while, as none is of a database that was restored from a
        backup, every sandbox has to be seen once before it counts."""
        paused = cls.objects.filter(pk=1, turned_at__lt=now - PAUSE)
        paused.filter(Q(started_at=None) | Q(started_at__lt=F("turned_at"))).update(started_at=now)

    @classmethod
    def lock(cls) -> Fleet:
        """The row, locked until the transaction ends: limits are checked and places taken under it."""
        return cls.objects.select_for_update().get_or_create(pk=1)[0]


class Lease(models.Model):
    """The right to do what only one may do at a time, until a moment. Taken with `pools.leases.hold`."""

    name = models.CharField(max_length=40, primary_key=True)
    holder = models.UUIDField()
    process = models.CharField(
        max_length=200, blank=True, help_text="The holding process, so that its death is noticed at once."
    )
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class EventCursor(models.Model):
    """The last number given to a FleetEvent. Taken under the row's lock, so numbers commit in order."""

    name = models.CharField(max_length=20, primary_key=True)
    last_seq = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name}: {self.last_seq}"


class Level(models.TextChoices):
    INFO = "info", "Info"
    WARNING = "warning", "Warning"
    ERROR = "error", "Error"


class FleetEvent(models.Model):
    """One line of the orchestrator log. Written only by `pools.journal.record`."""

    seq = models.PositiveBigIntegerField(unique=True)
    at = models.DateTimeField(db_index=True)
    kind = models.CharField(max_length=30, choices=LogKind.choices)
    code = models.CharField(max_length=30, blank=True, help_text="Why, as a code of `pools.reasons`.")
    level = models.CharField(max_length=10, choices=Level.choices, default=Level.INFO)
    message = models.TextField()
    sandbox_name = models.CharField(max_length=64, blank=True, db_index=True)
    app_id = models.CharField(max_length=64, blank=True)
    pool_name = models.CharField(max_length=40, blank=True)
    run_id = models.UUIDField(null=True, blank=True, db_index=True)
    actor = models.CharField(max_length=150, blank=True, help_text="The operator who did it; empty for the machine.")
    data = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["-seq"]
        indexes = [
            models.Index(fields=["pool_name", "-seq"], name="event_of_pool"),
            # Of the few lines that somebody caused; `pools.audit` asks in the same words.
            models.Index(
                fields=["-at", "-id"], name="event_caused", condition=Q(actor__gt="") | Q(kind=LogKind.SIGN_IN)
            ),
            models.Index(fields=["actor", "-at", "-id"], name="event_of_actor", condition=Q(actor__gt="")),
            # Of what changed how the fleet as a whole goes; `pools.incidents` asks in the same words.
            models.Index(
                fields=["at"],
                name="event_mark",
                condition=Q(kind__in=["alarm", "all_clear", "go", "maintenance", "pool", "stop"])
                | Q(code__in=["process_restarted", "turn_died"]),
            ),
        ]

    def __str__(self) -> str:
        return self.message
