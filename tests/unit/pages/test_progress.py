"""How far a launch is, from how long its parts usually take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.launching.progress import Progress, left, progress_at

USUAL = {"acquire": 6_000.0, "bootstrap": 1_000.0, "restore": 2_000.0, "start": 1_000.0}
times = st.floats(0, 1e7)


def at(step: str, elapsed_ms: float, in_step_ms: float = 0.0) -> Progress:
    return progress_at(step, USUAL, elapsed_ms=elapsed_ms, in_step_ms=in_step_ms)


def test_at_the_click_nothing_is_done_and_all_is_left():
    assert at("acquire", 0) == Progress("acquire", 0.0, 10.0)


def test_each_part_that_is_done_counts_with_what_it_took():
    assert at("acquire", 3_000, 3_000) == Progress("acquire", 0.3, 7.0)
    assert at("restore", 7_000) == Progress("restore", 0.7, 3.0)


def test_a_launch_that_is_slower_than_usual_is_not_taken_to_be_done():
    late = at("acquire", 60_000, 60_000)
    assert late.share < 1
    assert late.left_seconds == pytest.approx(4.6)


@given(st.sampled_from(list(USUAL)), times, times)
def test_a_share_is_one_and_something_is_always_left(step: str, elapsed_ms: float, in_step_ms: float):
    found = at(step, elapsed_ms, in_step_ms)
    assert 0 <= found.share < 1
    assert found.left_seconds > 0


def test_a_launch_that_is_late_is_told_no_number_that_stands_for_minutes():
    assert not at("acquire", 7_000, 7_000).is_late
    assert at("acquire", 8_000, 8_000).is_late
    assert left(None) == "longer than usual"
    assert left(9.7) == "about 10 s left"
