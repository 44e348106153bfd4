"""What the week's usage costs does not grow with the hundred thousand runs that there were in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runs.usage import By
from tests.fixtures.databases import Database

PROBE = Path(__file__).with_name("usage_probe.py").read_text()
RUNS = 100_000
# Some thousand runs of the hours that are not settled yet; all of them would be 100,000 rows, or a million steps.
MOST = {"postgresql": 5_000, "sqlite": 200_000}


def test_the_usage_of_a_hundred_thousand_runs_is_told_at_once(database: Database):
    found = json.loads(database.answer(PROBE, str(RUNS)).splitlines()[-1])
    print(database.vendor, found)
    assert found["after"] == pytest.approx(found["before"], abs=0.01)
    assert {by: found[by] for by in By if found[by] > MOST[database.vendor]} == {}
