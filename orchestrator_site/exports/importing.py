"""Taking an export into this database: all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from django.db import DatabaseError, models
from django.db.models import F, Max
from django.db.models.functions import Greatest

from orchestrator_site.exports.file import Unreadable, lines, require_header
from orchestrator_site.exports.rows import Encoded, Reader, Wrong, encoded, key_text
from orchestrator_site.exports.tables import BY_LABEL, HISTORY, Table
from orchestrator_site.exports.transactions import writing
from pools import journal
from pools.models import EventCursor, FleetEvent
from pools.reasons import KeyCode, LogKind
from pools.webhooks import Webhook
from runs.models import Run, Tally

ROWS_AT_ONCE = 500
LOG = "pools.fleetevent"


@dataclass(slots=True)
class Count:
    """What became of the rows of one table."""

    created: int = 0
    updated: int = 0
    same: int = 0
    left: int = 0  # it is there, and differs
    kept_out: int = 0  # this database has its own


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the file. `columns`: what a row of the database is set to; `compared`: the same, as exports say it."""

    line: int
    columns: dict[str, Any]
    compared: dict[str, Any]


def import_file(file: IO[bytes], *, replace: bool, dry_run: bool, actor: str) -> dict[str, Count]:
    """What was created, updated and left as it is, by tables. A row that is there already stays, or with `replace`
    becomes as the file has it. Raises Unreadable, and then nothing has changed."""
    try:
        with writing(dry_run=dry_run):
            counts = _import(lines(file), replace=replace)
            _write_down(counts, actor)
    except (DatabaseError, UnicodeError, OverflowError) as error:
        raise Unreadable(f"The database does not take it: {str(error).strip().splitlines()[0]}") from error
    return counts


def _write_down(counts: Mapping[str, Count], actor: str) -> None:
    """One line, for operators alone: it tells of keys and accounts."""
    changed = {
        label: [count.created, count.updated] for label, count in counts.items() if count.created or count.updated
    }
    if changed:
        told = ", ".join(f"{label} {created} new, {updated} replaced" for label, (created, updated) in changed.items())
        journal.record(LogKind.KEY, f"an export was imported: {told}", code=KeyCode.IMPORTED, actor=actor, data=changed)


def _import(read: Iterator[tuple[int, dict[str, Any]]], *, replace: bool) -> dict[str, Count]:
    require_header(next(read, (0, {}))[1])
    with_own = {table.label for table in BY_LABEL.values() if table.has_own()}  # before anything of the file is there
    reader, counts = Reader(), dict[str, Count]()
    ended: object = None
    for table, batch in _batches(read):
        if table is None:
            ended = batch[0][1]["end"]
            break
        count = counts.setdefault(table.label, Count())
        _take(table, [_row(table, reader, *each) for each in batch], count, replace, table.label in with_own)
    if ended is None:
        raise Unreadable("The file is not complete: its last line is missing.")
    if ended != {label: sum((c.created, c.updated, c.same, c.left, c.kept_out)) for label, c in counts.items()}:
        raise Unreadable("The file is not complete: it has not as many rows as its last line says.")
    if next(read, None) is not None:
        raise Unreadable("The file goes on after its last line.")
    if LOG in counts and counts[LOG].created:
        _go_on_counting()
    return counts


def _batches(
    read: Iterator[tuple[int, dict[str, Any]]],
) -> Iterator[tuple[Table | None, list[tuple[int, dict[str, Any]]]]]:
    """Rows of one table that follow one another, some hundred at once; the last line is of no table."""
    batch: list[tuple[int, dict[str, Any]]] = []
    of: Table | None = None
    for number, line in read:
        if set(line) == {"end"}:
            if batch:
                yield of, batch
            yield None, [(number, line)]
            return
        table = BY_LABEL.get(str(line.get("table")))
        if table is None or not isinstance(line.get("row"), dict):
            raise Unreadable(f"Line {number}: this version has no table {str(line.get('table'))[:80]!r}.")
        if batch and (table is not of or len(batch) == ROWS_AT_ONCE):
            yield of, batch
            batch = []
        of = table
        batch.append((number, line["row"]))


def _row(table: Table, reader: Reader, line: int, row: dict[str, Any]) -> Row:
    try:
        return Row(line, *reader.values(table, row))
    except Wrong as error:
        raise Unreadable(f"Line {line}: {str(error).rstrip('.')}.") from None


def _take(table: Table, rows: Sequence[Row], count: Count, replace: bool, has_own: bool) -> None:
    there = _there(table, rows)
    fresh: list[Row] = []
    for row in rows:
        known = there.get(key_text(table, row.compared))
        if known is None:
            fresh.append(row)
        elif all(known.values[name] == value for name, value in row.compared.items()):
            count.same += 1
        elif table.label == LOG:
            raise Unreadable(f"Line {row.line}: this database has a log of its own. History goes into an empty one.")
        elif replace and table.is_replaced:
            _update(table, known.pk, row)
            count.updated += 1
        else:
            count.left += 1
    if has_own and fresh:
        if table in HISTORY:
            what = "runs and sandboxes of its own. History goes into an empty one"
            raise Unreadable(f"Line {fresh[0].line}: this database has {what}.")
        count.kept_out += len(fresh)
        return
    _create(table, fresh)
    count.created += len(fresh)


def _there(table: Table, rows: Sequence[Row]) -> dict[str, Encoded]:
    """Those of the rows that the database has, by their keys."""
    field = table.fields[table.key[0]]
    same = table.model._base_manager.filter(**{f"{field.attname}__in": {row.columns[field.attname] for row in rows}})
    wanted = {key_text(table, row.compared) for row in rows}
    found = ((key_text(table, each.values), each) for each in encoded(table, same.order_by()))
    return {key: each for key, each in found if key in wanted}


def _create(table: Table, rows: Sequence[Row]) -> None:
    fresh = {name: value() for name, value in table.fresh.items()} if rows else {}
    made = []
    for row in rows:
        columns = {name: value for name, value in row.columns.items() if name not in table.sets}
        made.append(table.model(**fresh, **columns))
    try:
        table.model._base_manager.bulk_create(made)
    except DatabaseError as error:
        where = f"Line {rows[0].line}" if len(rows) == 1 else f"Lines {rows[0].line} to {rows[-1].line}"
        why = str(error).strip().splitlines()[0]
        raise Unreadable(f"{where}: the database does not take these rows of {table.label} ({why}).") from error
    for instance, row in zip(made, rows, strict=True):
        _set(table, instance, row)


def _update(table: Table, pk: Any, row: Row) -> None:
    columns = {name: value for name, value in row.columns.items() if name not in table.sets}
    same = table.model._base_manager.filter(pk=pk)
    same.update(**columns)
    if table.sets:
        _set(table, same.get(), row)


def _set(table: Table, instance: models.Model, row: Row) -> None:
    for name in table.sets:
        if name in row.columns:
            getattr(instance, name).set(row.columns[name])


def _go_on_counting() -> None:
    """What comes next is numbered after what has come."""
    EventCursor.objects.get_or_create(name="fleet")
    last = FleetEvent.objects.aggregate(last=Max("seq"))["last"] or 0
    EventCursor.objects.filter(name="fleet").update(last_seq=Greatest(F("last_seq"), models.Value(last)))
    Webhook.objects.filter(seq__lt=last).update(seq=last)  # nobody is told again what was before
    Tally.objects.get_or_create(pk=1)
    launches = Run.objects.aggregate(last=Max("number"))["last"] or 0
    Tally.objects.filter(pk=1).update(launches=Greatest(F("launches"), models.Value(launches)))
