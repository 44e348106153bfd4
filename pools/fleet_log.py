"""The orchestrator log as everybody may read it: what happened to which sandbox and why, never who asked.

A run's full id opens that run, and an operator's name is nobody's business: neither leaves here.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from pools.edits import edit_in
from pools.models import EventCursor, Fleet, FleetEvent, Sandbox
from pools.moments import as_text
from pools.reasons import PRIVATE, LogKind, StepCode

PAGE = 500
NEWS_FOR = timedelta(hours=1)
WRONG_IDS_LOOKED_AT = 20
MISCOUNT_TOLD_FOR = timedelta(minutes=3)  # each turn counts again, and one comes every minute
HIGHEST_CURSOR = 2**53  # beyond it JavaScript can't count


def as_json(event: FleetEvent) -> dict[str, Any]:
    """An event as every reader gets it."""
    return {
        "seq": event.seq,
        "kind": event.kind,
        "code": event.code,
        "level": event.level,
        "message": event.message,
        "data": {
            "sandbox": event.sandbox_name,
            "app_id": event.app_id,
            "pool": event.pool_name,
            "run": event.run_id.hex[:8] if event.run_id else "",
            **({"changes": event.data["changes"]} if edit_in(event.data) else {}),
        },
        "at": as_text(event.at),
    }


def events_after(after: int, limit: int = PAGE) -> list[FleetEvent]:
    """The next events beyond a cursor, oldest first."""
    return list(FleetEvent.objects.filter(seq__gt=after).exclude(kind__in=PRIVATE).order_by("seq")[:limit])


def latest(limit: int = 50) -> list[FleetEvent]:
    """The last events, oldest first."""
    return list(FleetEvent.objects.exclude(kind__in=PRIVATE).order_by("-seq")[:limit])[::-1]


def turn_death(fleet: Fleet) -> FleetEvent | None:
    """Return the line about the last turn, if it died; None once another has ended well."""
    trouble = FleetEvent.objects.filter(kind=LogKind.TROUBLE, code=StepCode.TURN_DIED)
    if fleet.turned_at is not None:
        trouble = trouble.filter(at__gt=fleet.turned_at)
    return trouble.order_by("-at", "-seq").first()  # by time first: by number, the whole log would be looked through


def wrong_id(now: datetime) -> FleetEvent | None:
    """Return the line about the last id of ours that turned out to be another app's, until that sandbox is known by its
    own, or gone."""
    lines = list(_news(StepCode.ID_OF_ANOTHER, NEWS_FOR, now)[:WRONG_IDS_LOOKED_AT])
    rows = Sandbox.objects.existing().filter(name__in=[line.sandbox_name for line in lines])
    doubtful = {sandbox.name for sandbox in rows if not sandbox.is_known}
    return next((line for line in lines if line.sandbox_name in doubtful), None)


def miscount(now: datetime) -> FleetEvent | None:
    """Return the last line about launches that were counted wrongly, until some turns have found the count right."""
    return _news(StepCode.MISCOUNTED, MISCOUNT_TOLD_FOR, now).first()


def _news(code: StepCode, told_for: timedelta, now: datetime) -> QuerySet[FleetEvent]:
    return FleetEvent.objects.filter(at__gt=now - told_for, code=code).order_by("-seq")


def last_seq() -> int:
    """The number of the last event; 0 before the first."""
    return EventCursor.objects.filter(name="fleet").values_list("last_seq", flat=True).first() or 0


def page(after: int | None, limit: int) -> dict[str, Any]:
    """Lines beyond a cursor, or the last ones, and the number to ask with next."""
    found = [as_json(event) for event in (latest(limit) if after is None else events_after(after, limit))]
    logs = [{"timestamp": line["at"], "level": line["level"], "message": line["message"]} for line in found]
    return {"events": found, "after": found[-1]["seq"] if found else after or 0, "logs": logs, "count": len(logs)}
