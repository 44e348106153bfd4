"""kill -9 between any two steps of create, claim and delete; then a restart, and the invariants."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.fixtures.databases import ROOT, Database
from tests.fixtures.local_cloud import LocalCloudProcess


def test_a_worker_killed_at_any_step_leaves_nothing_that_a_restart_does_not_put_right(
    database: Database, paper_cloud: LocalCloudProcess
) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "tests.integration.pools.killing", paper_cloud.url, paper_cloud.token],
        cwd=ROOT,
        env=database.environment | {"LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    first, *lives = [json.loads(line) for line in process.stdout.splitlines()]
    assert len(lives) == first["killed_at"] > 25
    for life in lives:
        # The last steps can fall away where time decides; all others were really cut.
        assert life["was_killed"] or life["kill_at"] > first["steps"] - 10, life
        assert life["apps"] == sorted(life["rows"]), life  # invariant 1
        assert life["most_apps"] <= 3, life  # invariant 2
        assert list(life["rows"].values()) in ([], ["ready"]), life  # nothing stuck, nothing in excess
        assert life["creates"] <= 1 + life["acquired"], life  # invariant 4
        assert life["expired_ready"] == 0, life  # invariant 5
