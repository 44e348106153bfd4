"""How launches that asked for a warm sandbox were served: counts, from the hours' totals as far as there are any.

A launch counts in the hour in which it was asked for, which is settled once it is past: by then every launch of that
hour is served or has failed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Count, F, Max, Min, Q, Sum

from pools.moments import HOUR, Window, hour_of, is_past, within
from pools.portions import Portions
from runs.models import LaunchHour, LaunchMode, Run, ServedBy

SETTLED = timedelta(days=8)  # the hours before are looked at by nobody


class Served(NamedTuple):
    at_once: int
    waited: int
    fell_back: int


def served_since(since: datetime) -> Served:
    """Count the launches since that moment by the way in which they were served."""
    window = Window.of(since, _settled_until())
    parts = [_count(part) for part in window.rows("created_at")]
    totals = LaunchHour.objects.filter(window.hours).aggregate(*(Sum(name) for name in Served._fields))
    parts.append(Served(*(totals[f"{name}__sum"] or 0 for name in Served._fields)))
    return Served(*(sum(counts) for counts in zip(*parts, strict=True)))


def settle(now: datetime) -> Portions:
    """Write the totals of the hours that are past, one after the other."""
    begin = max(_settled_until() or hour_of(now - SETTLED), hour_of(now - SETTLED))
    while (first := Run.objects.filter(created_at__gte=begin).aggregate(at=Min("created_at"))["at"]) is not None:
        hour = hour_of(first)
        if not is_past(hour, now):
            return
        row = LaunchHour(hour=hour, **_count(within("created_at", hour))._asdict())
        LaunchHour.objects.bulk_create([row], ignore_conflicts=True)  # two that settle write the same
        begin = hour + HOUR
        yield 1


def _settled_until() -> datetime | None:
    last: datetime | None = LaunchHour.objects.aggregate(at=Max("hour"))["at"]
    return last + HOUR if last is not None else None


def _count(part: Q) -> Served:
    asked = Run.objects.filter(part, mode=LaunchMode.WARM)
    found = asked.aggregate(
        at_once=Count("pk", filter=Q(served_by=ServedBy.POOL, sandbox__ready_at__lte=F("created_at"))),
        pool=Count("pk", filter=Q(served_by=ServedBy.POOL)),
        fell_back=Count("pk", filter=Q(served_by=ServedBy.COLD_FALLBACK)),
    )
    return Served(found["at_once"], found["pool"] - found["at_once"], found["fell_back"])
