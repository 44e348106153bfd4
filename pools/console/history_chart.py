"""The fleet over hours to weeks as one picture: how many there were of each kind, one above the other, with what
happened as marks on it. Each column leads to its moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Avg, F, FloatField, Max, Value
from django.db.models.functions import Floor

from pools import incidents
from pools.history_rows import FleetMinute
from pools.incidents import Incident
from pools.models import Pool, PoolMinute
from pools.moments import Seconds

MINUTE = timedelta(minutes=1)
# By name: how long, and how many minutes are one column.
SPANS = {"1h": (60, 1), "6h": (360, 2), "1d": (1_440, 6), "1w": (10_080, 40), "4w": (40_320, 160)}
USUAL = "6h"
HEIGHT = 100
ALARM_HEIGHT = 6
MARK_SHARE = 1 / 250  # of the width
OF_POOL = ("in_use", "ready", "creating")  # from the bottom up
OF_FLEET = ("cold", "deleting")
EDGE_SECONDS = 0.5  # SQLite's moments are exact to a millisecond: a minute must not fall before its own beginning


@dataclass(frozen=True, slots=True)
class Block:
    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened, as a line; an alarm as a bar from its beginning to its end."""

    block: Block
    incident: Incident


@dataclass(frozen=True, slots=True)
class Chart:
    since: datetime
    until: datetime
    columns: int
    blocks: Sequence[Block]
    marks: Sequence[Mark]
    moments: Sequence[datetime]  # one a column, its beginning
    at_x: float
    peak: int

    @property
    def height(self) -> int:
        return HEIGHT

    @property
    def middle(self) -> datetime:
        return self.since + (self.until - self.since) / 2

    @property
    def mark_width(self) -> float:
        return self.columns * MARK_SHARE


def window(at: datetime, span: str, now: datetime) -> tuple[datetime, datetime]:
    """From when until when is shown, in whole columns: `at` is in the middle, or as near to it as the present lets it
    be."""
    length, column_seconds = SPANS[span][0] * MINUTE, SPANS[span][1] * 60
    last = int(min(at + length / 2, now).timestamp()) // column_seconds
    until = datetime.fromtimestamp((last + 1) * column_seconds, UTC)
    return until - length, until


def chart(at: datetime, span: str, pool: Pool | None, now: datetime) -> Chart:
    """The picture around a moment: of one pool, or of all and of what is in none. A fixed number of statements; the
    database counts the minutes together."""
    since, until = window(at, span, now)
    column = SPANS[span][1] * MINUTE
    columns = round((until - since) / column)
    levels, peak = _levels(pool, since, until, column)
    kinds = OF_POOL if pool else OF_POOL + OF_FLEET
    scale = Scale(since, column, columns)
    seen = [*incidents.alarms(since, until, now), *incidents.moments(since, until)]
    marks = [scale.mark(each) for each in seen if pool is None or each.pool in ("", pool.name)]
    highest = max((sum(level.values()) for level in levels.values()), default=0)
    return Chart(
        since,
        until,
        columns,
        tuple(_blocks(levels, kinds, columns, max(1.0, highest))),
        marks,
        [since + number * column for number in range(columns)],
        scale.x(at),
        peak,
    )


@dataclass(frozen=True, slots=True)
class Scale:
    """Where moments are on the picture, in columns from the left."""

    since: datetime
    column: timedelta
    columns: int

    def x(self, moment: datetime) -> float:
        return round(min(max((moment - self.since) / self.column, 0.0), float(self.columns)), 2)

    def mark(self, incident: Incident) -> Mark:
        left, width = self.x(incident.since), self.columns * MARK_SHARE
        if incident.since == incident.until:
            return Mark(Block(incident.kind, left, 0, width, HEIGHT), incident)
        right = self.x(incident.until) if incident.until else float(self.columns)
        return Mark(Block(incident.kind, left, 0, max(width, round(right - left, 2)), ALARM_HEIGHT), incident)


def _levels(
    pool: Pool | None, since: datetime, until: datetime, column: timedelta
) -> tuple[dict[int, dict[str, float]], int]:
    """How many of each kind there were on average in each column of which something is known, and how many at once at
    the most."""
    place = Floor(
        (Seconds("minute") - Value(since.timestamp() - EDGE_SECONDS)) / Value(column.total_seconds()),
        output_field=FloatField(),
    )
    levels: dict[int, dict[str, float]] = {}
    peaks: dict[int, int] = {}
    of_pools = PoolMinute.objects.filter(minute__gte=since, minute__lt=until, **({"pool": pool} if pool else {}))
    counted = [(of_pools, ("pool", "place"), OF_POOL)]
    if pool is None:
        counted.append((FleetMinute.objects.filter(minute__gte=since, minute__lt=until), ("place",), OF_FLEET))  # type: ignore[arg-type]
    for rows, by, kinds in counted:
        at_once = sum((F(kind) for kind in kinds), Value(0))
        wanted = {f"of_{kind}": Avg(kind) for kind in kinds} | {"most": Max(at_once)}
        for row in rows.order_by().annotate(place=place).values(*by).annotate(**wanted):
            level = levels.setdefault(int(row["place"]), {})
            for kind in kinds:
                level[kind] = level.get(kind, 0.0) + row[f"of_{kind}"]
            peaks[int(row["place"])] = peaks.get(int(row["place"]), 0) + row["most"]
    return levels, max(peaks.values(), default=0)


def _blocks(
    levels: Mapping[int, Mapping[str, float]], kinds: Sequence[str], columns: int, highest: float
) -> Iterator[Block]:
    """Columns that are alike are one block a kind."""
    shown = [tuple(round(levels.get(place, {}).get(kind, 0.0), 2) for kind in kinds) for place in range(columns)]
    start = 0
    for place in range(1, columns + 1):
        if place < columns and shown[place] == shown[start]:
            continue
        top = float(HEIGHT)
        for kind, count in zip(kinds, shown[start], strict=True):
            if count:
                height = (HEIGHT - ALARM_HEIGHT) * count / highest
                top -= height
                yield Block(kind, start, round(top, 2), place - start, round(height, 2))
        start = place
