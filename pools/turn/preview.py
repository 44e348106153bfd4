"""A preview of the next turn: nothing is done. It goes by the last listing, and asks the cloud only to `rehearse`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pools.cloud.errors import EmptyListing
from pools.models import CloudApp, Fleet, Pool
from pools.shared_budget import counted
from pools.turn.attempts import Attempt
from pools.turn.decisions import Decision, Kind, digest_of
from pools.turn.facts import FleetFacts
from pools.turn.observe import Listing, gather, observe
from pools.turn.plan import plan_fleet, plan_unguarded
from pools.turn.totals import Totals, totals
from pools.turn.waiting import Waiting, waiting

NEVER_LISTED = "there was no listing yet"


@dataclass(frozen=True, slots=True)
class Explanation:
    """`held_back` are the deletions that a turn would decide and its guard would not let pass; `waiting` is what was
    asked for before and is tried again, or waits for its moment."""

    facts: FleetFacts
    decisions: Sequence[Decision]
    held_back: Sequence[Decision]
    waiting: Sequence[Waiting] = ()

    @property
    def totals(self) -> Totals:
        return totals(self.decisions, self.held_back, self.facts, self.waiting)

    @property
    def digest(self) -> str:
        """Return what stands for exactly the deletions that are held back."""
        return hashlib.sha256("\n".join(sorted(self.held_back_ids)).encode()).hexdigest()[:16]

    @property
    def held_back_ids(self) -> set[str]:
        return {decision.target for decision in self.held_back}

    def of_pool(self, pool: Pool) -> list[Decision]:
        """Return what concerns the pool: its size, and its sandboxes."""
        mine = {sandbox.id for sandbox in self.facts.sandboxes if sandbox.pool_id == pool.pk}
        return [each for each in self.decisions if each.sandbox_id in mine or each.pool_id == pool.pk]


def explain(now: datetime, apps: Sequence[CloudApp] | None = None) -> Explanation:
    """Return what a turn would decide if the cloud still is, or still can't be listed, as it was with the last try."""
    fleet = Fleet.get()
    code, error = fleet.listing_code, fleet.listing_error
    if code == EmptyListing.code:
        listing = Listing((), fleet.listed_at or now, code, error)
    elif code or fleet.listed_at is None:
        listing = Listing(None, fleet.listed_at or now, code or "never_listed", error or NEVER_LISTED)
    else:
        listed = CloudApp.objects.all() if apps is None else apps
        listing = Listing(tuple(row.app() for row in listed), fleet.listed_at)
    return explained(gather(listing, now), now)


def rehearse() -> tuple[Explanation, datetime]:
    """List the cloud, and return what a turn would decide now, without doing any of it; and the time it holds for."""
    with counted() as cloud:
        facts, now = observe(cloud)
    return explained(facts, now), now


def explained(facts: FleetFacts, now: datetime) -> Explanation:
    """Return the plan for these facts, with what its guard holds back."""
    decisions = plan_fleet(facts, now)
    held_back: list[Decision] = []
    if any(decision.kind == Kind.STOP for decision in decisions):
        guarded = [decision for decision in plan_unguarded(facts, now) if decision.is_guarded]
        held_back = [decision for decision in guarded if decision.target not in facts.approved]
    waits = list(waiting(facts, {decision.target for decision in held_back}, now))
    return Explanation(facts, decisions, held_back, waits)


def explain_plan(now: datetime) -> dict[str, Any]:
    """The same as plain values, for the API."""
    explanation = explain(now)
    fleet = Fleet.get()
    return {
        "listed_at": fleet.listed_at,
        "listing_code": fleet.listing_code,
        "listing_error": explanation.facts.listing_error,
        "digest": digest_of(explanation.decisions),
        "summary": explanation.totals.sentence(now),
        "decisions": [plain(decision) for decision in explanation.decisions],
        "held_back": [plain(decision) for decision in explanation.held_back],
        "waiting": [waited(each) for each in explanation.waiting],
    }


def waited(each: Waiting) -> dict[str, Any]:
    """What is waited for, as plain values."""
    return {"name": each.name, "app_id": each.app_id, **tried(each.attempt)}


def tried(attempt: Attempt) -> dict[str, Any]:
    """An attempt as plain values."""
    return {
        "what": attempt.what.value,
        "number": attempt.number,
        "sent_at": attempt.sent_at,
        "error": attempt.error,
        "error_code": attempt.error_code,
        "next_at": attempt.next_at,
        "held": attempt.held,
    }


def plain(decision: Decision) -> dict[str, str]:
    """A decision as plain values."""
    return {
        "kind": decision.kind.value,
        "code": decision.code.value,
        "name": decision.name,
        "app_id": decision.app_id,
        "reason": decision.reason,
    }
