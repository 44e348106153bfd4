"""A filter of a list whose value is typed: of sandboxes, runs and people there are too many to choose from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest

CHARACTERS = 200


class TypedFilter(admin.SimpleListFilter):
    """What is typed is given to `found`, which never raises: whatever it can't read, nothing matches."""

    template = "admin/pools/typed_filter.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("", "")]  # none to choose from, and still it is shown

    @property
    def typed(self) -> str:
        return (self.value() or "").strip().replace("\0", "")[:CHARACTERS]

    def choices(self, changelist: Any) -> Iterator[Any]:
        """One: the box, and what else was asked for, to go with it."""
        others = [(name, value) for name, value in changelist.params.items() if name != self.parameter_name]
        yield {"typed": self.typed, "others": others, "selected": bool(self.typed)}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        return self.found(queryset, self.typed) if self.typed else queryset

    def found(self, queryset: QuerySet[Model], typed: str) -> QuerySet[Model]:
        raise NotImplementedError
