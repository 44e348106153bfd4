"""One SQLite database in memory, for all simulated processes; each of their threads has its own connection to it.

Only one thread goes on at a time, so all these connections share one. A switch can come after each commit, and inside
a transaction before its first write: until then nothing of it is there to be seen, and others may write. That is what
READ COMMITTED allows; one that has locked rows goes on to its end (`locks`).
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from typing import Any

from django.db.backends.sqlite3 import base, features, operations

from tests.sim.database import locks, store

WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")
LOCKING = re.compile(r"\s*FOR (NO KEY )?UPDATE( OF [^)]*?)?( SKIP LOCKED| NOWAIT)?(?=\)|\s*$)")
TABLE = re.compile(r'(?:FROM|INTO|UPDATE)\s+"?(\w+)"?', re.IGNORECASE)


class Statement:
    """What is known of an SQL text: as SQLite takes it, and what it does."""

    __slots__ = ("is_write", "locks", "returns", "sql", "table")

    def __init__(self, query: str) -> None:
        self.locks = LOCKING.search(query) is not None
        if self.locks:
            query = LOCKING.sub("", query)
        self.sql = base.FORMAT_QMARK_REGEX.sub("?", query).replace("%%", "%")
        self.is_write = query.lstrip()[:7].upper().startswith(WRITES)
        self.returns = self.is_write and " RETURNING " in query
        table = TABLE.search(query)
        self.table = table[1] if table else ""


_statements: dict[str, Statement] = {}


def statement_of(query: str) -> Statement:
    found = _statements.get(query)
    if found is None:
        found = _statements[query] = Statement(query)
    return found


class Cursor(sqlite3.Cursor):
    wrapper: DatabaseWrapper

    def execute(self, query: str, params: Sequence[Any] | None = None) -> Any:
        statement = statement_of(query)
        wrapper = self.wrapper
        wrapper.before(statement)
        if params is None:
            done = super().execute(query if not statement.locks else statement.sql)
        else:
            done = super().execute(statement.sql, params)
        wrapper.after(statement)
        return done

    def executemany(self, query: str, param_list: Any) -> Any:
        statement = statement_of(query)
        self.wrapper.before(statement)
        done = super().executemany(statement.sql, param_list)
        self.wrapper.after(statement)
        return done


class DatabaseFeatures(features.DatabaseFeatures):
    """As PostgreSQL's, in what is locked: the statements say it, and `locks` heeds it."""

    has_select_for_update = True
    has_select_for_update_nowait = True
    has_select_for_update_skip_locked = True
    has_select_for_update_of = True
    has_select_for_no_key_update = True


class DatabaseWrapper(base.DatabaseWrapper):
    features_class = DatabaseFeatures
    ops_class = operations.DatabaseOperations

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pending: list[str] = []  # BEGIN and savepoints that no write needed yet
        self.is_begun = False
        self.locked: set[str] = set()  # the tables of which the transaction has locked rows

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        return store.connection()

    def create_cursor(self, name: Any = None) -> Any:
        cursor = self.connection.cursor(factory=Cursor)
        cursor.wrapper = self
        return cursor

    def _close(self) -> None:
        """What is shared stays open."""

    def close(self) -> None:
        """As a connection that is kept: what others do goes on."""
        if self.in_atomic_block:
            self.closed_in_transaction = True
            self.needs_rollback = True

    def _set_autocommit(self, autocommit: bool) -> None:
        """Never another mode: transactions begin and end in so many words."""

    # Transactions begin with their first write.

    def _start_transaction_under_autocommit(self) -> None:
        self.pending = ["BEGIN"]

    def _savepoint(self, sid: str) -> None:
        if self.is_begun:
            store.run(f"SAVEPOINT {sid}")
        else:
            self.pending.append(f"SAVEPOINT {sid}")

    def _savepoint_commit(self, sid: str) -> None:
        self._end_savepoint(sid, f"RELEASE SAVEPOINT {sid}")

    def _savepoint_rollback(self, sid: str) -> None:
        if f"SAVEPOINT {sid}" not in self.pending and self.is_begun:
            store.run(f"ROLLBACK TO SAVEPOINT {sid}")
            store.rolled_back()

    def _end_savepoint(self, sid: str, how: str) -> None:
        if f"SAVEPOINT {sid}" in self.pending:
            self.pending.remove(f"SAVEPOINT {sid}")
        elif self.is_begun:
            store.run(how)

    def _commit(self) -> None:
        was_begun = self.is_begun
        if was_begun:
            store.run("COMMIT")
        self._over()
        if was_begun:
            store.committed(self)

    def _rollback(self) -> None:
        if self.is_begun:
            store.run("ROLLBACK")
            store.rolled_back()
        self._over()

    def _over(self) -> None:
        self.pending, self.is_begun = [], False
        locks.over(self)

    def before(self, statement: Statement) -> None:
        if not self.in_atomic_block:
            store.require_alive()
        elif self.is_begun:
            return
        elif statement.is_write:
            locks.before_first_write()
            self.is_begun = True
            for each in self.pending:
                store.run(each)
            self.pending = []
        else:
            locks.before_read(self, statement.table if statement.locks else "")

    def after(self, statement: Statement) -> None:
        if statement.is_write:
            store.note_write(statement.table)
            # One that returns rows goes on until they are fetched.
            if not self.in_atomic_block and not statement.returns:
                store.committed(self)
