"""What is to be thought of each sandbox and each app, on two axes: is it as we wish (sync), and is it well (health)?

The fleet's page, a sandbox's page, the API, the alarms and the command line all have it from here, so that they say the
same. Pure: the rows of both sides and what can be seen of DigitalOcean in, a judgement out. A sentence here is about
what is; what comes next is told by `attempt` and by the plan alone, which know what holds it up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.conf import settings

from pools.ages import ago
from pools.cloud.app_spec import OWNER_KEY
from pools.cloud.errors import AgentRefused, EmptyListing
from pools.cloud.records import UNREADABLE, Phase, is_disowned
from pools.models import ON_THE_WAY, CloudApp, Fleet, Origin, Pool, Sandbox, State
from pools.occupants import Occupant
from pools.ownership import Mark, Standing, our_mark
from pools.turn.attempts import CAN_NOT_SEE, Attempt, What, creation, deletion, look
from pools.turn.waits import CREATE_TIMEOUT_SECONDS, RESEND_SECONDS, SETTLE_SECONDS

STUCK_DELETING_SECONDS = 300
OVERDUE_SECONDS = 60  # an expired sandbox is retired by the next turn, at most a minute later


class Sync(StrEnum):
    """Whether it is as we wish."""

    SYNCED = "synced"
    OUT_OF_SYNC = "out_of_sync"
    UNKNOWN = "unknown"  # DigitalOcean can't be seen now, or does not show it

    @property
    def label(self) -> str:
        return "sync unknown" if self == Sync.UNKNOWN else self.replace("_", " ")


class Health(StrEnum):
    """Whether it is well, whatever we wish."""

    HEALTHY = "healthy"
    PROGRESSING = "progressing"  # on its way to be there, or to be gone
    DEGRADED = "degraded"
    MISSING = "missing"  # DigitalOcean itself says that it has no such app
    UNKNOWN = "unknown"


class Verdict(StrEnum):
    """Both axes in a word, for whoever looks for what to do; the most urgent first."""

    ORPHAN = "orphan"
    ANOTHERS = "another installation"
    LOST = "lost"
    MISSING = "missing"
    DRIFTING = "drifting"
    UNKNOWN = "unknown"
    DELETING = "deleting"
    FOREIGN = "foreign"
    IN_STEP = "in step"

    @property
    def meaning(self) -> str:
        """The verdict explained, and what to do about it."""
        return MEANINGS[self]


MEANINGS = {
    Verdict.ORPHAN: "It carries our mark and costs money, but we have no record of it. After a grace it is deleted, "
    "unless something holds that up, as its row says; force delete is quicker.",
    Verdict.ANOTHERS: "It carries our mark, and another database made it: a second orchestrator runs with our "
    "ORCHESTRATOR_ID, or this database was emptied or restored. The machine never touches it; it takes a place. "
    "`manage.py adopt` takes it over.",
    Verdict.LOST: "DigitalOcean, asked for it by its id, does not have what we had. Its run ends with its record, and "
    "the pool replaces it; nothing is to be done. It is shown for an hour.",
    Verdict.MISSING: "The last listing does not show it, and listings may err: it is asked for by its id before it is "
    "called lost. Whoever plays in it plays on.",
    Verdict.DRIFTING: "The two sides differ, as is said beside it. Turns put most of that right; if they don't, force "
    "delete it.",
    Verdict.UNKNOWN: "DigitalOcean was never listed. Look now.",
    Verdict.DELETING: "It is to be deleted, and that is repeated until it is gone.",
    Verdict.FOREIGN: "It is not ours: the machine never touches it. An operator can delete it by typing its name.",
    Verdict.IN_STEP: "Both sides agree.",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One field in which what is there is not what we want. `sentence` says it to people."""

    field: str
    wanted: str
    found: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """`why` says what the verdict rests on; `attempt` is what is tried again and again, if anything is."""

    verdict: Verdict
    sync: Sync
    health: Health
    why: str = ""
    differences: tuple[Difference, ...] = ()
    attempt: Attempt | None = None

    @property
    def refused_tries(self) -> int:
        """How often its deletion was tried, if the last try failed; else 0."""
        attempt = self.attempt
        return attempt.number if attempt and attempt.what == What.DELETE and attempt.is_refused else 0


