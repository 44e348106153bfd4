"""The number of ready sandboxes that a pool should aim for, from its last hours. Pure.

A pool that orders a new sandbox for each one taken is an (S-1, S) stock: with S wanted, the number on order is the
number of launches within the time one takes to make. For launches that come at random (Poisson, rate r) and a create
time L, that number is Poisson with mean r·L, whatever L's distribution (Palm). A launch finds a ready one when at most
S-1 are on order, so S is the smallest number with P(Poisson(r·L) ≤ S-1) ≥ the share that should be served at once.
The rate is that of the busiest hour, so that quiet hours do not speak for it; L is the median.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

SERVED_AT_ONCE = 0.95
BUSY_WINDOW = timedelta(hours=1)
DEFAULT_CREATE_SECONDS = 60.0  # while none was made yet; App Platform takes 30 to 90 s
MOST = 1000


@dataclass(frozen=True, slots=True)
class Recommendation:
    """`target_ready`, and the sentence that says why."""

    target_ready: int
    reason: str


def recommend(
    arrivals: Sequence[datetime], create_seconds: Sequence[float], *, max_ready: int, hours: int
) -> Recommendation:
    """The `target_ready` that would have served SERVED_AT_ONCE of the launches of the last `hours` at once."""
    if not arrivals:
        return Recommendation(0, f"nobody wanted one in the last {hours} h")
    busiest = most_within(sorted(arrivals), BUSY_WINDOW)
    takes = median(create_seconds) if create_seconds else DEFAULT_CREATE_SECONDS
    mean = busiest * takes / BUSY_WINDOW.total_seconds()
    wanted = stock_for(mean, SERVED_AT_ONCE)
    measured = f"takes {takes:.0f} s to make" if create_seconds else f"should take {takes:.0f} s to make"
    reason = f"{busiest} launch{'es' if busiest > 1 else ''} in the busiest hour of the last {hours}, one {measured}"
    reason += f": {mean:.2g} on order on average, so {wanted} ready serve {SERVED_AT_ONCE:.0%} at once"
    if wanted > max_ready:
        reason += f"; that needs max ready raised from {max_ready}"
    return Recommendation(wanted, reason)


def most_within(moments: Sequence[datetime], window: timedelta) -> int:
    """The most moments in any stretch of that length; `moments` in order."""
    most = first = 0
    for last, moment in enumerate(moments):
        while moment - moments[first] >= window:
            first += 1
        most = max(most, last - first + 1)
    return most


def stock_for(mean: float, share: float) -> int:
    """The smallest S with P(Poisson(mean) ≤ S-1) ≥ share."""
    if mean > MOST / 2:
        return math.ceil(mean + 2 * math.sqrt(mean)) + 1  # the exact sum would underflow; this is its normal limit
    probability = term = math.exp(-mean)
    stock = 1
    while probability < share and stock < MOST:
        term *= mean / stock
        probability += term
        stock += 1
    return stock
