"""kill -9 between any two steps of create, claim and delete; then a restart, and the invariants."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.fixtures.databases import ROOT, Database
from tests.fixtures.local_cloud import LocalCloudProcess


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("database", "life"), [("sqlite", "launch"), ("postgresql", "pool")], indirect=["database"])
def test_a_worker_killed_at_any_step_leaves_nothing_that_a_restart_does_not_put_right(
    database: Database, paper_cloud: LocalCloudProcess, life: str
) -> None:
    """At every fifth step of one life on each database; `make chaos` kills at all of them."""
    kill_and_restart(database, paper_cloud, life, every=5)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("life", ["pool", "launch"])
def test_a_worker_killed_at_every_step(database: Database, paper_cloud: LocalCloudProcess, life: str) -> None:
    kill_and_restart(database, paper_cloud, life, every=1)


def kill_and_restart(database: Database, paper_cloud: LocalCloudProcess, life: str, every: int) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "tests.integration.pools.killing", paper_cloud.url, paper_cloud.token, life, str(every)],
        cwd=ROOT,
        env=database.environment | {"LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        timeout=290 if every > 1 else 3500,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    first, *lives = [json.loads(line) for line in process.stdout.splitlines()]
    assert len(lives) == first["killed_at"] > 5
    for outcome in lives:
        # The last steps can fall away where time decides; all others were really cut.
        assert outcome["was_killed"] or outcome["kill_at"] > first["steps"] - 10, outcome
        assert outcome["apps"] == sorted(outcome["rows"]), outcome  # invariant 1
        assert outcome["most_apps"] <= 3, outcome  # invariant 2
        assert list(outcome["rows"].values()) in ([], ["ready"]), outcome  # nothing stuck, nothing in excess
        assert outcome["creates"] <= 1 + outcome["acquired"], outcome  # invariant 4
        assert outcome["expired_ready"] == 0, outcome  # invariant 5
        assert outcome["active_runs"] == outcome["runs_with_live_sandbox"] == 0, outcome  # invariant 8