@dataclass(frozen=True, slots=True)
class Sight:
    """What can be seen of DigitalOcean. `error` is why the last listing can't be relied on, empty when it can; what is
    known is then from the one at `listed_at`, None when there was none."""

    listed_at: datetime | None
    error: str
    code: str
    mark: Mark
    orphan_grace_seconds: int
    started_at: datetime | None = None

    @classmethod
    def of(cls, fleet: Fleet) -> Sight:
        """As the fleet's row has it."""
        grace = settings.ORPHAN_GRACE_SECONDS
        error, code = fleet.listing_error, fleet.listing_code
        return cls(fleet.listed_at, error, code, our_mark(fleet), grace, fleet.started_at)

    @property
    def holds_deletions(self) -> str:
        """Why no turn deletes a sandbox now; empty when turns do."""
        return f"{CAN_NOT_SEE}: {self.error}" if self.error else ""

    @property
    def holds_orders(self) -> str:
        """The same for apps that no sandbox is: what was ordered goes on the word of an empty listing, too."""
        return self.holds_deletions if self.code != EmptyListing.code else ""


# Sandboxes.


def judge_sandbox(
    sandbox: Sandbox,
    app: CloudApp | None,
    *,
    pool: Pool | None,
    occupant: Occupant | None,
    sight: Sight,
    now: datetime,
    held: str = "",
) -> Judgement:
    """Judge a sandbox beside the app that the last listing that could be relied on shows for it. `held`: why a turn
    would not delete it though it is due."""
    if sandbox.state == State.DELETED:
        verdict, health = Verdict.LOST, Health.MISSING
        return Judgement(verdict, Sync.SYNCED, health, sandbox.end_reason)
    if sandbox.state == State.DELETING:
        return _judge_deletion(sandbox, app, sight, now)
    if sight.listed_at is None:
        why, attempt = "DigitalOcean was never seen yet", creation(sandbox, now) or look(sandbox)
        return Judgement(Verdict.UNKNOWN, Sync.UNKNOWN, _health_of(sandbox, None, sight), why, attempt=attempt)
    if sandbox.vanished_at is not None:
        why = f"DigitalOcean, asked for it {ago(sandbox.vanished_at, now)} ago, does not have it"
        if occupant is not None and not occupant.is_over:
            why += f"; {occupant.name} is still in it"
        gone = Difference("app", "there", "gone", why)
        attempt = Attempt(What.DELETE, 0, held=held) if held else None
        return Judgement(Verdict.LOST, Sync.OUT_OF_SYNC, Health.MISSING, why, (gone,), attempt)
    if app is None:
        return _judge_absence(sandbox, sight, now)
    differences = (*_differences(sandbox, app, pool, sight, now), *_own_differences(sandbox, occupant, now))
    health = _health_of(sandbox, app, sight)
    if any(each.field == "created" for each in differences):
        health = Health.DEGRADED
    verdict = Verdict.DRIFTING if differences or sandbox.health_failures else Verdict.IN_STEP
    sync = Sync.OUT_OF_SYNC if differences else Sync.UNKNOWN if sight.error else Sync.SYNCED
    sentences = [each.sentence for each in differences]
    if sandbox.health_failures:
        sentences.append(_unwell(sandbox))
    return Judgement(verdict, sync, health, "; ".join(sentences), differences, look(sandbox))


