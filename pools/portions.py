"""Many rows are written or deleted a portion at a time, each in a transaction of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet

ROWS = 500  # of one portion

Portions = Iterator[int]  # how many rows each was; between two nothing is locked


def delete_in_portions(rows: QuerySet[Any]) -> Portions:
    """Delete them in the order that they come in; a row that no longer matches when its portion comes is kept."""
    while ids := list(rows.values_list("pk", flat=True)[:ROWS]):
        yield delete(rows.filter(pk__in=ids))


def delete(rows: QuerySet[Any]) -> int:
    return rows.delete()[0]
