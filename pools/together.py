"""Several statements sent to the database at once: one round trip on PostgreSQL, one after the other on SQLite.

A launch waits for every round trip, and what it locks is locked for as long. A statement that needs what one before it
has written reads it there: values do not come back in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models import sql
from django.db.models.expressions import RawSQL


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
        """Insert rows of one model, whose values may be RawSQL. Sends no signals, and sets no primary key."""
        meta = type(objects[0])._meta
        fields = [field for field in meta.concrete_fields if not isinstance(field, models.AutoField)]
        rows, params = [], []
        for row in objects:
            places = []
            for field in fields:
                value = getattr(row, field.attname)
                if isinstance(value, RawSQL):
                    places.append(value.sql)
                    params += value.params
                else:
                    places.append("%s")
                    params.append(field.get_db_prep_save(value, self._connection))
            rows.append(f"({', '.join(places)})")
        columns = ", ".join(str(field.column) for field in fields)
        self.add(f"INSERT INTO {meta.db_table} ({columns}) VALUES {', '.join(rows)}", params)  # noqa: S608

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
