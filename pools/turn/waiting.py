"""What a turn waits for: deletions and creates that were asked for, looks that failed, orphans in their grace; each
with how often it was tried and when next. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from pools.models import State
from pools.turn.attempts import CAN_NOT_SEE, Attempt, What, creation, deletion, look
from pools.turn.facts import FleetFacts
from pools.turn.plan_orphans import untracked_of_ours

STOPPED = "deletions are stopped until an operator lets them go"


@dataclass(frozen=True, slots=True)
class Waiting:
    """One sandbox or app, and what is tried with it again and again."""

    target: str
    name: str
    app_id: str
    attempt: Attempt


def waiting(facts: FleetFacts, held_back: Collection[str], now: datetime) -> Iterator[Waiting]:
    """Yield what is waited for. `held_back`: the ids of what the guard does not let be deleted."""
    held = f"{CAN_NOT_SEE}: {facts.listing_error}" if facts.listing_error else ""
    for sandbox in facts.sandboxes:
        attempt = deletion(sandbox, now, held) if sandbox.state == State.DELETING else creation(sandbox, now)
        attempt = attempt or look(sandbox)
        if attempt is not None:
            yield Waiting(str(sandbox.id), sandbox.name, sandbox.app_id or "", attempt)
    orphans = untracked_of_ours(facts)
    for app in facts.apps or ():
        if app.delete_reason:
            yield Waiting(app.id, app.name, app.id, deletion(app, now))
        elif app.id in orphans:
            due = (app.orphan_since or now) + timedelta(seconds=facts.orphan_grace_seconds)
            why = STOPPED if app.id in held_back else held
            attempt = Attempt(What.DELETE, 0, next_at=None if why else due, held=why)
            yield Waiting(app.id, app.name, app.id, attempt)
