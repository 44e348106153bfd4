"""What a million runs cost those who come after them: hot paths in milliseconds, medians, beside the same with few."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fixtures.databases import Database

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1200)]
PROBE = Path(__file__).with_name("growth_probe.py").read_text()
FEW, MANY = 10_000, 1_000_000
TIMES_AS_LONG, NOISE_MS = 4, 40  # a month of totals is more than an hour of them, and machines are shared


def test_a_million_runs_cost_what_ten_thousand_cost(database: Database, capsys) -> None:
    few, many = json.loads(database.answer(PROBE, str(FEW), str(MANY)).splitlines()[-1])
    with capsys.disabled():
        print(f"\n| ms ({database.vendor}) | {FEW:,} runs | {MANY:,} runs |")
        print("| :-- | ---: | ---: |")
        for name, took in many.items():
            print(f"| {name} | {few[name]:.1f} | {took:.1f} |")
    grown = {name: took for name, took in many.items() if took > TIMES_AS_LONG * few[name] + NOISE_MS}
    assert not grown