def _judge_deletion(sandbox: Sandbox, app: CloudApp | None, sight: Sight, now: datetime) -> Judgement:
    attempt = deletion(sandbox, now, sight.holds_deletions)
    since = sandbox.delete_requested_at or now
    is_stuck = now - since > timedelta(seconds=STUCK_DELETING_SECONDS)
    where = f"still there, {app.phase}" if app else "not known to be gone"
    sentence = f"to be deleted for {ago(since, now)} and {'still there' if app else 'not confirmed gone'}"
    left = Difference("app", "gone", where, sentence)
    why = f"{sentence} ({sandbox.end_reason})" if is_stuck else sandbox.end_reason
    health = Health.DEGRADED if is_stuck or attempt.is_refused else Health.PROGRESSING
    verdict = Verdict.DRIFTING if is_stuck else Verdict.DELETING
    return Judgement(verdict, Sync.OUT_OF_SYNC, health, why, (left,), attempt)


def _judge_absence(sandbox: Sandbox, sight: Sight, now: datetime) -> Judgement:
    """No listing that could be relied on shows it."""
    health = _health_of(sandbox, None, sight)
    if sandbox.app_id is None:
        return _judge_request(sandbox, now)
    is_new = sandbox.accepted_at is not None and sight.listed_at is not None
    is_new = is_new and sight.listed_at - sandbox.accepted_at <= timedelta(seconds=SETTLE_SECONDS)  # type: ignore[operator]
    if is_new and not sandbox.url:  # with an address it was listed before
        why = "new: the listing may not show it yet"
        return Judgement(Verdict.IN_STEP, Sync.SYNCED, health, why, attempt=look(sandbox))
    if sight.error:
        why = "not in the last listing that could be relied on"
    elif sandbox.missing_since is not None:
        why = f"missing from every listing for {ago(sandbox.missing_since, now)}"
    else:
        why = "missing from the last listing"
    if sandbox.verified_at is not None:
        why += f", but DigitalOcean itself has it: asked by its id {ago(sandbox.verified_at, now)} ago"
    else:
        why += "; DigitalOcean itself has not told yet"
        health = Health.UNKNOWN
    missing = Difference("app", "listed", "not listed", why)
    sync = Sync.UNKNOWN
    return Judgement(Verdict.MISSING, sync, health, why, (missing,), look(sandbox))


def _judge_request(sandbox: Sandbox, now: datetime) -> Judgement:
    asked_at = sandbox.create_sent_at or sandbox.requested_at
    attempt = creation(sandbox, now)
    if now - asked_at > timedelta(seconds=RESEND_SECONDS):
        trouble = f": {sandbox.trouble}" if sandbox.trouble else ""
        why = f"asked for {ago(asked_at, now)} ago, not accepted yet{trouble}"
        absent = Difference("app", "there", "not accepted yet", why)
        return Judgement(Verdict.DRIFTING, Sync.OUT_OF_SYNC, Health.DEGRADED, why, (absent,), attempt)
    health = Health.DEGRADED if attempt and attempt.is_refused else Health.PROGRESSING
    why = "DigitalOcean is being asked for it"
    absent = Difference("app", "there", "not accepted yet", why)
    return Judgement(Verdict.IN_STEP, Sync.OUT_OF_SYNC, health, why, (absent,), attempt)


def _health_of(sandbox: Sandbox, app: CloudApp | None, sight: Sight) -> Health:
    if sandbox.health_failures or (app is not None and app.phase in (Phase.ERROR, Phase.CANCELED)):
        return Health.DEGRADED
    if sandbox.state in ON_THE_WAY or (app is not None and app.phase != Phase.ACTIVE):
        return Health.PROGRESSING
    is_seen = bool(sandbox.health_checked_at or sandbox.healthy_at) and sandbox.is_known_well(sight.started_at)
    return Health.HEALTHY if is_seen else Health.UNKNOWN


def _unwell(sandbox: Sandbox) -> str:
    if sandbox.trouble_code == AgentRefused.code:
        return f"its agent refuses our token: {sandbox.trouble}"
    count = sandbox.health_failures
    return f"its agent did not answer {count} look{'s' if count > 1 else ''}: {sandbox.trouble}".rstrip(": ")


