"""The planner's facts: plain values, gathered by `pools.turn.observe`, made up freely by tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from pools.breaker import Outcome
from pools.cloud.errors import AgentRefused
from pools.cloud.records import App, Phase
from pools.demand import Demand
from pools.models import CloudApp, Mode, Origin, Stage, State
from pools.ownership import Mark, Standing


@dataclass(frozen=True, slots=True)
class Autopilot:
    """What a pool's autopilot goes by: how many ready ones it needs now, and the sentence that says why; how many its
    own budget pays for, None without one; how far it may move the target at once."""

    needed: int
    reason: str
    affordable: int | None = None
    step: int = 2


@dataclass(frozen=True, slots=True)
class PoolFacts:
    id: int
    name: str
    runtime: str
    target_ready: int = 1
    min_ready: int = 0
    max_ready: int = 2
    max_concurrent_creates: int = 1
    idle_timeout_seconds: int = 600
    scale_down_delay_seconds: int = 30
    cooldown_after_acquire_seconds: int = 0
    max_warm_age_seconds: int = 1800
    create_timeout_seconds: int = 600
    stage: Stage = Stage.NONE
    mode: Mode = Mode.ACTIVE
    last_acquired_at: datetime | None = None
    last_acquired_by: str = ""
    recycle_before: datetime | None = None
    outcomes: tuple[Outcome, ...] = ()  # of the creates of its runtime, oldest first
    surplus_until: datetime | None = None  # too many of its creates failed: it creates none before
    last_shrunk_at: datetime | None = None
    autopilot: Autopilot | None = None  # where it is on

    def idle_for(self, now: datetime) -> timedelta | None:
        return None if self.last_acquired_at is None else now - self.last_acquired_at

    def is_wanted(self, now: datetime) -> bool:
        """Also not when that lies so far ahead that the clock was set back since."""
        idle = self.idle_for(now)
        return idle is not None and abs(idle) < timedelta(seconds=self.idle_timeout_seconds)


@dataclass(frozen=True, slots=True)
class SandboxFacts:
    id: UUID
    name: str
    state: State
    origin: Origin
    requested_at: datetime
    pool_id: int | None = None
    runtime: str = "python"
    app_id: str | None = None
    url: str = ""
    trouble: str = ""
    trouble_code: str = ""
    create_sent_at: datetime | None = None
    accepted_at: datetime | None = None
    healthy_at: datetime | None = None
    staging_started_at: datetime | None = None
    is_being_staged: bool = False  # somebody living holds the lease for it
    ready_at: datetime | None = None
    expires_at: datetime | None = None
    delete_requested_at: datetime | None = None
    delete_sent_at: datetime | None = None
    create_attempts: int = 0
    delete_attempts: int = 0
    health_checked_at: datetime | None = None
    health_failures: int = 0
    unwell_since: datetime | None = None
    is_played: bool = False  # in use, and something is to answer in it
    missing_since: datetime | None = None
    verified_at: datetime | None = None
    vanished_at: datetime | None = None
    known_app_id: str = ""

    @property
    def is_known(self) -> bool:
        """Whether our name and mark were seen under its app's id."""
        return bool(self.app_id) and self.known_app_id == self.app_id

    @property
    def refuses_us(self) -> bool:
        """Whether its agent did not take our token when it was asked last."""
        return self.trouble_code == AgentRefused.code

    @property
    def age_from(self) -> datetime:
        return self.ready_at or self.requested_at


NOTES = (
    *("orphan_since", "orphan_listings", "adopted_at", "delete_reason", "delete_sent_at", "delete_attempts"),
    *("trouble", "trouble_code"),
)


@dataclass(frozen=True, slots=True)
class AppFacts:
    """An app of the listing, with what earlier listings taught about it."""

    id: str
    name: str
    owner: str | None
    phase: Phase
    url: str | None = None
    failure: str | None = None
    orphan_since: datetime | None = None
    orphan_listings: int = 0
    delete_reason: str = ""
    delete_sent_at: datetime | None = None
    is_listed: bool = True  # else: ordered to be deleted, and not known to be gone
    installation: str | None = None
    had_row: bool = False  # a sandbox of ours has its name, or had it
    adopted_at: datetime | None = None
    delete_attempts: int = 0
    trouble: str = ""
    trouble_code: str = ""

    @classmethod
    def of(cls, app: App, noted: CloudApp | None = None, *, is_listed: bool = True, had_row: bool = False) -> AppFacts:
        """Return the facts of an app, with what its row noted about it."""
        notes = {} if noted is None else {name: getattr(noted, name) for name in NOTES}
        phase = app.phase if is_listed else Phase.UNKNOWN
        return cls(
            app.id,
            app.name,
            app.owner,
            phase,
            app.url,
            app.failure,
            is_listed=is_listed,
            installation=app.installation,
            had_row=had_row,
            **notes,
        )


@dataclass(frozen=True, slots=True)
class FleetFacts:
    """Everything one turn knows. `apps` is None when the listing was not complete; `listing_error` says why, or why a
    complete one is not believed."""

    pools: tuple[PoolFacts, ...]
    sandboxes: tuple[SandboxFacts, ...]
    apps: tuple[AppFacts, ...] | None
    listed_at: datetime
    listing_error: str = ""
    token_refused: bool = False
    demand: Demand = field(default_factory=Demand)
    max_total: int = 3
    orchestrator_id: str = "local"
    installation: str = ""
    name_prefix: str = "sandbox-"
    orphan_grace_seconds: int = 120
    blast_radius_share: float = 0.5
    blast_radius_floor: int = 3
    approved: frozenset[str] = frozenset()  # ids of sandboxes and apps that an operator has let go
    deaths: frozenset[str] = frozenset()  # names of what was given up within the guard's window, and orphans deleted
    deletes_failing_since: datetime | None = None
    stopped: bool = False
    started_at: datetime | None = None  # the orchestrator's last start: what was seen before may be gone

    @property
    def is_trusted(self) -> bool:
        """Whether deletions may follow from this listing."""
        return self.apps is not None and not self.listing_error

    @property
    def mark(self) -> Mark:
        return Mark(self.orchestrator_id, self.installation, self.name_prefix)

    def standing(self, app: AppFacts) -> Standing:
        """Whose the app is, if no sandbox of ours is it."""
        return Standing.OURS if app.adopted_at else self.mark.standing(app, had_row=app.had_row)

    def owns(self, app: AppFacts) -> bool:
        """Whether the app is ours, though no sandbox of ours may be it any more."""
        return self.standing(app) == Standing.OURS
