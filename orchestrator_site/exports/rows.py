"""Rows as an export has them: values in JSON, and rows that are pointed to by their keys instead of their numbers."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import BaseValidator
from django.db import models
from django.db.models import Model, QuerySet

from orchestrator_site.exports.tables import Table, key_of

Reference = list[Any]
ROWS_A_CHUNK = 2000

TYPES: list[tuple[type[models.Field[Any, Any]], tuple[type, ...]]] = [
    (models.JSONField, (dict, list, str, int, float, bool, type(None))),
    (models.BooleanField, (bool,)),
    (models.FloatField, (int, float)),
    (models.IntegerField, (int,)),
]


class Wrong(Exception):
    """A row can't be taken as it is, with a sentence about why."""


class Encoded(NamedTuple):
    """A row: its number in the database, and what an export says of it."""

    pk: Any
    values: dict[str, Any]


def as_json(row: Mapping[str, Any]) -> str:
    return json.dumps(row, default=_plain, ensure_ascii=False, separators=(",", ":"))


def encoded(table: Table, rows: QuerySet[Any]) -> Iterator[Encoded]:
    """Those rows of the table, one after the other."""
    paths, readers = ["pk"], list[tuple[str, Callable[[Sequence[Any]], Any]]]()
    for name, field in table.fields.items():
        begin = len(paths)
        if isinstance(field, models.ForeignKey):
            paths += [f"{name}__{path}" for path in key_paths(field.related_model)]
            readers.append((name, _reference(begin, len(paths))))
        else:
            paths.append(name)
            readers.append((name, _value(begin)))
    each_row = rows.values_list(*paths).iterator(chunk_size=ROWS_A_CHUNK)
    while chunk := list(islice(each_row, ROWS_A_CHUNK)):
        sets = {name: _members(field, [found[0] for found in chunk]) for name, field in table.sets.items()}
        for found in chunk:
            values = {name: read(found) for name, read in readers}
            values |= {name: _in_order(members[found[0]]) for name, members in sets.items()}
            yield Encoded(found[0], json.loads(as_json(values)))


def _members(field: Any, pks: Sequence[Any]) -> Mapping[Any, list[Reference]]:
    """What a many-to-many field of those rows points to, by their numbers."""
    of, to = field.m2m_field_name(), field.m2m_reverse_field_name()
    paths = [f"{to}__{path}" for path in key_paths(field.related_model)]
    members: dict[Any, list[Reference]] = defaultdict(list)
    pairs = field.remote_field.through._base_manager.filter(**{f"{of}__in": pks}).values_list(of, *paths)
    for pk, *key in pairs.iterator(chunk_size=ROWS_A_CHUNK):
        members[pk].append(key)
    return members


def key_text(table: Table, values: Mapping[str, Any]) -> str:
    """What tells a row from the others of its table."""
    return as_json({name: values[name] for name in table.key})


@cache
def key_paths(model: type[Model]) -> tuple[str, ...]:
    """The lookups that lead to what a row is known by."""
    paths: list[str] = []
    for name in key_of(model):
        field = model._meta.get_field(name)
        if isinstance(field, models.ForeignKey):
            paths += [f"{name}__{path}" for path in key_paths(field.related_model)]
        else:
            paths.append(name)
    return tuple(paths)


