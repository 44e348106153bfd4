"""What changed how the fleet as a whole goes: alarms from when until when, stops, restarts, and what operators set.

It is read from the lines of the orchestrator log, so it reaches back for EVENTS_KEPT_DAYS.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import BooleanField, Q, QuerySet
from django.db.models.expressions import RawSQL

from pools.alarm_rows import AlarmCode, RaisedAlarm
from pools.models import FleetEvent
from pools.reasons import LogKind

# In the words of the index `event_mark`, with which alone SQLite takes it.
MARKED = (
    "(pools_fleetevent.kind IN ('alarm', 'all_clear', 'go', 'maintenance', 'pool', 'stop') "
    "OR pools_fleetevent.code IN ('process_restarted', 'turn_died'))"
)
MOST = 500  # of a chart, or looked at


@dataclass(frozen=True, slots=True)
class Incident:
    """An alarm (`until` is None while it stands), or something that happened at one moment (`until` equals `since`).
    `line` is its number in the log; None for an alarm."""

    since: datetime
    until: datetime | None
    kind: str
    code: str
    pool: str
    sentence: str
    line: int | None = None


def marked(since: datetime, until: datetime) -> QuerySet[FleetEvent]:
    """The lines of that time that are marks, by an index of their own."""
    is_marked = RawSQL(MARKED, (), output_field=BooleanField())  # noqa: S611  a constant of this module
    return FleetEvent.objects.filter(is_marked, at__gte=since, at__lte=until)


def alarms(since: datetime, until: datetime, now: datetime) -> list[Incident]:
    """Those that stood in that time, oldest first: ended ones told by the lines of their ends, others by their rows. Of
    more than MOST ends those that came next after a moment, and the newest of a span."""
    ends = marked(since, now).filter(kind=LogKind.ALL_CLEAR).order_by("at" if since == until else "-at")[:MOST]
    found = [_ended(line) for line in ends]
    found += [
        Incident(row.raised_at, None, LogKind.ALARM, row.code, row.pool_name, label(row.code))
        for row in RaisedAlarm.objects.filter(raised_at__lte=until)
    ]
    return sorted((each for each in found if each.since <= until), key=lambda each: each.since)


def moments(since: datetime, until: datetime) -> list[Incident]:
    """The other marks of that time, oldest first: of more than MOST the newest. What the autopilot sets is none."""
    by_itself = Q(kind=LogKind.POOL, actor="")
    rows = marked(since, until).exclude(kind__in=(LogKind.ALARM, LogKind.ALL_CLEAR)).exclude(by_itself)
    newest = list(rows.order_by("-at")[:MOST])
    return [Incident(e.at, e.at, e.kind, e.code, e.pool_name, e.message, e.seq) for e in reversed(newest)]


def label(code: str) -> str:
    """An alarm's code as a sentence."""
    return AlarmCode(code).label if code in AlarmCode.values else code.replace("_", " ")


def _ended(line: FleetEvent) -> Incident:
    data: dict[str, Any] = line.data
    lasted = timedelta(seconds=data.get("lasted_seconds", 0))
    return Incident(line.at - lasted, line.at, LogKind.ALARM, line.code, line.pool_name, label(line.code))
