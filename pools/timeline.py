"""A pool's sandboxes in each state over time, derived from their timestamps, so that no counter can drift."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

KINDS = ("creating", "ready", "in_use")


@dataclass(frozen=True, slots=True)
class Life:
    """The moments of one sandbox; None for those that did not come (yet)."""

    requested_at: datetime
    ready_at: datetime | None = None
    acquired_at: datetime | None = None
    delete_requested_at: datetime | None = None

    def spans(self) -> Iterable[tuple[str, datetime, datetime | None]]:
        """(kind, from, until) for each state it was in; an open end is None."""
        starts = [("creating", self.requested_at), ("ready", self.ready_at), ("in_use", self.acquired_at)]
        begun = [(kind, start) for kind, start in starts if start is not None]
        ends = [start for _, start in begun[1:]] + [self.delete_requested_at]
        for (kind, start), end in zip(begun, ends, strict=True):
            yield kind, start, end


@dataclass(frozen=True, slots=True)
class Steps:
    """A count that changes at moments: `values[i]` holds from `moments[i]` until the next."""

    moments: tuple[datetime, ...]
    values: tuple[int, ...]

    def at(self, moment: datetime) -> int:
        index = bisect_right(self.moments, moment) - 1
        return self.values[index] if index >= 0 else 0

    @property
    def peak(self) -> int:
        return max(self.values, default=0)

    def between(self, since: datetime, until: datetime) -> Steps:
        """The same steps, cut to a stretch of time."""
        inner = [(m, v) for m, v in zip(self.moments, self.values, strict=True) if since < m < until]
        return Steps((since, *(m for m, _ in inner)), (self.at(since), *(v for _, v in inner)))

    def average(self, until: datetime) -> float:
        """The mean over time, from the first moment to `until`."""
        if not self.moments or until <= self.moments[0]:
            return float(self.values[-1]) if self.values else 0.0
        ends = (*self.moments[1:], until)
        area = sum(
            value * (end - start).total_seconds()
            for start, end, value in zip(self.moments, ends, self.values, strict=True)
        )
        return area / (until - self.moments[0]).total_seconds()


@dataclass(frozen=True, slots=True)
class Timeline:
    since: datetime
    until: datetime
    steps: dict[str, Steps] = field(default_factory=dict)

    @property
    def peak(self) -> int:
        return max((steps.peak for steps in self.steps.values()), default=0)


def timeline(lives: Iterable[Life], since: datetime, until: datetime) -> Timeline:
    """For each of KINDS, how many there were at each moment from `since` to `until`."""
    changes: dict[str, list[tuple[datetime, int]]] = {kind: [] for kind in KINDS}
    for life in lives:
        for kind, start, end in life.spans():
            last = until if end is None else min(end, until)
            first = max(start, since)
            if first >= last:
                continue
            changes[kind].append((first, 1))
            if last < until:
                changes[kind].append((last, -1))
    return Timeline(since, until, {kind: _steps(changes[kind], since) for kind in KINDS})


def target(
    demands: Sequence[datetime],
    *,
    target_ready: int,
    min_ready: int,
    idle_timeout_seconds: int,
    since: datetime,
    until: datetime,
) -> Steps:
    """Return how many ready ones were wanted: `target_ready` for the idle timeout after each demand, else the floor."""
    warm = timedelta(seconds=idle_timeout_seconds)
    changes: list[tuple[datetime, int]] = []
    end = since
    for demand in sorted(demands):
        first, last = max(demand, end, since), min(demand + warm, until)
        if first >= last:
            continue
        changes.append((first, target_ready - min_ready))
        if last < until:
            changes.append((last, min_ready - target_ready))
        end = last
    return _steps(changes, since, begin=min_ready)


def sampled(moments: Sequence[datetime], counts: Sequence[int]) -> Steps:
    """Return counts that were taken at these moments as steps."""
    news = [index for index, count in enumerate(counts) if index == 0 or count != counts[index - 1]]
    return Steps(tuple(moments[index] for index in news), tuple(counts[index] for index in news))


def _steps(changes: Iterable[tuple[datetime, int]], since: datetime, begin: int = 0) -> Steps:
    """Changes as steps: those of one moment are one step, and a step that changes nothing is none."""
    sums: dict[datetime, int] = {since: begin}
    for moment, change in changes:
        sums[moment] = sums.get(moment, 0) + change
    moments: list[datetime] = []
    values: list[int] = []
    count = 0
    for moment in sorted(sums):
        count += sums[moment]
        if not values or values[-1] != count:
            moments.append(moment)
            values.append(count)
    return Steps(tuple(moments), tuple(values))
