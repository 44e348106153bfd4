"""The events of all runs and pools as programs follow them: the orchestrator log, in their words, from a cursor on.

Numbers become visible in their order, so who resumes from one misses nothing. What one look reads is bounded: where few
lines are wanted among many, a page may be short, or empty, and have more after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from pools import fleet_log
from pools.models import FleetEvent
from pools.moments import as_text
from pools.problems import Problem
from pools.reasons import PRIVATE
from runs.event_types import DATA, EventType, lines_of, named, type_of
from runs.feed_schemas import FeedAsked
from runs.models import Run

LOOKED_AT = 5_000  # lines


@dataclass(frozen=True, slots=True)
class View:
    """Which events somebody gets. Of `visitor`: only those of their own runs; None for who may see all."""

    visitor: str | None
    types: frozenset[EventType] | None = None
    run_id: UUID | None = None
    pool: str | None = None

    @classmethod
    def of(cls, visitor: str | None, asked: FeedAsked) -> View:
        """What somebody asked for, of what they may see. Raises Problem."""
        try:
            types = None if asked.kind is None else named(asked.kind.split(","))
        except ValueError as unknown:
            raise Problem.field("kind", f"there are no events of the type {str(unknown)[:40]!r}") from None
        return cls(visitor, types, asked.run, asked.pool)

    def lines(self) -> QuerySet[FleetEvent]:
        found = FleetEvent.objects.exclude(kind__in=PRIVATE).order_by("seq")
        if self.visitor is not None:
            found = found.filter(run_id__in=Run.objects.filter(visitor=self.visitor).order_by().values("pk"))
        if self.run_id is not None:
            found = found.filter(run_id=self.run_id)
        if self.pool is not None:
            found = found.filter(pool_name=self.pool)
        return found if self.types is None else found.filter(lines_of(self.types))

    def has(self, event: FleetEvent, visitor: str | None) -> bool:
        """Whether a line is one of `lines()`; `visitor` is its run's. Pure."""
        its_type = type_of(event.kind, event.code)
        return (
            its_type is not None
            and (self.visitor is None or self.visitor == visitor)
            and (self.run_id is None or self.run_id == event.run_id)
            and (self.pool is None or self.pool == event.pool_name)
            and (self.types is None or its_type in self.types)
        )


def visitors_of(events: Iterable[FleetEvent]) -> dict[UUID, str]:
    """Who launched the runs of these lines, by the runs' ids, in one query."""
    run_ids = {event.run_id for event in events if event.run_id is not None}
    return dict(Run.objects.filter(pk__in=run_ids).order_by().values_list("pk", "visitor")) if run_ids else {}


@dataclass(frozen=True, slots=True)
class Page:
    """Events, and the number to ask with next; `has_more`: at once."""

    events: list[FleetEvent]
    after: int
    has_more: bool

    def as_json(self) -> dict[str, Any]:
        return {"events": list(map(as_json, self.events)), "after": self.after, "has_more": self.has_more}


def page(view: View, after: int | None, limit: int) -> Page:
    """The next events beyond a cursor; without one, the last."""
    newest = fleet_log.last_seq()  # first: all up to there can be seen
    if after is None:
        lately = view.lines().filter(seq__gt=newest - LOOKED_AT, seq__lte=newest)
        return Page(list(lately.order_by("-seq")[:limit])[::-1], newest, has_more=False)
    first = FleetEvent.objects.filter(seq__gt=after).order_by("seq").values_list("seq", flat=True).first()
    if first is None:
        return Page([], after, has_more=False)
    upto = max(after, min(newest, first + LOOKED_AT - 1))
    found = list(view.lines().filter(seq__gt=after, seq__lte=upto)[:limit])
    if len(found) == limit:
        upto = found[-1].seq
    return Page(found, upto, has_more=upto < newest)


def as_json(event: FleetEvent) -> dict[str, Any]:
    """An event as every program gets it."""
    return {
        "seq": event.seq,
        "id": f"evt_{event.seq}",
        "type": type_of(event.kind, event.code),
        "code": event.code,
        "at": as_text(event.at),
        "level": event.level,
        "message": event.message,
        "run_id": str(event.run_id) if event.run_id else None,
        "sandbox": event.sandbox_name,
        "pool": event.pool_name,
        "data": {name: value for name, value in event.data.items() if name in DATA},
    }
