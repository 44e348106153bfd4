"""The apps of the account without a row of ours: orphans are noted, then deleted; all others stay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from pools.ages import ago, is_over
from pools.reasons import StepCode
from pools.turn.decisions import Decision, Kind
from pools.turn.facts import FleetFacts
from pools.turn.waits import (
    RESEND_SECONDS,
)


def untracked_of_ours(facts: FleetFacts) -> set[str]:
    """Return the ids of the apps that are ours and that no sandbox is: orphans, ordered to be deleted or not. Each
    takes a place: the account holds no more than it may."""
    ids = {sandbox.app_id for sandbox in facts.sandboxes if sandbox.app_id}
    names = {sandbox.name for sandbox in facts.sandboxes if sandbox.app_id is None}
    strays = (app for app in facts.apps or () if app.id not in ids and app.name not in names)
    return {app.id for app in strays if facts.owns(app)}


def plan_orphans(facts: FleetFacts, now: datetime) -> Iterator[Decision]:
    """Apps with our mark and no row: noted first, deleted after two complete listings and the grace. Apps that an
    operator has marked for deletion go at once; another installation's and foreign ones stay."""
    if facts.apps is None:
        return
    orphans = untracked_of_ours(facts)
    grace = timedelta(seconds=facts.orphan_grace_seconds)
    for app in facts.apps:
        if app.delete_reason:
            sent = app.delete_sent_at
            went = not app.is_listed and sent is not None and facts.listed_at > sent
            if went or sent is None or is_over(sent, RESEND_SECONDS, now):
                yield Decision(Kind.DELETE_APP, StepCode.ORDERED, app.delete_reason, app_id=app.id, name=app.name)
            continue
        if app.id not in orphans:
            continue
        if app.orphan_since is None or app.orphan_listings < 2 or now - app.orphan_since < grace:
            reason = "it was adopted" if app.adopted_at else "it carries our mark, but we have no record of it"
            yield Decision(Kind.NOTE_ORPHAN, StepCode.ORPHAN, reason, app_id=app.id, name=app.name)
        elif app.adopted_at:  # an operator has seen it and said so
            reason = f"adopted by an operator {ago(app.adopted_at, now)} ago"
            yield Decision(Kind.DELETE_APP, StepCode.ADOPTED, reason, app_id=app.id, name=app.name)
        else:
            reason = (
                f"orphan for {ago(app.orphan_since, now)}: our mark, no sandbox of ours, {app.orphan_listings} listings"
            )
            yield Decision(Kind.DELETE_ORPHAN, StepCode.GRACE_OVER, reason, app_id=app.id, name=app.name)
