"""The rule for a pool's size delivers the share that it is asked for, and follows a step."""

from __future__ import annotations

import pytest

from pools.sizing.arrivals import drawn
from pools.sizing.rule import DAY, Need, Past

CREATE_SECONDS = 97.0


def served(need: Need, arrivals: list[float], since: float) -> float:
    """The share of launches that needed no more than was wanted a create time before: by then it is ready."""
    hits = launches = place = 0
    wanted: list[int] = []
    for number, at in enumerate(arrivals):
        while arrivals[place] <= at - CREATE_SECONDS:
            place += 1
        if at >= since and place:
            launches += 1
            hits += number - place + 1 <= wanted[place - 1]
        need.launch(at)
        wanted.append(need.target(at))
    return hits / launches


@pytest.mark.parametrize("cv", [1.0, 2.0])
@pytest.mark.parametrize("an_hour", [12, 60, 240])
def test_the_asked_share_is_served_at_once_however_launches_come(cv: float, an_hour: float):
    arrivals = drawn(an_hour, cv, days=16 if an_hour < 240 else 5, seed=4)
    assert 0.985 <= served(Need(CREATE_SECONDS), arrivals, since=2 * DAY) <= 0.995


def test_another_share_can_be_asked_for():
    arrivals = drawn(60, 1, days=10, seed=2)
    assert served(Need(CREATE_SECONDS, share=0.9), arrivals, since=2 * DAY) == pytest.approx(0.9, abs=0.01)


def test_a_day_that_goes_up_and_down_is_served_as_well():
    arrivals = drawn(60, 1, days=14, seed=3, rates=[0.3] * 72 + [1.7] * 72)
    assert 0.985 <= served(Need(CREATE_SECONDS), arrivals, since=2 * DAY) <= 0.995


def test_nobody_ever_launched_so_none_is_needed():
    assert Need(CREATE_SECONDS).target(0.0) == 0


def test_it_learns_how_clumped_launches_are():
    even, clumped = Need(CREATE_SECONDS), Need(CREATE_SECONDS)
    for need, cv in ((even, 1.0), (clumped, 2.0)):
        for at in drawn(60, cv, days=7, seed=5):
            need.launch(at)
    assert even.target(7 * DAY) <= 7
    assert clumped.target(7 * DAY) >= 10


@pytest.mark.parametrize("seed", range(4))
def test_a_tenfold_step_is_answered_within_a_create_time_and_five_seconds(seed: int):
    """At 60 an hour 1.6 are on order, at 600 some 16, of which 99 % need at most 27."""
    need = Need(CREATE_SECONDS)
    for at in drawn(60, 1, days=7, seed=seed):
        need.launch(at)
    assert need.target(7 * DAY) <= 8
    most = 0
    for at in drawn(600, 1, days=1, seed=seed + 10):
        if at > CREATE_SECONDS + 5:
            break
        need.launch(7 * DAY + at)
        most = max(most, need.target(7 * DAY + at))
    assert most >= 25


def test_after_a_surge_it_comes_down_again():
    need = Need(CREATE_SECONDS)
    for at in drawn(12, 1, days=7, seed=1):
        need.launch(at)
    begin, before = 7 * DAY, need.target(7 * DAY)
    for number in range(20):
        need.launch(begin + number)
    assert need.is_surge(begin + 20)
    assert need.target(begin + 20) > 20
    assert need.target(begin + 20 + CREATE_SECONDS) <= before + 3


def test_the_same_hour_of_other_days_is_looked_back_at():
    need = Need(CREATE_SECONDS)
    for day in range(3):
        for second in (0, 10, 20):
            need.launch(day * DAY + 1800 + second)
    assert need.past(3 * DAY, target=2) == Past(days=3, launches=9, served=6)
    assert need.past(3 * DAY + 7200, target=2) == Past(0, 0, 0)
