"""What another target would have done, for a pool's page: the targets around the present one, and a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from pools.models import Pool
from pools.replay.what_if import Row, WhatIf, conditions, history, what_if
from pools.turn.observe import pool_facts

DAYS = 14
LAUNCHES_REPLAYED = 3_000  # with eight targets that takes seconds
AROUND = 3
BAR, GAP, HEIGHT = 20, 4, 60


@dataclass(frozen=True, slots=True)
class Bar:
    """One target in the picture: how many it served at once, and beside it how long sandboxes idled for each launch."""

    x: int
    served_y: float
    served: float
    idle_x: int
    idle_y: float
    idle: float


@dataclass(frozen=True, slots=True)
class Shown:
    found: WhatIf
    bars: Sequence[Bar]
    size: tuple[int, int]

    @property
    def half(self) -> int:
        return BAR // 2


def shown(pool: Pool, now: datetime) -> Shown | None:
    """The targets around the pool's, by its own launches; None when it has none to replay."""
    came = history(pool, now, DAYS, LAUNCHES_REPLAYED)
    if came is None:
        return None
    least = max(0, pool.target_ready - AROUND)
    targets = range(least, least + 2 * AROUND + 1)
    found = what_if(pool, pool_facts(pool, now), targets, came, conditions(pool, now, settings.MAX_TOTAL_SANDBOXES))
    return Shown(found, list(_bars(found.rows)), (len(found.rows) * (BAR + GAP), HEIGHT))


def _bars(rows: Sequence[Row]) -> Iterator[Bar]:
    longest = max(row.outcome.idle_seconds_a_launch for row in rows) or 1.0
    for place, row in enumerate(rows):
        served = HEIGHT * row.outcome.hit_share
        idle = HEIGHT * row.outcome.idle_seconds_a_launch / longest
        x = place * (BAR + GAP)
        yield Bar(
            x=x,
            served_y=round(HEIGHT - served, 1),
            served=round(served, 1),
            idle_x=x + BAR // 2,
            idle_y=round(HEIGHT - idle, 1),
            idle=round(idle, 1),
        )
