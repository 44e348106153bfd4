"""A pool's last hours as a small picture: how many were in use, ready and being made, one above the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q

from pools.models import Origin, Pool, Sandbox
from pools.timeline import Life, Timeline, timeline

SHOWN = timedelta(hours=3)
COLUMNS = 180  # one a minute
HEIGHT = 40
STACK = ("in_use", "ready", "creating")  # from the bottom up
LIVES_LOOKED_AT = 5_000


@dataclass(frozen=True, slots=True)
class Block:
    kind: str
    x: int
    y: float
    width: int
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    pool: Pool
    blocks: Sequence[Block]
    peak: int
    since: datetime
    until: datetime
    made: int

    @property
    def size(self) -> tuple[int, int]:
        return COLUMNS, HEIGHT


def charts(pools: Sequence[Pool], now: datetime) -> list[Chart]:
    """One chart a pool, from one query for all."""
    since = now - SHOWN
    rows = Sandbox.objects.filter(
        Q(delete_requested_at=None) | Q(delete_requested_at__gt=since), pool__in=pools, origin=Origin.POOL
    )
    lives: dict[int, list[Life]] = {pool.pk: [] for pool in pools}
    columns = ("pool_id", "requested_at", "ready_at", "acquired_at", "delete_requested_at")
    for pool_id, *moments in rows.order_by("-requested_at").values_list(*columns)[:LIVES_LOOKED_AT]:
        if pool_id in lives:
            lives[pool_id].append(Life(*moments))
    return [chart(pool, lives[pool.pk], since, now) for pool in pools]


def chart(pool: Pool, lives: Sequence[Life], since: datetime, until: datetime) -> Chart:
    line = timeline(lives, since, until)
    samples = _samples(line)
    peak = max((sum(sample) for sample in samples), default=0)
    made = sum(life.requested_at >= since for life in lives)
    return Chart(pool, tuple(_blocks(samples, max(1, peak))), peak, since, until, made)


def _samples(line: Timeline) -> list[tuple[int, ...]]:
    """Return how many of each kind there were at the end of each column."""
    step = (line.until - line.since) / COLUMNS
    moments = [line.since + step * (column + 1) for column in range(COLUMNS)]
    return [tuple(line.steps[kind].at(moment) for kind in STACK) for moment in moments]


def _blocks(samples: Sequence[tuple[int, ...]], peak: int) -> Iterator[Block]:
    """Columns that are alike are one block a kind."""
    start = 0
    for column in range(1, len(samples) + 1):
        if column < len(samples) and samples[column] == samples[start]:
            continue
        top = float(HEIGHT)
        for kind, count in zip(STACK, samples[start], strict=True):
            if count:
                height = HEIGHT * count / peak
                top -= height
                yield Block(kind, start, round(top, 2), column - start, round(height, 2))
        start = column
