"""A plan in one line: how much it would create and delete, what is held and why, what is under way. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pools.models import BEING_CREATED, State
from pools.turn.attempts import CAN_NOT_SEE, What, refused
from pools.turn.decisions import Decision, Kind
from pools.turn.facts import FleetFacts, SandboxFacts
from pools.turn.waiting import Waiting
from pools.turn.waits import RESEND_SECONDS

CREATES = {Kind.CREATE, Kind.SEND_CREATE}
DELETES = {
    *(Kind.FAIL, Kind.RETIRE, Kind.LOSE, Kind.BURY, Kind.EXPIRE),
    *(Kind.SEND_DELETE, Kind.DELETE_ORPHAN, Kind.DELETE_APP),
}
HOLDS = {Kind.HOLD, Kind.STOP}


@dataclass(frozen=True, slots=True)
class Totals:
    """Of distinct sandboxes, apps and pools. Looks change nothing, and are in none."""

    to_create: int
    to_delete: int
    targets: int  # of pools, that the autopilot moves
    to_check: int  # asked about, noted, staged
    held: int  # deletions that are held back, and pools that create nothing for now
    why_held: tuple[str, ...]
    creating: int  # under way, with nothing to be done this turn
    deleting: int
    delete_again_at: datetime | None  # the first of those that were sent
    refused: int = 0  # deletions that failed when they were asked for last
    refusal: str = ""  # why that of the most tries did
    unwell: int = 0  # sandboxes that failed their last look, or that no listing shows
    blind: str = ""  # why DigitalOcean can't be seen

    @property
    def is_as_wished(self) -> bool:
        """Whether nothing is due, held, under way, unwell or unseen."""
        is_quiet = not (self.is_change_due or self.held or self.creating or self.deleting)
        return is_quiet and not (self.refused or self.unwell or self.blind)

    @property
    def is_change_due(self) -> bool:
        return bool(self.to_create or self.to_delete or self.targets or self.to_check)

    def sentence(self, now: datetime) -> str:
        """Return the line that every surface shows."""
        if self.is_as_wished:
            return "Nothing to do: the fleet is as it should be."
        due = [
            (self.to_create, "to create"),
            (self.to_delete, "to delete"),
            (self.targets, "of the pools to resize"),
            (self.to_check, "to check"),
        ]
        parts = [f"{count} {what}" for count, what in due if count]
        if not parts:
            parts = ["Nothing is deleted, or made for the pools" if self.blind else "Nothing to do now"]
        # What is held for want of sight is told once, at the end.
        why_held = [why for why in self.why_held if not self.blind or self.blind not in why]
        if self.held and why_held:
            parts.append(f"{self.held} held: {'; '.join(why_held)}")
        under_way = f"{self.creating} being created" if self.creating else ""
        if self.deleting:
            under_way += f"{' and ' if under_way else ''}{self.deleting} being deleted{self._again(now)}"
        troubles = [under_way] if under_way else []
        if self.refused:
            troubles.append(f"{self.refused} refused: {self.refusal}")
        if self.unwell:
            troubles.append(f"{self.unwell} missing or not well")
        if self.blind:
            troubles.append(f"{CAN_NOT_SEE}: {self.blind.rstrip('.')}")
        return f"{'; '.join([', '.join(parts), *troubles])}."

    def _again(self, now: datetime) -> str:
        if self.delete_again_at is None:
            return ""
        return f" (asked for again in {max(0, round((self.delete_again_at - now).total_seconds()))} s)"


def totals(
    decisions: Sequence[Decision], held_back: Sequence[Decision], facts: FleetFacts, waits: Iterable[Waiting] = ()
) -> Totals:
    """Return the totals of a plan. `held_back` are the deletions that its guard did not let pass, `waits` what was
    asked for before."""
    deletes = {each.target for each in decisions if each.kind in DELETES}
    creates = [each for each in decisions if each.kind in CREATES]
    targets = {each.target for each in decisions if each.kind == Kind.SET_TARGET}
    rest = DELETES | CREATES | HOLDS | {Kind.LOOK, Kind.SET_TARGET}
    held = {each.target for each in held_back}
    checks = {each.target for each in decisions if each.kind not in rest} - deletes - held
    holds = [each for each in decisions if each.kind in HOLDS]
    pools = {each.pool_id for each in holds if each.kind == Kind.HOLD}
    busy = deletes | checks | {each.target for each in creates}
    deleting, sent = _being_deleted(facts, busy)
    failed = refused(each.attempt for each in waits if each.attempt.what != What.LOOK)
    return Totals(
        to_create=len(creates),
        to_delete=len(deletes),
        targets=len(targets),
        to_check=len(checks),
        held=len(held) + len(pools),
        why_held=tuple(dict.fromkeys(each.reason for each in holds)),
        creating=sum(each.state in BEING_CREATED and str(each.id) not in busy for each in facts.sandboxes),
        deleting=deleting,
        delete_again_at=min(sent) + timedelta(seconds=RESEND_SECONDS) if sent else None,
        refused=len(failed),
        refusal=failed[0].error.rstrip(".") if failed else "",
        unwell=sum(is_unwell(each, facts) for each in facts.sandboxes),
        blind=facts.listing_error,
    )


def is_unwell(sandbox: SandboxFacts, facts: FleetFacts) -> bool:
    """Whether it failed its last look, or is missing from a listing that can be relied on; of what is to be deleted,
    neither matters."""
    is_missing = sandbox.vanished_at is not None or (sandbox.missing_since is not None and facts.is_trusted)
    return sandbox.state != State.DELETING and (sandbox.health_failures > 0 or is_missing)


def _being_deleted(facts: FleetFacts, busy: set[str]) -> tuple[int, list[datetime]]:
    """How many nothing is decided about now, and when their deletions were sent."""
    rows = {str(each.id): each.delete_sent_at for each in facts.sandboxes if each.state == State.DELETING}
    apps = {app.id: app.delete_sent_at for app in facts.apps or () if app.delete_reason}
    waiting = {target: sent for target, sent in (rows | apps).items() if target not in busy}
    return len(waiting), [sent for sent in waiting.values() if sent is not None]
