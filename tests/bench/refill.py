"""What burst a pool absorbs, and how long it takes to be full again: reckoned with the product's own budget of requests
to the cloud and a clock that is moved, not measured."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator

from pools.cloud.budget import RequestBudget, Share
from pools.cloud.errors import RateLimited
from tests.bench.figures import Row

APPS_A_PAGE = 200
DEPLOY_SECONDS = 60  # until a new app answers and its games are staged; App Platform's own, which nobody can hurry
PLAYED_SECONDS = 600
HOURS = 3
POOLS = (10, 100, 300)
CREATES_AT_ONCE = 100  # the most that a pool's setting allows


class Cloud:
    """A clock, the budget, and turns that list as often as the budget's pace lets them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.listed_at = -math.inf
        self.budget = RequestBudget(clock=lambda: self.now)

    def take_turn(self, apps: int) -> None:
        """List all apps, if it is time for that."""
        pages = max(1, math.ceil(apps / APPS_A_PAGE))
        if self.now - self.listed_at >= pages * self.budget.pace_seconds() and self._spend(pages, Share.LISTING):
            self.listed_at = self.now

    def create(self) -> bool:
        """As the reconciler fills a pool: only while listings would have something left, too."""
        return self.budget.remaining(share=Share.LISTING) > 0 and self._spend(1, Share.CREATING)

    def delete(self) -> bool:
        return self._spend(1, Share.DELETING)

    def _spend(self, count: int, share: Share) -> bool:
        try:
            self.budget.spend(count, share)
        except RateLimited:
            return False
        return True


def seconds_to_refill(size: int, at_once: int = CREATES_AT_ONCE) -> float:
    """From the moment that the last ready sandbox was taken until all are ready again."""
    cloud, sent, ready = Cloud(), deque[float](), 0
    while ready < size:
        cloud.now += 1
        while sent and sent[0] <= cloud.now - DEPLOY_SECONDS:
            sent.popleft()
            ready += 1
        cloud.take_turn(size + ready + len(sent))
        while ready + len(sent) < size and len(sent) < at_once and cloud.create():
            sent.append(cloud.now)
    return cloud.now


def launches_an_hour() -> float:
    """In the long run, when each launch costs a create before and a delete after it."""
    cloud, due, count = Cloud(), deque[float](), 0
    while cloud.now < HOURS * 3600:
        cloud.now += 1
        cloud.take_turn(len(due))
        while due and due[0] <= cloud.now and cloud.delete():
            due.popleft()
        while cloud.create():
            due.append(cloud.now + DEPLOY_SECONDS + PLAYED_SECONDS)
            count += cloud.now > 3600  # the first hour begins with everything unspent
    return count / (HOURS - 1)


def refill() -> Iterator[Row]:
    where = f"reckoned: {CREATES_AT_ONCE} creates at once, each ready after {DEPLOY_SECONDS} s"
    for size in POOLS:
        figures = {"burst it absorbs": size, "s until it is full again": seconds_to_refill(size)}
        yield Row(f"pool of {size}", where, figures)
    pace = launches_an_hour()
    figures = {"launches an hour": pace, "launches a second": pace / 3600}
    yield Row("launches that the cloud's limits allow in the long run", "reckoned: a create and a delete each", figures)
