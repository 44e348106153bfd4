"""What `make bench` makes of its measurements: quantiles, a table, a comparison with an earlier run."""

import json
from pathlib import Path

import pytest

from tests.bench.figures import Row, load, quantiles, save, table, timed, worse

LAUNCH = Row("launch", "SQLite", {"p50 ms": 100.0, "launches a second": 20.0, "n": 60})


def with_figures(**figures: float) -> Row:
    return Row("launch", "SQLite", {name.replace("_", " "): value for name, value in figures.items()})


def test_quantiles_are_the_median_and_nearly_the_worst():
    assert quantiles(range(1, 1001)) == (500.5, 991)


def test_the_99th_percentile_of_few_is_the_worst():
    assert quantiles([3, 1, 2]) == (2, 3)


def test_quantiles_of_nothing_are_refused():
    with pytest.raises(ValueError, match="Nothing was measured"):
        quantiles([])


def test_what_never_succeeded_has_no_times_and_still_a_row():
    assert timed([], 5.0, failed=3) == {"processor ms": 5.0, "failed": 3, "n": 0}


def test_longer_by_more_than_15_percent_is_worse():
    assert worse([with_figures(p50_ms=116)], [LAUNCH]) == ["launch, SQLite: p50 ms 100 → 116"]


def test_a_little_longer_is_not_worse():
    assert worse([with_figures(p50_ms=114)], [LAUNCH]) == []


def test_of_a_pace_less_is_worse():
    assert worse([with_figures(launches_a_second=30)], [LAUNCH]) == []
    assert worse([with_figures(launches_a_second=10)], [LAUNCH]) == ["launch, SQLite: launches a second 20 → 10"]


def test_a_first_failure_is_worse_than_none():
    assert worse([with_figures(failed=1)], [with_figures(failed=0)]) == ["launch, SQLite: failed 0 → 1"]


def test_how_often_it_was_measured_is_neither_better_nor_worse():
    assert worse([with_figures(n=600)], [LAUNCH]) == []


def test_what_the_earlier_run_did_not_measure_is_passed_over():
    assert worse([Row("launch", "PostgreSQL", {"p50 ms": 900.0}), with_figures(p99_ms=900)], [LAUNCH]) == []


def test_a_table_shows_each_figure_beside_its_floor():
    row = Row("launch", "SQLite", {"p50 ms": 45.67, "n": 60}, {"p50 ms": 0.5, "processor ms": 1.25}, "≤ 35")
    last = table([row]).splitlines()[-1]
    assert last == "| launch | SQLite | 45.7 | - | - | n 60 | 0.50 / 1.25 | ≤ 35 |"


def test_a_table_marks_what_got_worse():
    text = table([with_figures(p50_ms=150, launches_a_second=10)], [LAUNCH])
    assert "150 (+50% ▲)" in text
    assert "launches a second 10 (-50% ▲)" in text


def test_a_table_does_not_mark_what_got_better():
    assert "50 (-50%)" in table([with_figures(p50_ms=50)], [LAUNCH])


def test_results_are_kept_and_read_again(tmp_path: Path):
    file = tmp_path / "kept" / "results.json"
    save(file, [LAUNCH], {"processors": 2})
    assert load(file) == [LAUNCH]
    assert json.loads(file.read_text())["about"] == {"processors": 2}
