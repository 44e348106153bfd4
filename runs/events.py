"""A run's log: numbered rows, written here and read from a cursor.

Numbers are taken under the run's row, in the transaction that writes the lines, so they become visible in order: who
resumes from one misses nothing and sees nothing twice (invariant 9). Nothing follows the `end`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models.expressions import RawSQL

from pools import clock
from pools.models import Level
from pools.moments import as_text
from pools.request_ids import noted
from pools.together import Together
from runs import demo_events
from runs.live.wakeups import wake_readers
from runs.models import OVER, EventKind, Run, RunEvent

LINE_CHARACTERS = 2_000
LINES_A_RUN = 5_000  # of its log; what else there is to say is always written
FLOODED = f"… (cut: the log has more than {LINES_A_RUN:,} lines; the rest of it is not kept)"
# Colours and cursor moves of terminals, control characters, and what UTF-8 can't say.
UNPRINTABLE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]|[\ud800-\udfff]")


class Entry(NamedTuple):
    """One line to be written."""

    kind: str
    message: str
    level: str = Level.INFO
    data: Mapping[str, Any] = {}


CUT = Entry(EventKind.LOG, FLOODED, Level.WARNING, {"cut": True})


def emit(
    run_id: UUID,
    kind: str,
    message: str,
    *,
    level: str = Level.INFO,
    data: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> None:
    """Write one event, in the caller's transaction if there is one."""
    write(run_id, [Entry(kind, message, level, data or {})], now)


@transaction.atomic(savepoint=False)
def write(run_id: UUID, entries: Sequence[Entry], now: datetime | None = None) -> None:
    """Write several events at once. A flood of log lines is cut with a visible mark, and so is a line too long."""
    locked = Run.objects.select_for_update(no_key=True).filter(pk=run_id)
    row = locked.values_list("last_seq", "state", "labels").first()
    if row is None:
        return
    seq, state, labels = row
    at = now or clock.now()
    rows: list[RunEvent] = []
    for entry in entries:
        if state in OVER and entry.kind != EventKind.END:
            continue  # a worker that has not noticed yet
        is_cut = entry.kind == EventKind.LOG and seq >= LINES_A_RUN
        if is_cut and (any(written.data.get("cut") for written in rows) or _is_cut(run_id)):
            continue
        seq += 1
        line = CUT if is_cut else entry
        rows.append(_row(run_id, seq, _labelled(line, labels) if seq == 1 else line, at))
    if rows:
        RunEvent.objects.bulk_create(rows)
        Run.objects.filter(pk=run_id).update(last_seq=seq)
        wake_readers()


def write_first(batch: Together, run: Run, entries: Sequence[Entry], at: datetime) -> None:
    """Have the first lines of a new run written in one round trip. Nobody reads it yet: nobody is woken."""
    told = [_labelled(entries[0], run.labels), *entries[1:]]
    batch.insert(*(_row(run.pk, seq, entry, at) for seq, entry in enumerate(told, 1)))


def _labelled(first: Entry, labels: Mapping[str, str]) -> Entry:
    """A run's first line, which has its labels, if there are any."""
    return first._replace(data={**first.data, "labels": labels}) if labels else first


def write_next(batch: Together, run_id: UUID, entry: Entry, at: datetime) -> None:
    """Have one more line written in one round trip, after the run's `last_seq` has grown by one. Who reads is to be
    woken by the caller."""
    at_the_end = RawSQL("(SELECT last_seq FROM runs_run WHERE id = %s)", [_adapted(run_id)])
    batch.insert(_row(run_id, at_the_end, entry, at))


def _row(run_id: UUID, seq: Any, entry: Entry, at: datetime) -> RunEvent:
    kind, message, level, data = entry
    return RunEvent(run_id=run_id, seq=seq, kind=kind, level=level, message=fit(message), data=noted(data), at=at)


def _adapted(run_id: UUID) -> Any:
    return Run._meta.pk.get_db_prep_value(run_id, connection)


def _is_cut(run_id: UUID) -> bool:
    return RunEvent.objects.filter(run_id=run_id, seq__gt=LINES_A_RUN, kind=EventKind.LOG).exists()


def fit(message: str) -> str:
    """A line that every database and terminal takes, cut with a visible mark when it is too long."""
    message = UNPRINTABLE.sub("", message.rstrip())
    if len(message) <= LINE_CHARACTERS:
        return message
    cut = f"… (cut: the line had {len(message):,} characters)"
    return message[: LINE_CHARACTERS - len(cut)] + cut


def as_json(event: RunEvent) -> dict[str, Any]:
    """An event as every reader gets it."""
    return {
        "seq": event.seq,
        "kind": event.kind,
        "level": event.level,
        "message": event.message,
        "data": event.data,
        "at": as_text(event.at),
        **demo_events.of(event),
    }


def events_after(run_id: UUID, after: int, limit: int = 500) -> list[RunEvent]:
    """The run's next events beyond a cursor, oldest first. The one way to read them."""
    return list(RunEvent.objects.filter(run_id=run_id, seq__gt=after).order_by("seq")[:limit])


def page(run_id: UUID, after: int, limit: int) -> dict[str, Any]:
    """Events beyond a cursor, and the number to ask with next."""
    found = [as_json(event) for event in events_after(run_id, after, limit)]
    return {"events": found, "after": found[-1]["seq"] if found else after}
