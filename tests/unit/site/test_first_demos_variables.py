"""Every variable that the first demo and its problem report name works, or says at the start what to do instead."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKS = {
    "WARM_POOL_ENABLED": "true",
    "WARM_POOL_TARGET_READY": "2",
    "WARM_POOL_MAX_READY": "10",
    "WARM_POOL_IDLE_TIMEOUT": "120",
    "WARM_POOL_MAX_CONCURRENT_CREATES": "2",
    "MAX_CONCURRENT_COLD": "4",
    "MAX_CONCURRENT_WARM": "5",
    "MAX_TOTAL_ACTIVE": "6",
    "MAX_RUNS_PER_HOUR": "24",
    "SANDBOX_MIN_LIFETIME_MINUTES": "3",
    "SANDBOX_MAX_LIFETIME_MINUTES": "6",
    "DIGITALOCEAN_TOKEN": "dop_v1_x",
    "SPACES_BUCKET": "bucket",
    "SPACES_REGION": "syd1",
    "SPACES_ACCESS_KEY": "key",
    "SPACES_SECRET_KEY": "secret",
    "DATABASE_URL": "postgresql://sandbox:sandbox@postgres:5432/sandbox_demo",
    "AVAILABLE_GAMES": "snake,tic-tac-toe",
}


def start(var: Path, **given: str) -> subprocess.CompletedProcess[str]:
    """Read the settings under these variables alone, and show those of the same names."""
    ask = (
        "import json; from orchestrator_site import settings as s; "
        f"print(json.dumps({{n: getattr(s, n) for n in {list(WORKS)} if hasattr(s, n)}}))"
    )
    kept = {name: value for name, value in os.environ.items() if name not in WORKS}
    environment = kept | {"ORCHESTRATOR_VAR": str(var), "ORCHESTRATOR_ID": "test"} | given
    return subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=False)


def test_what_works_is_taken_as_it_is_said(tmp_path: Path):
    told = start(tmp_path, **WORKS)
    assert told.returncode == 0, told.stderr
    for name, value in json.loads(told.stdout).items():
        assert value in (WORKS[name], WORKS[name].split(","), True) or str(value) == WORKS[name], name


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("CLEANUP_INTERVAL_SECONDS", "30", "SANDBOX_MIN_LIFETIME_MINUTES"),
        ("REBUILD_SNAPSHOTS", "true", "manage.py snapshots build"),
    ],
)
def test_what_does_nothing_here_says_what_to_do_instead(tmp_path: Path, name: str, value: str, instead: str):
    told = start(tmp_path, **{name: value})
    assert told.returncode == 1
    last = told.stderr.strip().splitlines()[-1]
    assert f"{name} is '{value}', which nothing here goes by." in last
    assert instead in last
    assert last.endswith(".")


@pytest.mark.parametrize("given", [{"REBUILD_SNAPSHOTS": "False"}, {"REBUILD_SNAPSHOTS": ""}])
def test_what_asks_for_what_is_so_anyway_stops_nothing(tmp_path: Path, given: dict[str, str]):
    assert start(tmp_path, **given).returncode == 0
