"""How launches stand against their limits, what is played, what is over, and how it went: as the first demo told it.

What is the same for everybody is looked up once a second, and nothing is counted that grows with the years.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings

from pools import clock
from pools.census import census
from pools.shared import Shared
from runs import limits
from runs.launch_hours import served_since
from runs.models import ACTIVE, OVER, Run, RunState, Tally
from runs.pages.statistics import launch_times

WINDOW = timedelta(days=7)  # of the statistics, as on their page
MOST_ACTIVE = 50  # runs that are listed
ENDED_LOOKED_AT = 1_000  # of each state; they are looked for by their launch, and listed by their end


@dataclass(frozen=True, slots=True)
class Standing:
    """Launches against their limits, and what the pools have."""

    warm: int
    cold: int
    launches: int  # within the hour
    reset_in_seconds: int  # until the first of those counts no more
    pool: dict[str, int]

    @property
    def active(self) -> dict[str, int]:
        return by_type(cold=self.cold, warm=self.warm) | {"total": self.cold + self.warm}

    @property
    def rate(self) -> dict[str, int]:
        limit = settings.MAX_RUNS_PER_HOUR
        return {"used": self.launches, "limit": limit, "reset_in_seconds": self.reset_in_seconds}


def by_type(*, cold: Any, warm: Any, snapshot: Any = 0) -> dict[str, Any]:
    return {"cold": cold, "warm": warm, "snapshot": snapshot}


def _standing() -> Standing:
    now = clock.now()
    tally = Tally.objects.filter(pk=1).first() or Tally()
    launches = max(0, tally.launches - limits.mark_at(now))
    within = Run.objects.filter(created_at__gt=now - limits.HOUR).order_by("created_at")
    first = within.values_list("created_at", flat=True).first()
    reset = math.ceil((first + limits.HOUR - now).total_seconds()) if first else 0
    return Standing(tally.warm, tally.cold, launches, max(0, reset), census().in_pools._asdict())


def most() -> dict[str, int]:
    return {
        "max_cold": settings.MAX_CONCURRENT_COLD,
        "max_warm": settings.MAX_CONCURRENT_WARM,
        "max_total": settings.MAX_TOTAL_ACTIVE,
        "max_per_hour": settings.MAX_RUNS_PER_HOUR,
    }


def _statistics() -> dict[str, Any]:
    """Of the last days. Launches are numbered, so how many there were is one number less another."""
    since = clock.now() - WINDOW
    tally = Tally.objects.filter(pk=1).first() or Tally()
    served = served_since(since)
    warm = sum(served)
    total = max(warm, tally.launches - limits.mark_before(since))
    took = {found.key: found.took_ms for found in launch_times(since)}
    warm_ms = _mean(ms for key in ("staged", "warm", "fallback") for ms in took.get(key, ()))
    return {
        "total_runs": total,
        "by_type": by_type(cold=total - warm, warm=warm),
        "avg_times": {"cold_ms": _mean(took.get("cold", ())), "warm_ms": warm_ms, "snapshot_ms": None},
        "pool_hit_rate": round(served.at_once / warm, 3) if warm else 0.0,
        "since": since,
    }


def _mean(values: Iterable[int]) -> int | None:
    found = list(values)
    return round(fmean(found)) if found else None


STANDING = Shared(_standing)
STATISTICS = Shared(_statistics)


def playing(visitor: str | None) -> Sequence[Run]:
    """The newest runs that are not over: a visitor's, or all."""
    return _in_full(_newest(ACTIVE, visitor, MOST_ACTIVE)[:MOST_ACTIVE])


def over(visitor: str | None, limit: int) -> Sequence[Run]:
    """The runs that ended last: a visitor's, or all. Of those, the newest launches are looked at."""
    found = _newest(OVER, visitor, ENDED_LOOKED_AT)
    found.sort(key=lambda run: run.ended_at or run.created_at, reverse=True)
    return _in_full(found[:limit])


class Listed(NamedTuple):
    """What a run is ranked by."""

    pk: UUID
    created_at: datetime
    ended_at: datetime | None


def _newest(states: Collection[RunState], visitor: str | None, most_of_each: int) -> list[Listed]:
    """The newest launches first. Each state by itself, in the order of an index: together, all would be sorted."""
    runs = Run.objects.order_by("-created_at").values_list(*Listed._fields)
    if visitor is not None:
        runs = runs.filter(visitor=visitor)
    found = [Listed(*row) for state in states for row in runs.filter(state=state)[:most_of_each]]
    return sorted(found, key=lambda run: run.created_at, reverse=True)


def _in_full(found: Sequence[Listed]) -> list[Run]:
    """The runs themselves, in the same order."""
    runs = Run.objects.select_related("game", "sandbox").in_bulk([run.pk for run in found])
    return [runs[run.pk] for run in found if run.pk in runs]
