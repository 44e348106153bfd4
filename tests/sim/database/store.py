"""The one SQLite connection, and what the simulation is told of what happens to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from django.db.backends.sqlite3._functions import register as register_functions

CACHED_STATEMENTS = 4096


class Hooks:
    """What the simulation wants to know. Without one, nothing."""

    def __init__(self) -> None:
        self.committed: Callable[[Any], None] = _nothing
        self.wrote: Callable[[str], None] = _nothing
        self.require_alive: Callable[[], None] = _nothing_at_all
        self.rolled_back: Callable[[], None] = _nothing_at_all


def _nothing(_: Any) -> None:
    pass


def _nothing_at_all() -> None:
    pass


hooks = Hooks()
_connection: sqlite3.Connection | None = None


def connection() -> sqlite3.Connection:
    global _connection  # noqa: PLW0603
    if _connection is None:
        _connection = new()
    return _connection


def new() -> sqlite3.Connection:
    made = sqlite3.connect(
        ":memory:",
        detect_types=sqlite3.PARSE_DECLTYPES | sqlite3.PARSE_COLNAMES,
        check_same_thread=False,
        isolation_level=None,
        cached_statements=CACHED_STATEMENTS,
    )
    register_functions(made)
    for pragma in ("foreign_keys = ON", "synchronous = OFF", "journal_mode = MEMORY", "temp_store = MEMORY"):
        made.execute(f"PRAGMA {pragma}")
    return made


def copy_from(other: sqlite3.Connection) -> None:
    """Have the database be what that one is."""
    other.backup(connection())
    hooks.rolled_back()


def copied() -> sqlite3.Connection:
    """A copy of the database as it is now."""
    copy = sqlite3.connect(":memory:", check_same_thread=False)
    connection().backup(copy)
    return copy


def run(sql: str) -> None:
    connection().execute(sql)


def committed(wrapper: Any) -> None:
    hooks.committed(wrapper)


def note_write(table: str) -> None:
    hooks.wrote(table)


def require_alive() -> None:
    hooks.require_alive()


def rolled_back() -> None:
    hooks.rolled_back()
