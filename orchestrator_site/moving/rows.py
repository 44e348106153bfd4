"""Rows as they are moved: read column by column from SQLite, without the models' own ideas of a value, copied to
PostgreSQL, read back there and compared."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from typing import Any

import psycopg
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, models
from django.db.models import Field

Row = tuple[Any, ...]
ROWS_AT_ONCE = 1000
NUL = "\0"


class Refused(Exception):
    """Nothing was moved, with a sentence about why."""


@dataclass(frozen=True)
class Table:
    """A table of one of our models, or between two of them."""

    model: type[models.Model]

    @property
    def name(self) -> str:
        return self.model._meta.db_table

    @cached_property
    def fields(self) -> list[Field[Any, Any]]:
        return list(self.model._meta.concrete_fields)

    @cached_property
    def columns(self) -> str:
        return ", ".join(f'"{field.column}"' for field in self.fields)

    @cached_property
    def key(self) -> int:
        """Which of the columns is the primary key."""
        return self.fields.index(self.model._meta.pk)

    @property
    def counts_up(self) -> bool:
        return isinstance(self.model._meta.pk, models.AutoField)

    def named(self, row: Sequence[Any]) -> str:
        return f"{self.name}, the row whose {self.fields[self.key].column} is {str(row[self.key])[:80]!r}"


def tables() -> list[Table]:
    """All that the product keeps in its database but the list of migrations, which each database has of its own."""
    found = [model for model in apps.get_models(include_auto_created=True) if model._meta.managed]
    return [Table(model) for model in found if not model._meta.proxy]


def count(table: Table) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT count(*) FROM "{table.name}"')  # noqa: S608
        return int(cursor.fetchone()[0])


def read(table: Table) -> Iterator[list[Row]]:
    """The rows of this SQLite database, some at once. Raises Refused for one that can't be understood."""
    readers = [_reader(field) for field in table.fields]
    plain = ", ".join(f'+"{field.column}"' for field in table.fields)  # the driver makes a None of what it can't read
    with connection.cursor() as cursor:
        key = table.fields[table.key].column
        try:
            cursor.execute(f'SELECT {plain} FROM "{table.name}" ORDER BY "{key}"')  # noqa: S608
            while found := cursor.fetchmany(ROWS_AT_ONCE):
                yield [_understood(table, readers, row) for row in found]
        except (DatabaseError, UnicodeError) as error:
            raise Refused(f"{table.name} can't be read: {str(error).strip()}.") from error


def _reader(field: Field[Any, Any]) -> Callable[[Any], Any]:
    """What Django makes of a column before the field itself has a look: a JSON field's text stays as it is."""
    column: Any = field.get_col(field.model._meta.db_table)
    converters = connection.ops.get_db_converters(column)

    def reader(value: Any) -> Any:
        for convert in converters:
            value = convert(value, column, connection)
        return value

    return reader


def _understood(table: Table, readers: Sequence[Callable[[Any], Any]], row: Row) -> Row:
    values = []
    for field, reader, value in zip(table.fields, readers, row, strict=True):
        try:
            values.append(reader(value))
            if values[-1] is None and value is not None:
                raise ValueError
        except (ValueError, TypeError, AttributeError, ArithmeticError, ValidationError):
            raise Refused(
                f"{table.named(row)}: {field.column} is no {field.get_internal_type()} ({str(value)[:80]!r})."
            ) from None
    return tuple(values)


def put(target: psycopg.Connection[Any], table: Table, rows: Sequence[Row]) -> None:
    """Copy rows and see that they arrived as they are. Raises Refused with the row that PostgreSQL does not take."""
    try:
        with target.transaction():
            _copy(target, table, rows)
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        for row in rows:
            try:
                with target.transaction():
                    _copy(target, table, [row])
            except psycopg.Error as found:
                where = f"{table.named(row)}{_column(table, row, found)}"
                raise Refused(f"{where}: PostgreSQL does not take it: {_said(found)}.") from found
        raise Refused(f"{table.name}: PostgreSQL does not take it: {_said(error)}.") from error
    _compare(target, table, rows)


def _copy(target: psycopg.Connection[Any], table: Table, rows: Sequence[Row]) -> None:
    statement: Any = f'COPY "{table.name}" ({table.columns}) FROM STDIN'
    with target.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _column(table: Table, row: Row, error: psycopg.Error) -> str:
    if found := error.diag.column_name or re.search(r", column (\w+)", error.diag.context or ""):
        return f", {found if isinstance(found, str) else found[1]}"
    with_nul = (field.column for field, value in zip(table.fields, row, strict=True) if NUL in str(value))
    column = next(with_nul, "")
    return f", {column}" if column else ""


def _said(error: psycopg.Error) -> str:
    said = error.diag.message_primary or str(error).strip().partition("\n")[0]
    detail = f" ({error.diag.message_detail.rstrip('.')})" if error.diag.message_detail else ""
    return f"{said}{detail}"


def _compare(target: psycopg.Connection[Any], table: Table, rows: Sequence[Row]) -> None:
    statement: Any = f'SELECT {table.columns} FROM "{table.name}" WHERE "{table.fields[table.key].column}" = ANY(%s)'  # noqa: S608
    with target.cursor() as cursor:
        cursor.execute(statement, [[row[table.key] for row in rows]])
        arrived = {row[table.key]: row for row in cursor.fetchall()}
    for row in rows:
        found = arrived.get(row[table.key])
        if found is None:
            raise Refused(f"{table.named(row)} did not arrive.")
        for field, was, now in zip(table.fields, row, found, strict=True):
            if not is_same(field, was, now):
                raise Refused(f"{table.named(row)}: {field.column} arrived as another value.")


def is_same(field: Field[Any, Any], was: Any, now: Any) -> bool:
    """Whether two databases mean the same by what they say."""
    if was is None or now is None:
        return was is now
    if isinstance(field, models.JSONField):
        return _is_same_json(json.loads(was), json.loads(now))
    if isinstance(field, models.GenericIPAddressField):
        return ip_address(was) == ip_address(now)
    return bool(was == now)


def _is_same_json(was: Any, now: Any) -> bool:
    """PostgreSQL keeps numbers as decimals: a large one comes back without its exponent."""
    if isinstance(was, dict) and isinstance(now, dict):
        return was.keys() == now.keys() and all(_is_same_json(value, now[key]) for key, value in was.items())
    if isinstance(was, list) and isinstance(now, list):
        return len(was) == len(now) and all(map(_is_same_json, was, now))
    if isinstance(was, float) and type(now) in (int, float):
        return was == float(now)
    return type(was) is type(now) and bool(was == now)


def last_number(table: Table) -> int:
    """The highest number that a row of this SQLite table ever had: none is given twice, also not of rows that are
    gone."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table.name])
        row = cursor.fetchone()
    return int(row[0]) if row else 0
