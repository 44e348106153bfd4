"""The fleet as we intend it beside the fleet as DigitalOcean has it, one row for each sandbox and each app, with a
verdict. Pure: rows of both sides in, a table out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pools.ages import ago
from pools.cloud.app_spec import OWNER_KEY
from pools.cloud.errors import AgentRefused
from pools.cloud.records import UNREADABLE, Phase, is_disowned
from pools.models import BEING_CREATED, ON_THE_WAY, CloudApp, Origin, Pool, Sandbox, State
from pools.occupants import Occupant
from pools.ownership import Standing
from pools.prices import cost_usd, usd_per_second
from pools.turn.decisions import Decision, Kind
from pools.turn.facts import FleetFacts
from pools.turn.waits import RESEND_SECONDS, SETTLE_SECONDS

STUCK_DELETING_SECONDS = 300
OVERDUE_SECONDS = 60  # an expired sandbox is retired by the next turn, at most a minute later
CONSOLE_URL = "https://cloud.digitalocean.com/apps/"
UNTOLD = (Kind.LOOK, Kind.PROBE, Kind.ASK, Kind.NOTE_ORPHAN, Kind.NOTE_MISSING, Kind.NOTE_FOUND, Kind.HOLD, Kind.STOP)


class Verdict(StrEnum):
    """Whether a row's two sides agree, and how not; the most urgent first."""

    ORPHAN = "orphan"
    ANOTHERS = "another installation"
    LOST = "lost"
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
    Verdict.ORPHAN: "It carries our mark and costs money, but we have no record of it. The machine deletes it after a "
    "grace; force delete is quicker.",
    Verdict.ANOTHERS: "It carries our mark, and another database made it: a second orchestrator runs with our "
    "ORCHESTRATOR_ID, or this database was emptied or restored. The machine never touches it; it takes a place. "
    "`manage.py adopt` takes it over.",
    Verdict.LOST: "DigitalOcean does not have what we had. A run in it ends, the pool replaces it; nothing is to be "
    "done. It is shown for an hour.",
    Verdict.DRIFTING: "The two sides differ, as is said beside it. Turns put most of that right; if they don't, force "
    "delete it.",
    Verdict.UNKNOWN: "DigitalOcean was never listed. Look now.",
    Verdict.DELETING: "It is to be deleted, and that is repeated until it is gone.",
    Verdict.FOREIGN: "It is not ours: the machine never touches it. An operator can delete it by typing its name.",
    Verdict.IN_STEP: "Both sides agree.",
}
URGENCY = {verdict: number for number, verdict in enumerate(Verdict)}


@dataclass(frozen=True, slots=True)
class Row:
    """One sandbox, one app, or both. `why` says what the verdict rests on, `next_step` what the machine will do."""

    verdict: Verdict
    why: str
    now: datetime
    sandbox: Sandbox | None = None
    app: CloudApp | None = None
    pool: str = ""
    occupant: Occupant | None = None
    next_step: str = ""

    @property
    def key(self) -> str:
        """Names the row from one request to the next."""
        if self.sandbox is not None:
            return f"sandbox:{self.sandbox.pk}"
        return f"app:{self.app.app_id}" if self.app else ""

    @property
    def name(self) -> str:
        return self.sandbox.name if self.sandbox else self.app.name if self.app else ""

    @property
    def app_id(self) -> str:
        return (self.app.app_id if self.app else self.sandbox.app_id if self.sandbox else "") or ""

    @property
    def console_url(self) -> str:
        return CONSOLE_URL + self.app_id if self.app_id else ""

    @property
    def state(self) -> str:
        return self.sandbox.get_state_display() if self.sandbox else ""

    @property
    def state_age_seconds(self) -> float | None:
        return _age(state_since(self.sandbox), self.now) if self.sandbox else None

    @property
    def phase(self) -> str:
        return self.app.phase if self.app else ""

    @property
    def app_age_seconds(self) -> float | None:
        return _age(self.app.app_created_at, self.now) if self.app else None

    @property
    def begun_at(self) -> datetime:
        """The moment its story began, on either side."""
        if self.sandbox is not None:
            return self.sandbox.requested_at
        return self.app.app_created_at if self.app else self.now

    @property
    def expires_in_seconds(self) -> float | None:
        expires_at = self.sandbox.expires_at if self.sandbox and self.sandbox.state == State.IN_USE else None
        return (expires_at - self.now).total_seconds() if expires_at else None

    @property
    def cost_usd(self) -> Decimal:
        if self.sandbox is not None:
            return self.sandbox.cost_usd(self.now)
        if self.app is None:
            return Decimal(0)
        return cost_usd(self.app.size, (self.now - self.app.app_created_at).total_seconds())

    @property
    def usd_per_second(self) -> Decimal:
        """Its price while it exists in the cloud."""
        if self.app is None:
            return Decimal(0)
        return usd_per_second(self.sandbox.size if self.sandbox else self.app.size)

    @property
    def creator(self) -> str:
        return self.occupant.creator if self.occupant else ""

    @property
    def health(self) -> str:
        return health_of(self.sandbox, self.now) if self.sandbox else ""

    @property
    def is_well(self) -> bool:
        return self.sandbox is None or self.sandbox.health_failures == 0

    @property
    def is_foreign(self) -> bool:
        """Whether it is not ours to delete: somebody else's, or another installation's."""
        return self.verdict in (Verdict.FOREIGN, Verdict.ANOTHERS)

    def says(self, words: str) -> bool:
        """Whether a search for these words finds it."""
        run = f"{self.occupant.name} {self.occupant.creator} {self.occupant.url}" if self.occupant else ""
        sandbox_id = str(self.sandbox.pk) if self.sandbox else ""
        text = f"{self.name} {self.app_id} {sandbox_id} {self.pool} {run} {self.why}".lower()
        return all(word in text for word in words.lower().split())


