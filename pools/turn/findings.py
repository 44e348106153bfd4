"""What a turn found of sandboxes and apps, kept from when until when: rows are written when it changes, none while all
is well."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import NamedTuple

from django.db import transaction

from pools.cloud.fitting import fitted
from pools.history_rows import Finding, FindingCode
from pools.leases import LeaseLost
from pools.models import State
from pools.ownership import Standing
from pools.turn.facts import FleetFacts

logger = logging.getLogger("pools")
DETAIL_CHARACTERS = 300
OF_APPS = {
    Standing.OURS: FindingCode.ORPHAN,
    Standing.ANOTHERS: FindingCode.ANOTHERS,
    Standing.FOREIGN: FindingCode.FOREIGN,
}
IN_LISTINGS = (FindingCode.MISSING, *OF_APPS.values())  # what only a complete listing tells


class Found(NamedTuple):
    """What is found of whom."""

    code: str
    name: str
    app_id: str


def note(facts: FleetFacts, now: datetime) -> None:
    """Begin and end the findings that changed. Trouble with it ends no turn."""
    try:
        with transaction.atomic():
            _note(facts, now)
    except LeaseLost:
        raise
    except Exception:
        logger.exception("What the turn found could not be kept.")


def _note(facts: FleetFacts, now: datetime) -> None:
    found = found_in(facts)
    was = {Found(row.code, row.name, row.app_id): row.pk for row in Finding.objects.filter(until=None)}
    ended = [pk for each, pk in was.items() if each not in found and (facts.is_trusted or each.code not in IN_LISTINGS)]
    if ended:
        Finding.objects.filter(pk__in=ended).update(until=now)
    begun = [
        Finding(**each._asdict(), since=min(since or now, now), detail=fitted(detail, DETAIL_CHARACTERS))
        for each, (since, detail) in found.items()
        if each not in was
    ]
    Finding.objects.bulk_create(begun, ignore_conflicts=True)


def found_in(facts: FleetFacts) -> dict[Found, tuple[datetime | None, str]]:
    """What there is to be found, with since when, where that is known, and what more is to be said. Pure."""
    found: dict[Found, tuple[datetime | None, str]] = {}
    for sandbox in facts.sandboxes:
        app_id = sandbox.app_id or ""
        if sandbox.missing_since is not None and sandbox.state != State.DELETING:
            found[Found(FindingCode.MISSING, sandbox.name, app_id)] = sandbox.missing_since, ""
        if sandbox.health_failures:
            found[Found(FindingCode.UNWELL, sandbox.name, app_id)] = sandbox.unwell_since, sandbox.trouble
    if facts.apps is None or not facts.is_trusted:
        return found
    ids = {sandbox.app_id for sandbox in facts.sandboxes if sandbox.app_id}
    names = {sandbox.name for sandbox in facts.sandboxes if sandbox.app_id is None}
    for app in facts.apps:
        if app.is_listed and app.id not in ids and app.name not in names:
            found[Found(OF_APPS[facts.standing(app)], app.name, app.id)] = app.orphan_since, app.phase.value
    return found
