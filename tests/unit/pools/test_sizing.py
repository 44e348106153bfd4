"""The recommended size follows from how launches came and how long a sandbox takes."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from pools.console.sizing import most_within, recommend, stock_for
from tests.unit.pools.builders import NOW


def every(minutes: float, count: int) -> list:
    return [NOW - timedelta(minutes=minutes * n) for n in range(count)]


def test_nobody_came_so_none_is_needed():
    found = recommend([], [30.0], max_ready=5, hours=6)
    assert (found.target_ready, found.reason) == (0, "nobody wanted one in the last 6 h")


def test_a_launch_an_hour_needs_one():
    assert recommend(every(60, 6), [40.0], max_ready=5, hours=6).target_ready == 1


def test_the_busiest_hour_counts_not_the_average():
    burst = every(0.5, 100)
    assert recommend(burst, [60.0], max_ready=9, hours=6).target_ready == stock_for(100 * 60 / 3600, 0.95)


def test_more_than_the_pool_may_hold_is_said():
    found = recommend(every(0.5, 100), [60.0], max_ready=2, hours=6)
    assert found.target_ready > 2
    assert "max ready raised from 2" in found.reason


def test_before_the_first_create_a_usual_time_is_taken_and_named():
    assert "should take 60 s" in recommend(every(60, 2), [], max_ready=2, hours=6).reason


def test_the_most_within_a_window_is_counted():
    moments = [NOW + timedelta(minutes=m) for m in (0, 50, 59, 60, 61, 300)]
    assert most_within(moments, timedelta(hours=1)) == 4


@pytest.mark.parametrize("mean", [0.05, 0.5, 2.0, 20.0])
def test_the_stock_serves_its_share_at_once_and_one_less_would_not(mean: float):
    """Against a simulation: launches at random, each taken one ordered again, ready after a fixed time."""

    def served(stock: int) -> float:
        dice = random.Random(7)
        now, due, hits, launches = 0.0, [], 0, 40_000
        for _ in range(launches):
            now += dice.expovariate(mean)
            due = [moment for moment in due if moment > now]
            hits += len(due) < stock
            due.append(now + 1.0)
        return hits / launches

    stock = stock_for(mean, 0.95)
    assert served(stock) >= 0.94
    assert stock == 1 or served(stock - 1) < 0.955


def test_a_flood_does_not_break_the_arithmetic():
    assert stock_for(5_000, 0.95) > 5_000
