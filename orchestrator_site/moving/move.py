"""Moving the whole installation from its SQLite file to an empty PostgreSQL database, while its processes run.

They read on meanwhile and wait to write; afterwards the old file refuses whatever they write (`mark`). Interrupted at
any moment, the move is simply run again: what it left behind tells it how far it came.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import uuid4

import psycopg
from django.conf import settings
from django.db import OperationalError, connection, transaction

from orchestrator_site.moving import mark, target
from orchestrator_site.moving.rows import ROWS_AT_ONCE, Refused, Table, count, put, read, tables
from pools.models import Fleet

SAY_EVERY_ROWS = 50 * ROWS_AT_ONCE

Say = Callable[[str], None]
Target = psycopg.Connection[Any]


class Closed(Exception):
    """The old file is closed, with a sentence about what is to be done."""


def move(address: str, now: datetime, say: Say, *, dry_run: bool) -> None:
    """Raises Refused, and then both are as they were, but that the target may have empty tables; or Closed."""
    if not settings.DATABASE_IS_SQLITE:
        raise Refused("The database in use is PostgreSQL already: call this without DATABASE_URL.")
    with target.connected(address) as to:
        try:
            if old := mark.moved(str(settings.DATABASES["default"]["NAME"])):
                _complete(to, old, dry_run=dry_run)
            else:
                _begin(address, to, now, say, dry_run=dry_run)
        except psycopg.Error as error:
            raise Refused(f"The target failed: {str(error).strip().splitlines()[0]}.") from error
        except OperationalError as error:
            raise Refused(f"This database can't be used now ({error}): try again in a moment.") from error


def _complete(to: Target, old: mark.Moved, *, dry_run: bool) -> None:
    """A move that ended after the old file was closed: all that is missing is to open its copy."""
    copy = mark.unfinished(to.cursor())
    if copy is None or copy.move_id != old.move_id:
        raise Closed(old.sentence)
    if not dry_run:
        with _uninterrupted_at_the_end() as end:
            end()
            _open(to)


def _begin(address: str, to: Target, now: datetime, say: Say, *, dry_run: bool) -> None:
    target.require_migrated_source()
    copy, all_tables = mark.unfinished(to.cursor()), tables()
    installation = str(Fleet.objects.values_list("installation", flat=True).first())
    if copy is None:
        target.require_empty(to, all_tables)
    elif copy.installation != installation:
        raise Refused("The target has the unfinished copy of another installation. Name an empty database.")
    if dry_run:
        _tell(all_tables, say)
        return
    if copy is not None:
        say("An earlier move did not come to its end: its copy is made anew.")
        with _alone(), to.transaction():
            mark.open_copy(to.cursor())
            target.empty(to, all_tables)
    target.migrate(address, to)
    move_id = str(uuid4())
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA synchronous = FULL")  # of this connection: that it was moved outlives a power cut
    with _uninterrupted_at_the_end() as end:
        with _alone():
            with to.transaction():
                target.lock(to, all_tables)
                target.require_empty(to, all_tables)
                _fill(to, all_tables, say)
                mark.close_copy(to.cursor(), mark.Unfinished(move_id, installation), _names(all_tables))
                end()
            with connection.cursor() as cursor:
                mark.close_old_file(cursor, mark.Moved(move_id, _sentence(to, now)))
        _open(to)


@contextmanager
def _alone() -> Iterator[None]:
    """Meanwhile nobody writes to the old file, and no other move has a copy of which that file does not know. Raises
    Closed when another has ended."""
    with transaction.atomic(durable=True):
        if old := mark.moved(str(settings.DATABASES["default"]["NAME"])):
            raise Closed(old.sentence)
        yield


def _fill(to: Target, all_tables: list[Table], say: Say) -> None:
    target.empty(to, all_tables)
    for table in all_tables:
        rows = 0
        for some in read(table):
            put(to, table, some)
            rows += len(some)
            if rows % SAY_EVERY_ROWS == 0:
                say(f"{table.name}: {rows} rows so far")
        target.require_as_many(to, table, rows)
        if rows:
            say(f"{table.name}: {rows} rows")
    target.require_whole(to)
    target.count_on(to, all_tables)


def _tell(all_tables: list[Table], say: Say) -> None:
    for table in all_tables:
        if rows := count(table):
            say(f"{table.name}: {rows} rows")


def _open(to: Target) -> None:
    try:
        with to.transaction():
            mark.open_copy(to.cursor())
    except psycopg.Error as error:
        raise Closed(
            f"All is copied and the old file takes no more writes, but the target can't be opened yet "
            f"({str(error).strip().splitlines()[0]}): run this again."
        ) from error


def _names(all_tables: list[Table]) -> list[str]:
    return [target.MIGRATIONS, *(table.name for table in all_tables)]


def _sentence(to: Target, now: datetime) -> str:
    return (
        f"This database was moved to PostgreSQL ({target.place(to)}) on {now:%Y-%m-%d at %H:%M} UTC and takes no more "
        "writes: set DATABASE_URL, and start this again."
    )


@contextmanager
def _uninterrupted_at_the_end() -> Iterator[Callable[[], None]]:
    """Yields what is called before the last steps, which take a moment: Ctrl-C does nothing from there on."""
    former = signal.getsignal(signal.SIGINT)

    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    try:
        yield ignore
    finally:
        signal.signal(signal.SIGINT, former)
