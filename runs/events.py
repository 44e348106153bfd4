"""What a run says: numbered rows, written here and read from a cursor."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from pools.models import Level
from pools.wakeup import wake_on_commit
from runs.models import EventKind, Run, RunEvent

CHANNEL = "events"
LINE_CHARACTERS = 2_000
LINES_A_RUN = 5_000
CUT = "… (cut: the line was longer)"
FLOODED = f"… (cut: more than {LINES_A_RUN:,} lines; the rest of the log is not kept)"


@transaction.atomic
def emit(
    run_id: UUID,
    kind: str,
    message: str,
    *,
    level: str = Level.INFO,
    data: dict[str, Any] | None = None,
    now: datetime | None = None,
) -> None:
    """Write one event. The number is taken under the run's row, so numbers become visible in order. A flood of log
    lines is cut with a visible mark; what else there is to say is always written."""
    if not Run.objects.filter(pk=run_id).update(last_seq=F("last_seq") + 1):
        return
    seq = Run.objects.values_list("last_seq", flat=True).get(pk=run_id)
    if kind == EventKind.LOG and seq > LINES_A_RUN:
        if RunEvent.objects.filter(run_id=run_id, data__cut=True).exists():
            Run.objects.filter(pk=run_id).update(last_seq=seq - 1)
            return
        message, level, data = FLOODED, Level.WARNING, {"cut": True}
    if len(message) > LINE_CHARACTERS:
        message = message[: LINE_CHARACTERS - len(CUT)] + CUT
    RunEvent.objects.create(
        run_id=run_id, seq=seq, kind=kind, level=level, message=message, data=data or {}, at=now or timezone.now()
    )
    wake_on_commit(CHANNEL)


def as_json(event: RunEvent) -> dict[str, Any]:
    """An event as every reader gets it."""
    return {
        "seq": event.seq,
        "kind": event.kind,
        "level": event.level,
        "message": event.message,
        "data": event.data,
        "at": event.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


def events_after(run_id: UUID, after: int, limit: int = 500) -> list[RunEvent]:
    """The run's next events beyond a cursor, oldest first. The one way to read them."""
    return list(RunEvent.objects.filter(run_id=run_id, seq__gt=after).order_by("seq")[:limit])
