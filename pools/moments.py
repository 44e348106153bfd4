"""Moments as programs read them, time spans summed by the database, and the hours whose totals stand in a row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import FloatField, Func, Q

HOUR = timedelta(hours=1)
LATE = timedelta(hours=1)  # what is written late, or by a clock that is behind, still finds its hour open


class Seconds(Func):
    """A moment as seconds since 1970, for arithmetic in the database: exact to a millisecond on SQLite."""

    arity = 1
    output_field = FloatField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "((julianday(%(expressions)s) - 2440587.5) * 86400.0)"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "EXTRACT(EPOCH FROM %(expressions)s)::double precision"
        return self.as_sql(compiler, connection, template=template, **context)


def hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class Window:
    """The time from `since` on, in parts: whole hours that have their total in a row, and rows before and after."""

    since: datetime
    first_hour: datetime
    settled_until: datetime

    @classmethod
    def of(cls, since: datetime, settled_until: datetime | None) -> Window:
        first_hour = hour_of(since) if since == hour_of(since) else hour_of(since) + HOUR
        return cls(since, first_hour, max(settled_until or first_hour, first_hour))

    def rows(self, name: str) -> list[Q]:
        """Return what selects the rows outside of the settled hours, by the moment of that name."""
        if self.first_hour == self.settled_until:
            return [Q(**{f"{name}__gte": self.since})]
        before = Q(**{f"{name}__gte": self.since, f"{name}__lt": self.first_hour})
        return [before, Q(**{f"{name}__gte": self.settled_until})]

    @property
    def hours(self) -> Q:
        return Q(hour__gte=self.first_hour, hour__lt=self.settled_until)


def is_past(hour: datetime, now: datetime) -> bool:
    """Whether nothing more will happen in that hour."""
    return hour + HOUR + LATE <= now


def within(name: str, hour: datetime) -> Q:
    """Select the rows whose moment of that name is in the hour."""
    return Q(**{f"{name}__gte": hour, f"{name}__lt": hour + HOUR})


def as_text(at: datetime) -> str:
    """A time as programs read it: UTC, to the millisecond."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
