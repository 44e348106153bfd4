"""The geometry of the charts of /stats/, which the templates draw as SVG.

Across is in percent and down in pixels: a chart is as wide as there is room, and its words stay as large as others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pools.timeline import Steps
from runs.pages.statistics import Distribution, PoolHistory

ROW_HEIGHT = 56
STEPS_HEIGHT = 84
MOST_STEPS = 120  # three minutes each: a busy pool's page would be megabytes otherwise
BUCKETS_A_DECADE = 8
TICKS = ((10, "10 ms"), (100, "0.1 s"), (1_000, "1 s"), (10_000, "10 s"), (100_000, "100 s"), (1_000_000, "17 min"))


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Tick:
    x: float
    text: str
    anchor: str = "middle"
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class HistogramRow:
    distribution: Distribution
    bars: Sequence[Bar]
    median_x: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """One row a distribution, over one logarithmic axis, so that 0.1 s and 40 s can stand side by side."""

    rows: Sequence[HistogramRow]
    ticks: Sequence[Tick]


def histogram(distributions: Sequence[Distribution]) -> Histogram:
    fastest = min(max(1, d.fastest_ms) for d in distributions)
    slowest = max(d.slowest_ms for d in distributions)
    low = math.floor(math.log10(fastest))
    high = max(low + 1, math.ceil(math.log10(max(slowest, fastest) + 1)))

    def x(ms: float) -> float:
        return round(100 * (math.log10(max(ms, 1)) - low) / (high - low), 2)

    rows = [HistogramRow(d, tuple(_bars(d, low, high)), x(d.p50_ms)) for d in distributions]
    ticks = [Tick(x(ms), text, _anchor(x(ms))) for ms, text in TICKS if low <= math.log10(ms) <= high]
    return Histogram(rows, ticks)


def _bars(distribution: Distribution, low: int, high: int) -> Iterator[Bar]:
    count = (high - low) * BUCKETS_A_DECADE
    width = 100 / count
    heights = [0] * count
    for ms in distribution.took_ms:
        index = int((math.log10(max(ms, 1)) - low) * BUCKETS_A_DECADE)
        heights[min(max(index, 0), count - 1)] += 1
    top = max(heights)
    for index, number in enumerate(heights):
        if number:
            height = max(3.0, ROW_HEIGHT * number / top)
            yield Bar(
                round((index + 0.06) * width, 2),
                round(ROW_HEIGHT - height, 1),
                round(0.88 * width, 2),
                round(height, 1),
            )


def _anchor(x: float) -> str:
    if x < 4:
        return "start"
    return "end" if x > 96 else "middle"


@dataclass(frozen=True, slots=True)
class Line:
    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, slots=True)
class Level:
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class StepChart:
    key: str
    title: str
    bars: Sequence[Bar]
    target: Sequence[Line]
    levels: Sequence[Level]
    hours: Sequence[Tick]


@dataclass(frozen=True, slots=True)
class HourRow:
    since: datetime
    made: int
    ready: float
    target: float
    creating: float
    in_use: float


STEP_TITLES = {"ready": "Ready, against the target", "creating": "Being made", "in_use": "In use"}


@dataclass(frozen=True, slots=True)
class PoolChart:
    """A pool's last hours: three charts over one axis, and the same as numbers, hour by hour."""

    history: PoolHistory
    charts: Sequence[StepChart]
    rows: Sequence[HourRow]

    @classmethod
    def of(cls, history: PoolHistory) -> PoolChart:
        charts = [step_chart(key, history, target=history.target if key == "ready" else None) for key in STEP_TITLES]
        return cls(history, charts, list(_hour_rows(history)))


def _hour_rows(history: PoolHistory) -> Iterator[HourRow]:
    line, start = history.line, history.line.since
    while start < line.until:
        end = min(start + timedelta(hours=1), line.until)
        means = {key: steps.between(start, end).average(end) for key, steps in line.steps.items()}
        yield HourRow(
            start, history.made_between(start, end), target=history.target.between(start, end).average(end), **means
        )
        start = end


def step_chart(key: str, history: PoolHistory, target: Steps | None = None) -> StepChart:
    """One kind of sandboxes as an area from 0 to the pool's peak, with the target as a line over it."""
    steps, peak = history.line.steps[key], history.peak
    since, until = history.line.since, history.line.until
    seconds = (until - since).total_seconds()

    def x(moment: datetime) -> float:
        return round(100 * (moment - since).total_seconds() / seconds, 2)

    def y(value: int) -> float:
        return round(STEPS_HEIGHT * (1 - value / peak), 1)

    bars = [
        Bar(x(start), y(value), max(0.25, round(x(end) - x(start), 2)), round(STEPS_HEIGHT - y(value), 1))
        for start, end, value in _stretches(steps, until)
        if value
    ]
    lines: list[Line] = []
    for start, end, value in _stretches(target, until) if target else ():
        if lines:
            lines.append(Line(x(start), lines[-1].y2, x(start), y(value)))
        lines.append(Line(x(start), y(value), x(end), y(value)))
    levels = [Level(y(value), str(value)) for value in sorted({0, peak, *([peak // 2] if peak % 2 == 0 else [])})]
    return StepChart(key, STEP_TITLES[key], bars, lines, levels, tuple(_hours(since, until, x)))


def _stretches(steps: Steps, until: datetime) -> Iterator[tuple[datetime, datetime, int]]:
    """(from, until, value) of each step; where they are too many to be seen, of as many as can be."""
    if len(steps.moments) > MOST_STEPS:
        steps = _thinned(steps, until)
    return zip(steps.moments, (*steps.moments[1:], until), steps.values, strict=True)


def _thinned(steps: Steps, until: datetime) -> Steps:
    """The most that there was in each of MOST_STEPS stretches of the same length."""
    since = steps.moments[0]
    length = (until - since) / MOST_STEPS
    most = [0] * MOST_STEPS
    for start, end, value in zip(steps.moments, (*steps.moments[1:], until), steps.values, strict=True):
        for stretch in range(int((start - since) / length), min(math.ceil((end - since) / length), MOST_STEPS)):
            most[stretch] = max(most[stretch], value)
    return Steps(tuple(since + length * stretch for stretch in range(MOST_STEPS)), tuple(most))


def _hours(since: datetime, until: datetime, x: Callable[[datetime], float]) -> Iterator[Tick]:
    """Every second full hour, or each when there are few."""
    step = 1 if until - since <= timedelta(hours=4) else 2
    hour = since.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    while hour <= until:
        if (until.hour - hour.hour) % step == 0:
            yield Tick(x(hour), f"{hour:%H:%M}", "end" if x(hour) > 90 else "start" if x(hour) < 10 else "middle", hour)
        hour += timedelta(hours=1)
