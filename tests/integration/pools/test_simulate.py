"""`manage.py pool simulate`: a table of targets, by the pool's own launches, a file's, or drawn ones."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from pools.models import Pool
from pools.signals import launches_asked

pytestmark = pytest.mark.django_db

ROOMY = ("--max-total", "100", "--idle-timeout", "100000", "--concurrent", "50")


def simulate(*arguments: str) -> str:
    out = StringIO()
    call_command("pool", "simulate", "python", *arguments, stdout=out)
    return out.getvalue()


def test_the_table_has_a_row_a_target_and_names_the_present_and_the_recommended_one(pool):
    Pool.objects.update(target_ready=2)
    said = simulate("--target", "1..5", "--arrivals", "30/h", "--days", "2", *ROOMY).splitlines()
    assert said[0].startswith("Pool python, ")
    assert "launches drawn: 30/h, CV 1, 2 days" in said[0]
    assert [line.split()[0] for line in said[2:8]] == ["1", "2", "3", "4", "5", "rule"]
    assert said[3].endswith("present")
    assert said[-1] == "Recommended: 4, the smallest that serves 99 % at once."
    assert said[5].endswith("recommended")


def test_for_programs_it_is_json_and_the_same_each_time(pool):
    asked = ("--target", "2,4", "--arrivals", "60/h", "--cv", "2", "--days", "1", "--seed", "7", "--json", *ROOMY)
    told = json.loads(simulate(*asked))
    assert [row["target"] for row in told["rows"]] == [2, 4, None]
    assert told["rows"][0]["hit_percent"] < told["rows"][1]["hit_percent"]
    assert told["rows"][0]["usd_a_month"] < told["rows"][1]["usd_a_month"]
    assert json.loads(simulate(*asked)) == told


def test_the_pools_own_launches_are_replayed_and_it_says_how_many_days_there_are(pool):
    begin = timezone.now() - timedelta(days=3)

    def launches(since, **_):
        return [begin + timedelta(minutes=30 * n) for n in range(144)]

    launches_asked.connect(launches)
    try:
        said = simulate("--target", "1")
    finally:
        launches_asked.disconnect(launches)
    assert "the pool's own 144 launches, of 3.0 days" in said


def test_a_file_of_rates_or_of_moments_is_replayed(pool, tmp_path: Path):
    rates, moments = tmp_path / "rates.csv", tmp_path / "moments.csv"
    rates.write_text("ten_minutes,relative_rate\n" + "".join(f"{n},{n % 2 * 2}\n" for n in range(144)))
    moments.write_text("".join(f"{n * 600}\n" for n in range(100)))
    assert "drawn by" in simulate("--trace", str(rates), "--target", "1", "--arrivals", "20/h")
    said = simulate("--trace", str(moments), "--target", "1", *ROOMY)
    assert "100 launches of" in said
    assert "98.99 %" in said or "99.00 %" in said  # only the first has to wait


def test_what_held_every_target_back_is_said(pool, settings):
    settings.MAX_TOTAL_SANDBOXES = 3
    assert "MAX_TOTAL_SANDBOXES (3) left no place" in simulate("--target", "3", "--arrivals", "60/h", "--days", "1")
    said = simulate("--target", "3", "--arrivals", "60/h", "--days", "1", "--max-total", "100")
    assert "Max concurrent creates (1) held some creates back." in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Nobody launched from pool python in the last 14 days: say --arrivals 60/h, or --trace FILE."),
        (("--target", "8..1", "--arrivals", "60/h"), "--target 8..1: write 1..8, 3 or 2,4,8, at most 40 of them."),
        (("--target", "x"), "--target x: write 1..8, 3 or 2,4,8, at most 40 of them."),
        (("--target", "1..900"), "--target 1..900: write 1..8, 3 or 2,4,8, at most 40 of them."),
        (("--arrivals", "lots"), "'lots' is no rate of launches: write 60/h, up to 10000/h."),
        (("--arrivals", "60/h", "--cv", "-1"), "A CV of -1 can't be drawn: it is more than 0 and at most 20."),
        (("--arrivals", "60/h", "--cv", "0"), "A CV of 0 can't be drawn: it is more than 0 and at most 20."),
        (("--cv", "2"), "--cv is for launches that are drawn: say --arrivals 60/h, too."),
        (("--days", "0"), "--days 0: it is more than 0 and at most 366."),
        (("--days", "nan"), "--days nan: it is more than 0 and at most 366."),
        (("--max-total", "0"), "--max-total 0: it is at least 1."),
        (("--trace", "/nowhere"), "/nowhere can't be read: [Errno 2] No such file or directory: '/nowhere'."),
    ],
)
def test_what_makes_no_sense_is_refused_with_one_sentence(pool, arguments: tuple[str, ...], says: str):
    with pytest.raises(CommandError) as refused:
        simulate(*arguments)
    assert str(refused.value) == says


def test_a_pool_is_named(pool):
    with pytest.raises(CommandError, match="Say which pool to simulate"):
        call_command("pool", "simulate")
