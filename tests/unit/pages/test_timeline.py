"""A pool's history, from nothing but its sandboxes' timestamps."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pools.timeline import KINDS, Life, target, timeline

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_a_sandbox_is_being_made_then_ready_then_in_use_then_gone():
    line = timeline([Life(at(1), at(2), at(5), at(9))], NOON, at(60))
    assert [line.steps["creating"].at(at(m)) for m in (0.5, 1.5, 2.5)] == [0, 1, 0]
    assert [line.steps["ready"].at(at(m)) for m in (1.5, 3, 6)] == [0, 1, 0]
    assert [line.steps["in_use"].at(at(m)) for m in (4, 6, 10)] == [0, 1, 0]


def test_a_sandbox_that_nobody_took_was_ready_until_it_was_retired():
    line = timeline([Life(at(1), at(2), None, at(9))], NOON, at(60))
    assert [line.steps["ready"].at(at(m)) for m in (5, 10)] == [1, 0]
    assert line.steps["in_use"].peak == 0


def test_a_create_that_failed_was_only_ever_being_made():
    line = timeline([Life(at(1), None, None, at(3))], NOON, at(60))
    assert line.steps["creating"].moments == (NOON, at(1), at(3))
    assert line.steps["ready"].peak == 0


def test_what_began_before_the_window_counts_from_its_start():
    line = timeline([Life(at(-50), at(-40))], NOON, at(60))
    assert line.steps["ready"].at(NOON) == 1


def test_churn_shows_as_many_creates():
    lives = [Life(at(m), at(m + 0.5), None, at(m + 1)) for m in range(0, 30, 2)]
    creating = timeline(lives, NOON, at(60)).steps["creating"]
    assert sum(value for value in creating.values) == 15


def test_averages_weigh_by_time():
    line = timeline([Life(at(0), at(15), None, at(45))], NOON, at(60))
    assert line.steps["ready"].average(at(60)) == 0.5


def test_the_target_holds_for_the_idle_timeout_after_each_demand():
    wanted = target(
        [at(5), at(8), at(40)], target_ready=2, min_ready=0, idle_timeout_seconds=600, since=NOON, until=at(60)
    )
    assert [wanted.at(at(m)) for m in (4, 6, 17, 19, 41, 51)] == [0, 2, 2, 0, 2, 0]


def test_without_demand_the_target_is_the_floor():
    wanted = target([], target_ready=2, min_ready=1, idle_timeout_seconds=600, since=NOON, until=at(60))
    assert wanted.values == (1,)


moments = st.floats(min_value=-30, max_value=90, allow_nan=False)


@given(st.lists(st.lists(moments, min_size=1, max_size=4).map(sorted), max_size=20))
def test_counts_are_never_negative_and_never_more_than_there_were(stories):
    lives = [Life(*(at(m) for m in story)) for story in stories]
    line = timeline(lives, NOON, at(60))
    for kind in KINDS:
        assert all(0 <= value <= len(lives) for value in line.steps[kind].values)
        assert list(line.steps[kind].moments) == sorted(set(line.steps[kind].moments))
