"""One pool in simulated time does what theory, and a pencil, say."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from pools.models import OnEmpty
from pools.replay.one_pool import Conditions, Outcome, Simulation
from pools.sizing.arrivals import drawn
from pools.turn.facts import PoolFacts

ROOMY = PoolFacts(
    id=1,
    name="python",
    runtime="python",
    max_ready=100,
    max_concurrent_creates=100,
    idle_timeout_seconds=10**7,
    max_warm_age_seconds=10**7,
)  # nothing limits it but its target
A_MINUTE = Conditions(create_seconds=(60.0,))


def run(pool: PoolFacts, arrivals: list[float], conditions: Conditions = A_MINUTE, days: float = 1.0) -> Outcome:
    return Simulation(pool, arrivals, conditions, days=days).run()


@pytest.mark.parametrize("target", [1, 2, 4])
@pytest.mark.parametrize("create_seconds", [(97.0,), (20.0, 40.0, 231.0)])
def test_launches_at_random_are_served_as_palm_says(target: int, create_seconds: tuple[float, ...]):
    """P(Poisson(rL) ≤ S-1), whatever the distribution of the create time whose mean is L."""
    mean = 30 * 97 / 3600
    expected = sum(math.exp(-mean) * mean**n / math.factorial(n) for n in range(target))
    pool = replace(ROOMY, target_ready=target)
    found = run(pool, drawn(30, 1, 7, seed=3), Conditions(create_seconds), days=7)
    assert found.hit_share == pytest.approx(expected, abs=0.02)


def test_the_first_launch_waits_for_the_create_and_the_next_finds_one_ready():
    found = run(replace(ROOMY, target_ready=1), [0.0, 500.0])
    assert (found.launches, found.hits, found.creates) == (2, 1, 3)
    assert (found.wait_seconds(0.49), found.wait_seconds(0.99)) == (0.0, 60.0)


def test_a_launch_waits_for_the_sandbox_that_is_on_its_way():
    """The first finds nothing and starts cold; the create that it set off is ready at 60, for the launch of 20."""
    found = run(replace(ROOMY, target_ready=1), [0.0, 20.0])
    assert found.waits == [60.0, 40.0]


def test_a_pool_that_refuses_lets_nobody_wait():
    pool = replace(ROOMY, target_ready=1)
    found = run(pool, [0.0, 300.0], Conditions((60.0,), on_empty=OnEmpty.FAIL))
    assert (found.hits, found.refused, found.waits) == (1, 1, [])


def test_idle_sandboxes_go_one_by_one_after_the_idle_timeout():
    """Two are ready at 60, one is retired at 600, the other at 630."""
    pool = replace(ROOMY, target_ready=2, idle_timeout_seconds=600, scale_down_delay_seconds=30)
    found = run(pool, [0.0])
    assert found.idle_seconds == pytest.approx(540 + 570, abs=3)


def test_what_is_warm_for_too_long_is_replaced_before_it_goes():
    pool = replace(ROOMY, target_ready=1, max_warm_age_seconds=1800)
    found = run(pool, [0.0], days=0.25)
    assert found.creates == pytest.approx(1 + 0.25 * 86400 / 1860, abs=1.5)
    assert found.idle_seconds > 0.25 * 86400 - 70


def test_creates_are_no_more_at_a_time_than_the_pool_allows():
    pool = replace(ROOMY, target_ready=3, max_concurrent_creates=1)
    found = run(pool, [0.0, 125.0, 126.0, 127.0])
    assert found.hits == 2  # by then two of three are ready, one after the other


def test_the_pool_takes_no_more_places_than_the_fleet_has():
    pool = replace(ROOMY, target_ready=3)
    found = run(pool, [0.0, 1000.0, 1000.1, 1000.2], Conditions((60.0,), run_seconds=(100_000.0,), max_total=3))
    assert (found.launches, found.hits) == (4, 2)  # the first launch has one of three places, and keeps it


def test_it_cools_down_after_a_launch():
    pool = replace(ROOMY, target_ready=1, cooldown_after_acquire_seconds=100)
    assert run(pool, [0.0, 159.0]).hits == 0
    assert run(pool, [0.0, 161.0]).hits == 1


def test_the_same_seed_gives_the_same_outcome():
    arrivals, conditions = drawn(60, 2, 1, seed=1), Conditions((30.0, 90.0, 120.0))
    first, again, other = (
        Simulation(replace(ROOMY, target_ready=4), arrivals, conditions, days=1, seed=seed).run() for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_target_that_moves_is_followed_and_asked_for_each_minute_at_least():
    asked: list[float] = []

    def target(now: float, present: int) -> int:
        asked.append(now)
        return 3 if now >= 1000 else 1

    pool = replace(ROOMY, target_ready=1)
    found = Simulation(pool, [0.0, 1100.0, 1101.0, 1102.0], A_MINUTE, days=0.05, target=target).run()
    assert found.hits == 3
    assert max(later - earlier for earlier, later in pairwise(asked)) <= 60


def test_one_is_billed_for_a_minute_at_least():
    pool = replace(ROOMY, target_ready=0)
    found = run(pool, [0.0], Conditions((10.0,), run_seconds=(5.0,)))
    assert found.billed_seconds == 60.0
