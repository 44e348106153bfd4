"""A turn of the reconciler with thousands of apps, beside its listing alone: run where pytest makes such a fleet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import PROCESSOR, Row
from tests.bench.site import ROOT

FILE = "ORCHESTRATOR_BENCH_TURNS"


def turns() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="orchestrator-bench-") as folder:
        file = Path(folder) / "turns.json"
        environment = {name: value for name, value in os.environ.items() if name != "ORCHESTRATOR_TEST_ROOT"}
        command = ["-m", "pytest", "-q", "-n", "0", "-m", "bench", "tests/bench/test_turns.py"]
        done = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment | {FILE: str(file)},
            capture_output=True,
            text=True,
            check=False,
        )
        if not file.exists():
            print(done.stdout[-2000:], flush=True)
            return
        for size, whole, listing, _ in json.loads(file.read_text()):
            figures = {PROCESSOR: 1000 * whole, "times the listing": whole / listing}
            floor = {PROCESSOR: 1000 * listing}
            yield Row(f"a turn with {size:,} apps", "SQLite, beside its listing alone", figures, floor, "≤ 1.3 times")
