"""Launches to size a pool by: drawn with a rate and a CV, or read from a file."""

from __future__ import annotations

from itertools import pairwise
from statistics import mean, pstdev

import pytest

from pools.sizing.arrivals import BadSeries, drawn, per_hour, read


@pytest.mark.parametrize("cv", [0.5, 1.0, 2.0])
def test_gaps_have_the_rate_and_the_variation_that_were_asked_for(cv: float):
    moments = drawn(60, cv, days=60, seed=1)
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert mean(gaps) == pytest.approx(60, rel=0.05)
    assert pstdev(gaps) / mean(gaps) == pytest.approx(cv, rel=0.05)


def test_one_seed_draws_one_series_and_another_another():
    assert drawn(60, 2, 1, seed=5) == drawn(60, 2, 1, seed=5) != drawn(60, 2, 1, seed=6)


def test_launches_follow_the_rates_of_a_series():
    moments = drawn(60, 1, days=10, seed=1, rates=[0.0] * 72 + [2.0] * 72)
    assert len(moments) == pytest.approx(10 * 24 * 60, rel=0.05)
    assert all(moment % 86400 >= 43200 for moment in moments)


def test_a_file_has_rates_or_moments():
    assert read(["ten_minutes,relative_rate", "0,0.5", "1,1.5"]).rates == (0.5, 1.5)
    assert read(["2026-03-01T12:00:10Z", "2026-03-01T12:00:00Z"]).moments == (0.0, 10.0)
    assert read(["# seconds", "5", "8.5"]).moments == (0.0, 3.5)


@pytest.mark.parametrize("lines", [[], ["hello"], ["ten_minutes,relative_rate", "0"], ["nan"], ["5", "inf"]])
def test_a_file_that_is_no_series_is_refused_with_a_sentence(lines: list[str]):
    with pytest.raises(BadSeries, match=r"^The file .*[.]$"):
        read(lines)


@pytest.mark.parametrize("text", ["", "60/d", "0/h", "-3/h", "nan/h", "1e9/h"])
def test_a_rate_that_is_none_is_refused(text: str):
    with pytest.raises(BadSeries, match="write 60/h"):
        per_hour(text)
    assert per_hour("60/h") == per_hour("60") == 60
