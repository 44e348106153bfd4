"""What tells that a database was moved, or is being filled by a move; as long as it is there, the database itself
refuses every write, whoever writes. Only one of the two databases of a move ever takes writes:

    the copy and its mark are committed → the old file's mark is committed → the copy's mark is removed

The old file's mark stays for good.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME = "database_move"  # of the table, and of what goes with it
VERBS = ("INSERT", "UPDATE", "DELETE")
UNFINISHED = (
    "This database is a copy that move_database has not finished: run it again, with the same target, before anything "
    "else starts here."
)
READ_ONLY_TRANSACTION = "25006"  # PostgreSQL's own code for a database that takes no writes


@dataclass(frozen=True, slots=True)
class Moved:
    """The mark of an old file: which move it was, and the sentence for whoever still uses the file."""

    move_id: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The mark of a copy that is not in use yet."""

    move_id: str
    installation: str


def moved(file: Path | str) -> Moved | None:
    """The mark of that SQLite file. None as well where there is no such file, or it can't be read: whoever uses it
    hears of that."""
    try:
        with closing(sqlite3.connect(f"{Path(file).absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            row = connection.execute(f"SELECT move_id, sentence FROM {NAME}").fetchone()  # noqa: S608
    except sqlite3.Error:
        return None
    return Moved(*row) if row else None


def close_old_file(cursor: Any, mark: Moved) -> None:
    """From the commit on, nothing is written to this SQLite database."""
    cursor.execute(f"CREATE TABLE {NAME} (move_id text NOT NULL, sentence text NOT NULL)")
    cursor.execute(f"INSERT INTO {NAME} VALUES (%s, %s)", [mark.move_id, mark.sentence])  # noqa: S608
    said = mark.sentence.replace("'", "''")
    cursor.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
    for (table,) in cursor.fetchall():
        for verb in VERBS:
            cursor.execute(
                f'CREATE TRIGGER "{NAME}_{verb}_{table}" BEFORE {verb} ON "{table}" '
                f"BEGIN SELECT RAISE(ABORT, '{said}'); END"
            )


def unfinished(cursor: Any) -> Unfinished | None:
    """The mark of this PostgreSQL database."""
    cursor.execute("SELECT to_regclass(%s)", [NAME])
    if cursor.fetchone()[0] is None:
        return None
    cursor.execute(f"SELECT move_id, installation FROM {NAME}")  # noqa: S608
    row = cursor.fetchone()
    return Unfinished(*row) if row else None


def close_copy(cursor: Any, mark: Unfinished, tables: Iterable[str]) -> None:
    """From the commit on, nothing is written to these tables of this PostgreSQL database, until `open_copy`."""
    cursor.execute(f"CREATE TABLE {NAME} (move_id text NOT NULL, installation text NOT NULL)")
    cursor.execute(f"INSERT INTO {NAME} VALUES (%s, %s)", [mark.move_id, mark.installation])  # noqa: S608
    cursor.execute(
        f"CREATE FUNCTION {NAME}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"RAISE EXCEPTION '{UNFINISHED}' USING ERRCODE = '{READ_ONLY_TRANSACTION}'; END $$"
    )
    for table in tables:
        cursor.execute(
            f'CREATE TRIGGER {NAME} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON "{table}" '
            f"FOR EACH STATEMENT EXECUTE FUNCTION {NAME}()"
        )


def open_copy(cursor: Any) -> None:
    cursor.execute(f"DROP FUNCTION {NAME}() CASCADE")  # with the triggers that call it
    cursor.execute(f"DROP TABLE {NAME}")
