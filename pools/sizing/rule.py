"""How many ready sandboxes a pool needs right now, from when people launched. Pure; moments are in seconds.

A pool orders a sandbox for each one taken. So a launch is served at once when it and the launches within the create
time before it are no more than were wanted then: that many it *needed*, whatever the pool really had. What is wanted is

    on order on average + level * √(that)

The average is the launches of one create time, by the rate of the last 150 launches or of the same hour of the last
seven days, whichever is greater. The level is learned: a launch that needed more than was wanted raises it, one that
did not lowers it by so much less that in the long run the asked share is served at once, however launches come (online
quantile control, "adaptive conformal inference"). It moves a pool between two sizes where neither serves just that
share. When clearly more launches come within one create time than are wanted, they are the average until that is over.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass

ASKED_SHARE = 0.99  # of launches that are to find one ready
DAY = 86400.0
DAYS = 7  # that are looked back to
SAME_HOUR = 1800.0  # before and after the same time of another day
COUNTED = 150  # launches that the rate is taken from
FEW_SECONDS = 1800.0  # that fewer launches stand for at least
SEASON_SECONDS = 300.0  # between two looks at the other days
PACE = 0.1  # how far one miss moves the target: less is slower, more wavers
FIRST_LEVEL = 2.33  # of launches that come at random, while nothing is learned
LEAST_LEVEL = -3.0
LEAST_CREATE_SECONDS = 1.0
SMALL = 0.25  # so that a pool that is hardly used has a width, too


@dataclass(frozen=True, slots=True)
class Past:
    """How the launches of the same hour on other days would have been served: so many days had any, so many launches,
    and so many of them needed no more than the target."""

    days: int
    launches: int
    served: int


class Need:
    """The need of one pool, learned from launch after launch. `create_seconds`: how long one takes on average."""

    def __init__(self, create_seconds: float, share: float = ASKED_SHARE) -> None:
        self.create_seconds, self.share = max(LEAST_CREATE_SECONDS, create_seconds), share
        self.moments: list[float] = []
        self.needed: list[int] = []
        self.level = FIRST_LEVEL
        self._lately: deque[tuple[float, int]] = deque()  # launches within one create time, and what was wanted then
        self._wanted_then = 0  # one create time ago: what is ready by now
        self._season, self._season_at = 0.0, -math.inf

    def launch(self, at: float) -> None:
        """Learn from a launch; they come in order."""
        self._forget(at)
        needed = len(self._lately) + 1
        if self.moments:
            missed = needed > self._wanted_then
            step = PACE / _width(self._on_order(at))
            self.level = max(LEAST_LEVEL, self.level + step * (self.share if missed else self.share - 1))
        self.moments.append(at)
        self.needed.append(needed)
        self._lately.append((at, 0))
        self._lately[-1] = at, self.target(at)

    def target(self, now: float) -> int:
        """How many to keep ready now. 0 while nobody ever launched."""
        if not self.moments:
            return 0
        self._forget(now)
        wanted = self._wanted(self._on_order(now))
        if self.is_surge(now):
            wanted = max(wanted, self._wanted(len(self._lately)))
        return wanted

    def is_surge(self, now: float) -> bool:
        """Whether clearly more launches came within one create time than are wanted by the usual rate."""
        self._forget(now)
        on_order = self._on_order(now)
        return len(self._lately) > self._wanted(on_order) + _width(on_order)

    @property
    def launches_lately(self) -> int:
        """How many came within one create time before what was asked last."""
        return len(self._lately)

    def past(self, hour_begin: float, target: int) -> Past:
        """The launches of the hour that begins then, on the days before."""
        days = launches = served = 0
        for day in range(1, DAYS + 1):
            begin = hour_begin - day * DAY
            of_day = self.needed[bisect_left(self.moments, begin) : bisect_left(self.moments, begin + 3600)]
            days += bool(of_day)
            launches += len(of_day)
            served += sum(needed <= target for needed in of_day)
        return Past(days, launches, served)

    def _wanted(self, on_order: float) -> int:
        return max(1, math.ceil(on_order + self.level * _width(on_order)))

    def _on_order(self, now: float) -> float:
        """How many are on order on average, as launches come and came at this time of the day."""
        count = min(COUNTED, len(self.moments))
        least = self.create_seconds if count == COUNTED else FEW_SECONDS
        rate = count / max(now - self.moments[-count], least)
        if abs(now - self._season_at) >= SEASON_SECONDS:
            self._season, self._season_at = self._rate_of_other_days(now), now
        return max(rate, self._season) * self.create_seconds

    def _rate_of_other_days(self, now: float) -> float:
        days = count = 0
        for day in range(1, DAYS + 1):
            begin = now - day * DAY - SAME_HOUR
            if begin < self.moments[0]:
                break
            days += 1
            count += bisect_left(self.moments, begin + 2 * SAME_HOUR) - bisect_left(self.moments, begin)
        return count / days / (2 * SAME_HOUR) if days else 0.0

    def _forget(self, now: float) -> None:
        while self._lately and self._lately[0][0] <= now - self.create_seconds:
            self._wanted_then = self._lately.popleft()[1]


def _width(on_order: float) -> float:
    return math.sqrt(on_order + SMALL)


def moved(present: int, needed: int, *, least: int, most: int, step: int) -> int:
    """The target to have next: towards what is needed, within the bounds, and by no more than one step."""
    goal = min(most, max(least, needed))
    return max(present - step, min(present + step, goal))
