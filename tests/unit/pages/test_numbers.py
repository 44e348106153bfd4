"""How numbers are written and drawn."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from pools.models import Pool
from pools.timeline import Life, Steps, timeline
from runs.pages import charts
from runs.pages.statistics import Distribution, HitRate, PoolHistory
from runs.templatetags import site

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0 ms"),
        (84, "84 ms"),
        (994, "994 ms"),
        (995, "1.0 s"),
        (4320, "4.3 s"),
        (59_949, "59.9 s"),
        (59_950, "1 min"),
    ],
)
def test_milliseconds_as_people_read_them(value, words):
    assert site.ms(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (125, "2 min 5 s"), (3600, "1 h"), (11_400, "3 h 10 min")],
)
def test_seconds_as_people_read_them(value, words):
    assert site.seconds(value) == words


def test_small_amounts_keep_the_places_that_say_something():
    assert [site.usd(Decimal(text)) for text in ("0", "0.0027", "3.5")] == ["$0.00", "$0.0027", "$3.50"]


def test_quantiles_are_times_that_were_measured():
    times = Distribution("cold", "Cold", sorted([10, 20, 30, 40]))
    assert (times.p50_ms, times.p90_ms, times.p99_ms) == (20, 40, 40)
    assert Distribution("cold", "Cold", [7]).p50_ms == 7


def test_shares_of_warm_launches_make_a_whole():
    hits = HitRate(at_once=3, waited=1, fell_back=4)
    assert hits.percent == 38
    assert sum(share.share for share in hits.shares) == pytest.approx(100, abs=0.2)


def test_a_histogram_shows_every_launch_within_its_frame():
    drawn = charts.histogram([Distribution("staged", "", [0, 80, 90]), Distribution("cold", "", [45_000, 300_000])])
    for row in drawn.rows:
        assert row.bars
        for bar in row.bars:
            assert 0 <= bar.x <= bar.x + bar.width <= 100
            assert 0 <= bar.y <= bar.y + bar.height <= charts.ROW_HEIGHT + 0.1


def busy(sandboxes: int) -> PoolHistory:
    """Six hours in which one sandbox after another was ready for a moment, and once three at a time."""
    until = NOON + timedelta(hours=6)
    ready = [NOON + (until - NOON) * n / sandboxes for n in range(sandboxes)]
    lives = [Life(at, at, None, at + timedelta(seconds=5)) for at in (*ready, ready[7], ready[7])]
    return PoolHistory(Pool(name="python"), timeline(lives, NOON, until), Steps((NOON,), (1,)), ready)


@pytest.mark.parametrize("sandboxes", [20, 3_000])
def test_a_chart_shows_the_peak_and_no_more_steps_than_can_be_seen(sandboxes: int):
    drawn = charts.step_chart("ready", busy(sandboxes))
    assert 20 <= len(drawn.bars) <= charts.MOST_STEPS
    assert [bar.height for bar in drawn.bars].count(charts.STEPS_HEIGHT) == 1
    assert all(0 <= bar.x <= 100 and bar.x + bar.width <= 100.3 for bar in drawn.bars)


def test_a_text_keeps_its_paragraphs_and_loses_its_line_breaks():
    assert site.paragraphs("One\ntwo.\n\n  Three.\n") == ["One two.", "Three."]