class Reader:
    """Rows of an export, as this database takes them. It remembers the numbers of the rows that others point to."""

    def __init__(self) -> None:
        self._found: dict[tuple[type[Model], str], Any] = {}

    def values(self, table: Table, row: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the row's columns are set to, and by what it is compared with another. Raises Wrong."""
        if unknown := [name for name in row if name not in table.fields and name not in table.sets]:
            raise Wrong(f"{table.label} has no field {unknown[0]!r} in this version")
        if missing := [name for name in table.key if name not in row]:
            raise Wrong(f"{table.label} needs {missing[0]!r}")
        columns, compared = dict[str, Any](), dict[str, Any]()
        for name, field in table.fields.items():
            if name in row and isinstance(field, models.ForeignKey):
                columns[field.attname] = self._pointed_to(table, field, row[name])
                compared[name] = row[name]
            elif name in row:
                columns[field.attname] = compared[name] = _clean(table, field, row[name])
        for name, field in table.sets.items():
            if name in row:
                if not isinstance(row[name], list):
                    raise Wrong(f"{table.label}.{name} is not a list")
                columns[name] = [self.number(table, field.related_model, each) for each in row[name]]
                compared[name] = _in_order(row[name])
        return columns, json.loads(as_json(compared))

    def number(self, table: Table, model: type[Model], reference: object) -> Any:
        """The primary key of the row with that key. Raises Wrong when there is none."""
        paths = key_paths(model)
        if not isinstance(reference, list) or len(reference) != len(paths):
            raise Wrong(f"{table.label} points to {reference!r}, which is no key of {model._meta.label_lower}")
        if paths == (model._meta.pk.name,):
            return _clean(table, model._meta.pk, reference[0])
        place = (model, as_json({"key": reference}))
        if place not in self._found:
            what = f"{model._meta.label_lower} {' '.join(map(str, reference))}"
            try:
                pk = model._base_manager.filter(**dict(zip(paths, reference, strict=True))).values_list("pk", flat=True)
                self._found[place] = pk.get()
            except (model.DoesNotExist, ValidationError, ValueError, TypeError):  # type: ignore[attr-defined]
                raise Wrong(f"{table.label} points to {what}, which is not there") from None
            except model.MultipleObjectsReturned:  # type: ignore[attr-defined]
                raise Wrong(f"{table.label} points to {what}, which is there more than once") from None
        return self._found[place]

    def _pointed_to(self, table: Table, field: models.ForeignKey[Any, Any], reference: object) -> Any:
        if reference is None or (isinstance(reference, list) and all(each is None for each in reference)):
            if not field.null:
                raise Wrong(f"{table.label}.{field.name} points to nothing")
            return None
        return self.number(table, field.related_model, reference)


def _clean(table: Table, field: models.Field[Any, Any], value: Any) -> Any:
    """The value as Python has it. Raises Wrong."""
    if value is None:
        if not field.null:
            raise Wrong(f"{table.label}.{field.name} is null")
        return None
    types = next((types for kind, types in TYPES if isinstance(field, kind)), (str,))
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise Wrong(f"{table.label}.{field.name} is of the wrong type: {str(value)[:80]!r}")
    if (isinstance(value, float) and not math.isfinite(value)) or "\\u0000" in json.dumps(value):
        raise Wrong(f"{table.label}.{field.name} holds what no database takes")
    try:
        found = _as_kept(field, value) if field.name in table.as_kept else field.clean(value, None)
    except ValidationError as error:
        # An empty list or text is what the field's own default is.
        if any(each.code == "blank" for each in error.error_list):
            return field.to_python(value)
        raise Wrong(f"{table.label}.{field.name}: {' '.join(error.messages)}") from None
    if isinstance(found, datetime) and found.tzinfo is None:
        raise Wrong(f"{table.label}.{field.name} names no time zone: {value}")
    return found


def _as_kept(field: models.Field[Any, Any], value: Any) -> Any:
    """By the limits of the column alone: an account that was not made by a form may be called "anna maria"."""
    found = field.to_python(value)
    for limit in field.validators:
        if isinstance(limit, BaseValidator):
            limit(found)
    return found


def _in_order(references: Iterable[Reference]) -> list[Reference]:
    return sorted(references, key=lambda reference: json.dumps(reference, default=_plain))


def _plain(value: object) -> str:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, UUID | Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in an export")


def _value(at: int) -> Callable[[Sequence[Any]], Any]:
    return lambda found: found[at]


def _reference(begin: int, end: int) -> Callable[[Sequence[Any]], Reference | None]:
    """None where nothing is pointed to."""

    def read(found: Sequence[Any]) -> Reference | None:
        reference = list(found[begin:end])
        return None if all(each is None for each in reference) else reference

    return read
