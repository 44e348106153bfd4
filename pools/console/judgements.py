"""What is to be thought of sandboxes, one or a page of them: read for them alone, and judged as on the fleet's page."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from pools.models import CloudApp, Fleet, Sandbox
from pools.occupants import Occupant
from pools.turn.verdict import Judgement, Sight, judge_sandbox
from pools.turn.waiting import STOPPED


def judgements(sandboxes: Collection[Sandbox], who: Mapping[UUID, Occupant], now: datetime) -> dict[UUID, Judgement]:
    """Judge each of these; `who` is in them. Their pools are to be read already."""
    fleet = Fleet.get()
    sight = Sight.of(fleet)
    apps = CloudApp.objects.in_bulk([each.app_id for each in sandboxes if each.app_id])
    unknown = [each.name for each in sandboxes if not each.app_id]
    by_name = {app.name: app for app in CloudApp.objects.filter(name__in=unknown)} if unknown else {}
    approved = set(fleet.approved) if fleet.approved_until and fleet.approved_until > now else set()
    return {
        each.pk: judge_sandbox(
            each,
            apps.get(each.app_id) if each.app_id else by_name.get(each.name),
            pool=each.pool,
            occupant=who.get(each.pk),
            sight=sight,
            now=now,
            held=STOPPED if fleet.stopped_at and str(each.pk) not in approved else "",
        )
        for each in sandboxes
    }
