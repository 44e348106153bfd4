"""A preview of the next turn: nothing is done. It goes by the last listing, and asks the cloud only to `rehearse`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pools.models import CloudApp, Fleet, Pool
from pools.shared_budget import counted
from pools.turn.decisions import Decision, Kind, digest_of
from pools.turn.facts import FleetFacts
from pools.turn.observe import Listing, gather, observe
from pools.turn.plan import plan_fleet, plan_unguarded
from pools.turn.totals import Totals, totals

NEVER_LISTED = "there was no listing yet"


@dataclass(frozen=True, slots=True)
class Explanation:
    """`held_back` are the deletions that a turn would decide and its guard would not let pass."""

    facts: FleetFacts
    decisions: Sequence[Decision]
    held_back: Sequence[Decision]

    @property
    def totals(self) -> Totals:
        return totals(self.decisions, self.held_back, self.facts)

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
    """Return what a turn would decide if the cloud still is as it was last listed."""
    fleet = Fleet.get()
    listed = CloudApp.objects.all() if apps is None else apps
    if fleet.listed_at is None:
        listing = Listing(None, now, fleet.listing_code or "never_listed", fleet.listing_error or NEVER_LISTED)
    else:
        listing = Listing(tuple(row.app() for row in listed), fleet.listed_at, fleet.listing_code, fleet.listing_error)
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
    return Explanation(facts, decisions, held_back)


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
