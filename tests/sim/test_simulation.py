"""The product in simulated time: seeds hold, and each gives the same log in any process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.sim.plan import Plan
from tests.sim.shrink import shrunk

ROOT = Path(__file__).resolve().parents[2]
HOURS = "1"  # simulated: the same seeds on every machine, some twenty seconds of it
TIMEOUT_SECONDS = 600


def simulate(*arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    """In a process of its own, with settings of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "ORCHESTRATOR_"))}
    return subprocess.run(
        [sys.executable, "-m", "tests.sim", *arguments],
        cwd=ROOT,
        env=kept | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def test_whatever_the_seed_has_happen_what_must_hold_holds() -> None:
    done = simulate("--first-seed", "1", "--hours", HOURS, "--hours-a-seed", "0.5", "--processes", "1")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert " 0 seeds failed" in done.stdout


def test_a_seed_has_the_same_log_in_every_process() -> None:
    logs = [simulate("--seed", "5", "--hours", "0.2", hash_seed=seed) for seed in ("1", "2")]
    assert logs[0].stdout == logs[1].stdout
    assert len(logs[0].stdout.splitlines()) > 20, logs[0].stderr


def test_a_fault_that_is_left_out_moves_none_of_the_others() -> None:
    def struck(only: list[str] | None) -> dict[str, list[int]]:
        plan = Plan(7, 20_000.0, 1000.0, {"one": 0.1, "another": 0.1}, only)
        found: dict[str, list[int]] = {}
        for second in range(20_000):
            for kind in ("one", "another"):
                before = plan.struck.copy()
                if plan.strikes(kind, float(second)):
                    found.setdefault(next(iter(plan.struck - before)), []).append(second)
        return found

    every = struck(None)
    kept = min(every)
    assert len(every) > 1
    assert struck([kept]) == {kept: every[kept]}


def test_shrinking_keeps_the_faults_that_it_takes() -> None:
    faults = [f"fault.{number}" for number in range(40)]
    needed = {"fault.3", "fault.17"}
    assert shrunk(faults, lambda some: needed <= set(some), most_runs=200) == ["fault.3", "fault.17"]
