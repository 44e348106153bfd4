"""Several statements sent to the database at once: one round trip on PostgreSQL, one after the other on SQLite.

A launch waits for every round trip, and what it locks is locked for as long. A statement that needs what one before it
has written reads it there: values do not come back in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models import sql


class Together:
    """Collects statements; `run` sends them, in the caller's transaction."""

    def __init__(self) -> None:
        self._connection: Any = connections[DEFAULT_DB_ALIAS]
        self._statements: list[tuple[str, Sequence[Any]]] = []

    def add(self, statement: str, params: Sequence[Any] = ()) -> int:
        """Return its place among the counts that `run` returns."""
        self._statements.append((statement, params))
        return len(self._statements) - 1

    def insert(self, *objects: models.Model) -> None:
        """Insert rows of one model. Sends no signals, and sets no primary key."""
        model = type(objects[0])
        query = sql.InsertQuery(model)
        fields = [field for field in model._meta.concrete_fields if not isinstance(field, models.AutoField)]
        query.insert_values(fields, list(objects))
        for statement, params in query.get_compiler(connection=self._connection).as_sql():
            self.add(statement, params)

    def update(self, rows: models.QuerySet[Any], **values: Any) -> int:
        """Update what `rows` selects by its own columns. Return its place among the counts."""
        query: Any = rows.query.chain(sql.UpdateQuery)
        query.add_update_values(values)
        query.clear_ordering(force=True)
        return self.add(*query.get_compiler(connection=self._connection).as_sql())

    def run(self) -> list[int]:
        """Return how many rows each statement has inserted or changed, in order."""
        with self._connection.cursor() as cursor:
            if self._connection.vendor != "postgresql":
                return [cursor.execute(statement, params).rowcount for statement, params in self._statements]
            cursor.execute(
                ";\n".join(statement for statement, _ in self._statements),
                [param for _, params in self._statements for param in params],
            )
            counts = [cursor.rowcount]
            while cursor.nextset():
                counts.append(cursor.rowcount)
            return counts
