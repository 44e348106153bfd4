"""Several statements sent to the database at once: one round trip on PostgreSQL, one after the other on SQLite.

A launch waits for every round trip, and what it locks is locked for as long. A statement that needs what one before it
has written reads it there: values do not come back in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DataError, connections, models
from django.db.models.expressions import RawSQL

DIVISION_BY_ZERO = "22012"


class NothingChanged(Exception):
    """A statement that was to change a row found none."""


def settle() -> None:
    """Wait until the disk has all that was committed so far, and hold nothing meanwhile. Outside of transactions."""
    connection = connections[DEFAULT_DB_ALIAS]
    if connection.vendor == "postgresql" and not connection.in_atomic_block:
        with connection.cursor() as cursor:  # what is written last goes to the disk with all before it
            cursor.execute("SELECT pg_logical_emit_message(true, 'settle', '')")


class Together:
    """Collects statements; `run` sends them, in the caller's transaction."""

    def __init__(self) -> None:
        self._connection: Any = connections[DEFAULT_DB_ALIAS]
        self._is_postgresql = self._connection.vendor == "postgresql"
        self._statements: list[tuple[str, Sequence[Any]]] = []
        self._required: set[int] = set()

    def add(self, statement: str, params: Sequence[Any] = ()) -> None:
        self._statements.append((statement, params))

    def require(self, statement: str, params: Sequence[Any] = ()) -> None:
        """Add an UPDATE that has to change a row: where it finds none, `run` raises NothingChanged."""
        if self._is_postgresql:  # it notices itself, before what follows is done
            statement = f"WITH changed AS ({statement} RETURNING 1) SELECT 1 / count(*) FROM changed"  # noqa: S608
        self._required.add(len(self._statements))
        self.add(statement, params)

    def insert(self, *objects: models.Model) -> None:
        """Insert rows of one model, whose values may be RawSQL. Sends no signals, and sets no primary key."""
        meta = type(objects[0])._meta
        fields = [field for field in meta.concrete_fields if not isinstance(field, models.AutoField)]
        rows: list[str] = []
        params: list[Any] = []
        for row in objects:
            places = []
            for field in fields:
                place, given = self._written(field, getattr(row, field.attname))
                places.append(place)
                params += given
            rows.append(f"({', '.join(places)})")
        columns = ", ".join(str(field.column) for field in fields)
        self.add(f"INSERT INTO {meta.db_table} ({columns}) VALUES {', '.join(rows)}", params)  # noqa: S608

    def require_update(
        self,
        model: type[models.Model],
        where: dict[str, Any],
        values: dict[str, Any],
        *,
        condition: tuple[str, Sequence[Any]] = ("1 = 1", ()),
    ) -> None:
        """Change the one row whose columns are as in `where`, if the condition (SQL and its parameters) holds; as
        `require`. Values may be RawSQL."""
        changes, changed = self._pairs(model, values)
        conditions, compared = self._pairs(model, where)
        self.require(
            f"UPDATE {model._meta.db_table} SET {', '.join(changes)} "  # noqa: S608
            f"WHERE {' AND '.join(conditions)} AND {condition[0]}",
            [*changed, *compared, *condition[1]],
        )

    def run(self, *, commit: bool = False) -> None:
        """Raises NothingChanged, and the database's errors; then the transaction is to be rolled back.

        `commit`: with the last statement, what is locked is let go, and not only when the disk has it: `settle` waits
        for that. The caller's transaction ends with this call, if it is the outermost: nothing may follow in it.
        """
        with self._connection.cursor() as cursor:
            if not self._is_postgresql:
                for place, (statement, params) in enumerate(self._statements):
                    if not cursor.execute(statement, params).rowcount and place in self._required:
                        raise NothingChanged
                return
            # One by one, because what it has read of a short statement, psycopg remembers.
            whole = [cursor.mogrify(statement, params) for statement, params in self._statements]
            is_outermost = self._connection.in_atomic_block and not self._connection.savepoint_ids
            if commit and is_outermost:
                whole = ["SET LOCAL synchronous_commit TO off", *whole, "COMMIT"]
            try:
                cursor.execute(";\n".join(whole))
            except DataError as error:
                if getattr(error.__cause__, "sqlstate", "") == DIVISION_BY_ZERO:
                    raise NothingChanged from None
                raise

    def _pairs(self, model: type[models.Model], values: dict[str, Any]) -> tuple[list[str], list[Any]]:
        pairs: list[str] = []
        params: list[Any] = []
        for name, value in values.items():
            field: Any = model._meta.get_field(name)
            place, given = self._written(field, value)
            pairs.append(f"{field.column} = {place}")
            params += given
        return pairs, params

    def _written(self, field: Any, value: Any) -> tuple[str, Sequence[Any]]:
        """A value in a statement, and its parameters."""
        if isinstance(value, RawSQL):
            return value.sql, value.params
        return "%s", [field.get_db_prep_save(value, self._connection)]