def _differences(
    sandbox: Sandbox, app: CloudApp, pool: Pool | None, sight: Sight, now: datetime
) -> Iterator[Difference]:
    """What DigitalOcean has otherwise than we asked for."""
    owner = sight.mark.owner
    if app.owner != owner:
        sentence = f"its {OWNER_KEY} is {app.owner or 'gone'}, not {owner}"
        yield Difference(OWNER_KEY, owner, app.owner or "none", sentence)
    elif is_disowned(app, sight.mark):
        found = f"installation {app.installation[:8]}"
        yield Difference("installation", sight.mark.installation[:8], found, "another installation's app has its name")
    elif sandbox.app_id is None:
        sentence = "the answer to its create was lost; its app has its name"
        yield Difference("app id", "known", f"{app.app_id}, not taken up yet", sentence)
    if app.name != sandbox.name:
        yield Difference("name", sandbox.name, app.name, f"it was renamed to {app.name}")
    if app.delete_reason:
        sentence = f"its app is ordered to be deleted: {app.delete_reason}"
        yield Difference("app", "there", "ordered to be deleted", sentence)
    yield from _phase_differences(sandbox, app, pool, now)
    if app.region and app.region[:3] != sandbox.region[:3]:
        sentence = f"we asked for region {sandbox.region}, it is in {app.region}"
        yield Difference("region", sandbox.region, app.region, sentence)
    if app.size and app.size != sandbox.size:
        yield Difference("size", sandbox.size, app.size, f"we asked for {sandbox.size}, it is {app.size}")


def _phase_differences(sandbox: Sandbox, app: CloudApp, pool: Pool | None, now: datetime) -> Iterator[Difference]:
    if sandbox.state in (State.STAGING, State.READY, State.IN_USE):
        if app.phase != Phase.ACTIVE:
            sentence = f"we say {sandbox.get_state_display().lower()}, DigitalOcean says {app.phase}"
            yield Difference("phase", Phase.ACTIVE.value, app.phase, sentence)
        elif app.url and sandbox.url and app.url != sandbox.url:
            yield Difference("address", sandbox.url, app.url, f"its address is now {app.url}")
    elif app.phase in (Phase.ERROR, Phase.CANCELED):
        sentence = f"its deployment ended in {app.phase}: {app.failure or 'no reason given'}"
        yield Difference("phase", Phase.ACTIVE.value, app.phase, sentence)
    seconds = pool.create_timeout_seconds if pool else CREATE_TIMEOUT_SECONDS
    if sandbox.state in ON_THE_WAY and now - sandbox.requested_at > timedelta(seconds=seconds):
        sentence = f"not ready after {ago(sandbox.requested_at, now)}"
        yield Difference("created", f"within {seconds} s", sentence, sentence)


def _own_differences(sandbox: Sandbox, occupant: Occupant | None, now: datetime) -> Iterator[Difference]:
    """What is not as we wish on our own side."""
    if sandbox.state == State.IN_USE and occupant is None and sandbox.origin == Origin.POOL:
        yield Difference("run", "one", "none", "in use, but no run has it")
    elif sandbox.state == State.IN_USE and occupant is not None and occupant.is_over:
        yield Difference("run", "being played", "over", f"{occupant.name} in it is over")
    if sandbox.origin == Origin.POOL and sandbox.pool_id is None:
        yield Difference("pool", "one", "deleted", "its pool was deleted, so nobody will take it")
    if sandbox.expires_at and now - sandbox.expires_at > timedelta(seconds=OVERDUE_SECONDS):
        sentence = f"its lifetime ended {ago(sandbox.expires_at, now)} ago"
        yield Difference("lifetime", "over: to be retired", sandbox.get_state_display().lower(), sentence)


# Apps that no sandbox is.


