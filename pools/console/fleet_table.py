"""The fleet as we intend it beside the fleet as DigitalOcean has it, one row for each sandbox and each app, with its
judgement. Pure: rows of both sides in, a table out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from pools.ages import ago
from pools.cloud.errors import AgentRefused
from pools.models import BEING_CREATED, CloudApp, Pool, Sandbox, State
from pools.occupants import Occupant
from pools.prices import cost_usd, usd_per_second
from pools.turn.decisions import Decision, Kind
from pools.turn.verdict import Judgement, Sight, Verdict, judge_app, judge_sandbox
from pools.turn.waiting import STOPPED

CONSOLE_URL = "https://cloud.digitalocean.com/apps/"
UNTOLD = (Kind.LOOK, Kind.PROBE, Kind.ASK, Kind.NOTE_ORPHAN, Kind.NOTE_MISSING, Kind.NOTE_FOUND, Kind.HOLD, Kind.STOP)
URGENCY = {verdict: number for number, verdict in enumerate(Verdict)}


@dataclass(frozen=True, slots=True)
class Row:
    """One sandbox, one app, or both. `next_step` is what the next turn will do with it, or what holds that up."""

    judgement: Judgement
    now: datetime
    sandbox: Sandbox | None = None
    app: CloudApp | None = None
    pool: str = ""
    occupant: Occupant | None = None
    next_step: str = ""

    @property
    def verdict(self) -> Verdict:
        return self.judgement.verdict

    @property
    def why(self) -> str:
        return self.judgement.why

    @property
    def tried(self) -> str:
        """What is tried again and again, and when next; empty when nothing is."""
        attempt = self.judgement.attempt
        return attempt.told(self.now) if attempt else ""

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
        """Its price while it is billed: a sandbox from its acceptance until it is known to be gone, whether the last
        listing shows it or not."""
        if self.sandbox is not None:
            is_billed = self.sandbox.accepted_at is not None and self.sandbox.state != State.DELETED
            return usd_per_second(self.sandbox.size) if is_billed else Decimal(0)
        return usd_per_second(self.app.size) if self.app else Decimal(0)

    @property
    def creator(self) -> str:
        return self.occupant.creator if self.occupant else ""

    @property
    def agent(self) -> str:
        """What is known of its agent."""
        return agent_of(self.sandbox, self.now) if self.sandbox else ""

    @property
    def is_well(self) -> bool:
        return self.sandbox is None or self.sandbox.health_failures == 0

    @property
    def is_open(self) -> bool:
        """Whether something may still become of it."""
        return self.sandbox is None or self.sandbox.state != State.DELETED

    @property
    def is_foreign(self) -> bool:
        """Whether it is not ours to delete: somebody else's, or another installation's."""
        return self.verdict in (Verdict.FOREIGN, Verdict.ANOTHERS)

    def says(self, words: str) -> bool:
        """Whether a search for these words finds it."""
        run = f"{self.occupant.name} {self.occupant.creator} {self.occupant.url}" if self.occupant else ""
        sandbox_id = str(self.sandbox.pk) if self.sandbox else ""
        text = f"{self.name} {self.app_id} {sandbox_id} {self.pool} {run} {self.why} {self.tried}".lower()
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


def agent_of(sandbox: Sandbox, now: datetime) -> str:
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
    """Everything the table is made from. `former` are deleted sandboxes by name: those whose app is still listed.
    `held_back` are the deletions that the guard does not let pass."""

    sight: Sight
    now: datetime
    occupants: Mapping[Any, Occupant]
    pools: Mapping[int, Pool]
    former: Mapping[str, Sandbox]
    decisions: Sequence[Decision] = ()
    held_back: Sequence[Decision] = ()

    def rows(self, sandboxes: Iterable[Sandbox], apps: Iterable[CloudApp]) -> list[Row]:
        """One row for each sandbox that is not deleted or was lost lately, and for each app that is none of them."""
        by_id = {app.app_id: app for app in apps}
        by_name = {app.name: app for app in by_id.values()}
        steps = self._steps()
        held = {each.target: STOPPED for each in self.held_back}
        rows, tracked, names = [], set(), set()
        for sandbox in sandboxes:
            app = by_id.get(sandbox.app_id) if sandbox.app_id else by_name.get(sandbox.name)
            names.add(sandbox.name)
            if app is not None:
                tracked.add(app.app_id)
            pool, occupant = self.pools.get(sandbox.pool_id or 0), self.occupants.get(sandbox.pk)
            target = str(sandbox.pk)
            judgement = judge_sandbox(
                sandbox,
                app,
                pool=pool,
                occupant=occupant,
                sight=self.sight,
                now=self.now,
                held=held.get(target, ""),
            )
            name, step = pool.name if pool else "", steps.get(target, "")
            rows.append(Row(judgement, self.now, sandbox, app, name, occupant, "" if judgement.attempt else step))
        for app_id, app in by_id.items():
            if app_id not in tracked:
                former, had_row = self.former.get(app.name), app.name in names
                judgement = judge_app(
                    app, former=former, had_row=had_row, sight=self.sight, now=self.now, held=held.get(app_id, "")
                )
                step = "" if judgement.attempt else steps.get(app_id, "")
                rows.append(Row(judgement, self.now, app=app, next_step=step))
        return rows

    def _steps(self) -> dict[str, str]:
        """What the next turn does with each, or what keeps it from that."""
        steps = {each.target: _told(each) for each in self.decisions if each.kind not in UNTOLD}
        return steps | {each.target: f"held: {_told(each)}; {STOPPED}" for each in self.held_back}


def _told(decision: Decision) -> str:
    return f"{decision.kind.replace('_', ' ')}: {decision.reason}"