def _age(since: datetime | None, now: datetime) -> float | None:
    return max(0.0, (now - since).total_seconds()) if since else None


def state_since(sandbox: Sandbox) -> datetime:
    """Return when the sandbox came into its present state."""
    moments = {
        State.CREATING: sandbox.create_sent_at,
        State.STAGING: sandbox.staging_started_at,
        State.READY: sandbox.ready_at,
        State.IN_USE: sandbox.acquired_at,
        State.DELETING: sandbox.delete_requested_at,
        State.DELETED: sandbox.deleted_at,
    }
    return moments.get(State(sandbox.state)) or sandbox.requested_at


def health_of(sandbox: Sandbox, now: datetime) -> str:
    """Return what is known of its agent, for people."""
    if sandbox.health_failures and sandbox.trouble_code == AgentRefused.code:
        return "refuses our token"
    if sandbox.health_failures:
        return f"no answer, {sandbox.health_failures} look{'s' if sandbox.health_failures > 1 else ''}"
    if sandbox.healthy_at is None and sandbox.state in BEING_CREATED:
        return ""  # it was asked about, and did not answer yet
    checked_at = sandbox.health_checked_at or sandbox.healthy_at
    return f"well {ago(checked_at, now)} ago" if checked_at else ""


@dataclass(frozen=True, slots=True)
class FleetTable:
    """Everything the table is made from. `former` are deleted sandboxes by name: those whose app is still listed."""

    facts: FleetFacts
    now: datetime
    occupants: Mapping[Any, Occupant]
    pools: Mapping[int, Pool]
    former: Mapping[str, Sandbox]
    decisions: Sequence[Decision] = ()

    def rows(self, sandboxes: Iterable[Sandbox], apps: Iterable[CloudApp]) -> list[Row]:
        """One row for each sandbox that is not deleted or was lost lately, and for each app that is none of them."""
        by_id = {app.app_id: app for app in apps}
        by_name = {app.name: app for app in by_id.values()}
        planned = {
            decision.sandbox_id or decision.app_id: decision
            for decision in self.decisions
            if decision.kind not in UNTOLD
        }
        rows, tracked = [], set()
        for sandbox in sandboxes:
            app = by_id.get(sandbox.app_id) if sandbox.app_id else by_name.get(sandbox.name)
            verdict, why = self._judge(sandbox, app)
            if app is not None:
                tracked.add(app.app_id)
            pool = self.pools.get(sandbox.pool_id or 0)
            rows.append(
                Row(
                    verdict,
                    why,
                    self.now,
                    sandbox,
                    app,
                    pool=pool.name if pool else "",
                    occupant=self.occupants.get(sandbox.pk),
                    next_step=_told(planned.get(sandbox.pk)),
                )
            )
        standings = {app.id: self.facts.standing(app) for app in self.facts.apps or ()}
        for app_id, app in by_id.items():
            if app_id not in tracked:
                verdict, why = self._judge_untracked(app, standings.get(app_id, Standing.FOREIGN))
                rows.append(Row(verdict, why, self.now, app=app, next_step=_told(planned.get(app_id))))
        return rows

    # Sandboxes.

    def _judge(self, sandbox: Sandbox, app: CloudApp | None) -> tuple[Verdict, str]:
        if sandbox.state == State.DELETED:
            return Verdict.LOST, sandbox.end_reason
        if sandbox.state == State.DELETING:
            return self._judge_deletion(sandbox, app)
        if self.facts.apps is None:
            return Verdict.UNKNOWN, "DigitalOcean was never seen yet"
        if app is None:
            return self._judge_absence(sandbox)
        drifts = list(self._drifts(sandbox, app))
        return (Verdict.DRIFTING, "; ".join(drifts)) if drifts else (Verdict.IN_STEP, "")

    def _judge_deletion(self, sandbox: Sandbox, app: CloudApp | None) -> tuple[Verdict, str]:
        since = sandbox.delete_requested_at or self.now
        if self.now - since > timedelta(seconds=STUCK_DELETING_SECONDS):
            trouble = f": {sandbox.trouble}" if sandbox.trouble else ""
            where = "still there" if app else "not confirmed gone"
            return Verdict.DRIFTING, f"to be deleted for {ago(since, self.now)} and {where}{trouble}"
        return Verdict.DELETING, sandbox.end_reason

    def _judge_absence(self, sandbox: Sandbox) -> tuple[Verdict, str]:
        now, listed_at = self.now, self.facts.listed_at
        trouble = f": {sandbox.trouble}" if sandbox.trouble else ""
        if sandbox.app_id is None:
            asked_at = sandbox.create_sent_at or sandbox.requested_at
            if now - asked_at > timedelta(seconds=RESEND_SECONDS):
                return Verdict.DRIFTING, f"asked for {ago(asked_at, now)} ago, not accepted yet{trouble}"
            return Verdict.IN_STEP, "DigitalOcean is being asked for it"
        if sandbox.missing_since is not None:
            since = f"missing from every listing for {ago(sandbox.missing_since, now)}"
            return Verdict.LOST, f"DigitalOcean does not have it: {since}"
        is_new = sandbox.accepted_at and listed_at - sandbox.accepted_at <= timedelta(seconds=SETTLE_SECONDS)
        if is_new and not sandbox.url:  # with an address it was listed before
            return Verdict.IN_STEP, "new: the listing may not show it yet"
        return Verdict.LOST, "DigitalOcean does not have it: missing from the last listing"

    def _drifts(self, sandbox: Sandbox, app: CloudApp) -> Iterator[str]:
        now = self.now
        if app.owner != self.facts.orchestrator_id:
            yield f"its {OWNER_KEY} is {app.owner or 'gone'}, not {self.facts.orchestrator_id}"
        elif is_disowned(app, self.facts.mark):
            yield "another installation's app has its name"
        elif sandbox.app_id is None:
            yield "the answer to its create was lost; the next turn takes the app up by its name"
        if app.name != sandbox.name:
            yield f"it was renamed to {app.name}"
        if app.delete_reason:
            yield f"its app is ordered to be deleted: {app.delete_reason}"
        yield from self._phase_drifts(sandbox, app)
        if app.region and app.region[:3] != sandbox.region[:3]:
            yield f"we asked for region {sandbox.region}, it is in {app.region}"
        if app.size and app.size != sandbox.size:
            yield f"we asked for {sandbox.size}, it is {app.size}"
        if sandbox.health_failures and sandbox.trouble_code == AgentRefused.code:
            yield f"its agent refuses our token: {sandbox.trouble}"
        elif sandbox.health_failures:
            count = sandbox.health_failures
            yield f"its agent did not answer {count} look{'s' if count > 1 else ''}: {sandbox.trouble}".rstrip(": ")
        yield from self._use_drifts(sandbox)
        if sandbox.origin == Origin.POOL and sandbox.pool_id is None:
            yield "its pool was deleted, so nobody will take it"
        if sandbox.expires_at and now - sandbox.expires_at > timedelta(seconds=OVERDUE_SECONDS):
            yield f"its lifetime ended {ago(sandbox.expires_at, now)} ago"

    def _phase_drifts(self, sandbox: Sandbox, app: CloudApp) -> Iterator[str]:
        if sandbox.state in (State.STAGING, State.READY, State.IN_USE):
            if app.phase != Phase.ACTIVE:
                yield f"we say {sandbox.get_state_display().lower()}, DigitalOcean says {app.phase}"
            elif app.url and sandbox.url and app.url != sandbox.url:
                yield f"its address is now {app.url}"
        elif app.phase in (Phase.ERROR, Phase.CANCELED):
            yield f"its deployment ended in {app.phase}: {app.failure or 'no reason given'}"
        pool = self.pools.get(sandbox.pool_id or 0)
        timeout = timedelta(seconds=pool.create_timeout_seconds if pool else 600)
        if sandbox.state in ON_THE_WAY and self.now - sandbox.requested_at > timeout:
            yield f"not ready after {ago(sandbox.requested_at, self.now)}"

    def _use_drifts(self, sandbox: Sandbox) -> Iterator[str]:
        if sandbox.state != State.IN_USE:
            return
        occupant = self.occupants.get(sandbox.pk)
        if occupant is None and sandbox.origin == Origin.POOL:
            yield "in use, but no run has it"
        elif occupant is not None and occupant.is_over:
            yield f"{occupant.name} in it is over"

    # Apps that no sandbox is.

    def _judge_untracked(self, app: CloudApp, standing: Standing) -> tuple[Verdict, str]:
        former = self.former.get(app.name)
        if app.delete_reason:
            sent = f", last sent {ago(app.delete_sent_at, self.now)} ago" if app.delete_sent_at else ""
            return Verdict.DELETING, f"{app.delete_reason}{sent}"
        if standing == Standing.ANOTHERS:
            return Verdict.ANOTHERS, self._why_anothers(app)
        if standing == Standing.FOREIGN:
            return Verdict.FOREIGN, self._why_foreign(app)
        if former and former.deleted_at and former.deleted_at >= self.facts.listed_at:
            return Verdict.DELETING, f"deleted since the last listing: {former.end_reason}"
        return Verdict.ORPHAN, self._why_orphan(app, former)

    def _why_foreign(self, app: CloudApp) -> str:
        if not app.owner:
            return "no mark of ours: only an operator may delete it"
        if self.facts.mark.gives(app.name) and app.owner == self.facts.orchestrator_id:
            return "it carries our mark"
        if app.owner == self.facts.orchestrator_id:
            return "it carries our id, but no name that we give: it may be this orchestrator itself"
        if app.owner == UNREADABLE:
            return "its mark can't be read, and no sandbox of ours ever had its name"
        return f"it belongs to the orchestrator {app.owner}"

    def _why_anothers(self, app: CloudApp) -> str:
        if app.installation == self.facts.installation:
            return "our mark and our installation, but no record was ever made here: by a copy of this database"
        return f"our mark, but it belongs to the installation {app.installation[:8]}, not {self.facts.installation[:8]}"

    def _why_orphan(self, app: CloudApp, former: Sandbox | None) -> str:
        if app.adopted_at is not None:
            why = "it was adopted by an operator"
        else:
            why = "it carries our mark, but we have no record of it"
        if former and former.deleted_at and app.adopted_at is None:
            why = (
                f"its sandbox was deleted {ago(former.deleted_at, self.now)} ago ({former.end_reason}), the app is back"
            )
        if app.orphan_since is None:
            return f"{why}; seen for the first time"
        due = app.orphan_since + timedelta(seconds=self.facts.orphan_grace_seconds)
        left = max(0, round((due - self.now).total_seconds()))
        machine = f"the machine deletes it in {left} s" if left else "the machine deletes it now"
        return f"{why}, for {ago(app.orphan_since, self.now)}; {machine}"


def _told(decision: Decision | None) -> str:
    return f"{decision.kind.replace('_', ' ')}: {decision.reason}" if decision else ""