def judge_app(
    app: CloudApp,
    *,
    former: Sandbox | None,
    sight: Sight,
    now: datetime,
    had_row: bool = False,
    held: str = "",
) -> Judgement:
    """Judge an app that no sandbox of ours is. `former` is the deleted sandbox that had its name, `had_row` that one
    has it; `held` is why a turn would not delete it though it is due."""
    health = _app_health(app)
    if app.delete_reason:
        attempt = deletion(app, now, sight.holds_orders)
        left = Difference("app", "gone", f"still there, {app.phase}", "it is ordered to be deleted")
        health = Health.DEGRADED if attempt.is_refused else Health.PROGRESSING
        return Judgement(Verdict.DELETING, Sync.OUT_OF_SYNC, health, app.delete_reason, (left,), attempt)
    standing = Standing.OURS if app.adopted_at else sight.mark.standing(app, had_row=had_row or former is not None)
    if standing == Standing.ANOTHERS:
        why = _why_anothers(app, sight)
        strange = Difference("installation", sight.mark.installation[:8], app.installation[:8] or "none", why)
        return Judgement(Verdict.ANOTHERS, Sync.OUT_OF_SYNC, Health.UNKNOWN, why, (strange,))
    if standing == Standing.FOREIGN:
        return Judgement(Verdict.FOREIGN, Sync.SYNCED, Health.UNKNOWN, _why_foreign(app, sight))
    if former and former.deleted_at and sight.listed_at and former.deleted_at >= sight.listed_at:
        why = f"deleted since the last listing: {former.end_reason}"
        return Judgement(Verdict.DELETING, Sync.UNKNOWN, Health.PROGRESSING, why)
    why = _why_orphan(app, former, now)
    stray = Difference("record", "one of ours", "none", "no sandbox of ours is it")
    return Judgement(Verdict.ORPHAN, Sync.OUT_OF_SYNC, health, why, (stray,), _attempt_at_orphan(app, sight, held))


def _app_health(app: CloudApp) -> Health:
    if app.phase in (Phase.ERROR, Phase.CANCELED):
        return Health.DEGRADED
    return Health.HEALTHY if app.phase == Phase.ACTIVE else Health.PROGRESSING


def _attempt_at_orphan(app: CloudApp, sight: Sight, held: str) -> Attempt | None:
    if app.orphan_since is None:
        return None
    due = app.orphan_since + timedelta(seconds=sight.orphan_grace_seconds)
    held = held or sight.holds_deletions
    return Attempt(What.DELETE, 0, next_at=None if held else due, held=held)


def _why_foreign(app: CloudApp, sight: Sight) -> str:
    if not app.owner:
        return "no mark of ours: only an operator may delete it"
    if sight.mark.gives(app.name) and app.owner == sight.mark.owner:
        return "it carries our mark"
    if app.owner == sight.mark.owner:
        return "it carries our id, but no name that we give: it may be this orchestrator itself"
    if app.owner == UNREADABLE:
        return "its mark can't be read, and no sandbox of ours ever had its name"
    return f"it belongs to the orchestrator {app.owner}"


def _why_anothers(app: CloudApp, sight: Sight) -> str:
    ours = sight.mark.installation
    if app.installation == ours:
        return "our mark and our installation, but no record was ever made here: by a copy of this database"
    return f"our mark, but it belongs to the installation {app.installation[:8]}, not {ours[:8]}"


def _why_orphan(app: CloudApp, former: Sandbox | None, now: datetime) -> str:
    if app.adopted_at is not None:
        why = "it was adopted by an operator"
    elif former and former.deleted_at:
        why = f"its sandbox was deleted {ago(former.deleted_at, now)} ago ({former.end_reason}), the app is back"
    else:
        why = "it carries our mark, but we have no record of it"
    since = f"for {ago(app.orphan_since, now)}" if app.orphan_since else "seen for the first time"
    return f"{why}, {since}"
