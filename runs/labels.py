"""Labels that clients put on their launches to find them again: names with values, kept with the run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import F, Func, Q, TextField
from django.db.models.lookups import Exact, IsNull

MOST = 16  # of one run, and in one filter
NAME = r"[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?"
VALUE = r"[^\x00-\x1f\x7f-\x9f]{0,63}"  # no control characters
NAME_PATTERN = f"^{NAME}$"
VALUE_PATTERN = f"^{VALUE}$"
ASKED_PATTERN = f"^{NAME}(:{VALUE})?$"  # how a filter names one


class LabelValue(Func):
    """What a run's label of that name says; null for a run without it. Not a key of Django's own, which takes a name of
    digits for a position, and two underscores for a lookup."""

    output_field = TextField()

    def __init__(self, name: str, **extra: Any) -> None:
        super().__init__(F("labels"), **extra)
        self.name = name

    def as_postgresql(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, tuple[Any, ...]]:
        labels, params = compiler.compile(self.source_expressions[0])
        return f"({labels} ->> %s)", (*params, self.name)

    def as_sqlite(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, tuple[Any, ...]]:
        labels, params = compiler.compile(self.source_expressions[0])
        return f"JSON_EXTRACT({labels}, %s)", (*params, f'$."{self.name}"')


def all_of(asked: Iterable[str]) -> Q:
    """The runs that have all of these labels, each asked for as `name:value`, or as `name` for any value."""
    wanted = Q()
    for each in asked:
        name, has_value, value = each.partition(":")
        wanted &= Q(Exact(LabelValue(name), value) if has_value else IsNull(LabelValue(name), False))
    return wanted
