"""A launch that is sent again under its key is one launch, whatever became of the connection."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chaos.retried import launch_all
from tests.fixtures.databases import Database
from tests.fixtures.web import PLAIN, Web

SOON, LONG = 150, int(os.environ.get("SOAK_LAUNCHES", "100000"))
BATCH = 1_000
ROOMY = {
    **dict.fromkeys(("MAX_TOTAL_ACTIVE", "MAX_CONCURRENT_COLD", "MAX_CONCURRENT_WARM"), "1000000"),
    **dict.fromkeys(("MAX_RUNS_PER_HOUR", "MAX_RUNS_PER_HOUR_PER_CLIENT", "MAX_RUNS_PER_HOUR_PER_NETWORK"), "1000000"),
    **dict.fromkeys(("MAX_ACTIVE_PER_CLIENT", "MAX_ACTIVE_PER_NETWORK"), "1000000"),
    "MAX_TOTAL_SANDBOXES": "100000",
}
A_GAME = """
from games.models import Game
from pools.models import Fleet
from runs.models import Tally
Fleet.get()
Tally.objects.create(pk=1)
Game.objects.create(slug="snake", title="Snake", runtime="python", run_command="x", snapshot_name="s")
"""
COUNTED = """
from django.db.models import Count
from pools.models import Sandbox
from runs import limits
from runs.models import Run, Tally
keys = Run.objects.values("idempotency_key").annotate(times=Count("pk")).filter(times__gt=1)
assert limits.drift() == "", limits.drift()
assert Sandbox.objects.count() == Run.objects.count(), "a sandbox for each run, and for nothing else"
print(Run.objects.count(), keys.count(), Tally.objects.get().launches)
"""
END_ALL = """
from django.utils import timezone
from pools.models import Sandbox
from runs.models import Run, Tally
now = timezone.now()
Run.objects.active().update(state="ended", end_code="time_up", end_reason="Over.", ended_at=now)
Sandbox.objects.exclude(state="deleted").update(
    state="deleted", deleted_at=now, end_code="run_over", end_reason="Over."
)
Tally.objects.update(warm=0, cold=0)
"""


@pytest.fixture
def serve(database: Database, tmp_path: Path) -> Iterator[Callable[[], Web]]:
    """Start a web server over the database."""
    servers: list[Web] = []

    def start() -> Web:
        servers.append(Web(tmp_path / f"web-{len(servers)}.log", **database.environment | ROOMY).start())
        return servers[-1]

    database.answer(A_GAME)
    yield start
    for server in servers:
        server.stop()
        print(server.log.read_text())


def launch(web: Web, key: str, **body: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key}
    return httpx.post(f"{web.url}/api/launch/cold", json={"game": "snake"} | body, headers=headers, **PLAIN)


def test_launches_over_connections_that_die_are_made_once(database: Database, serve: Callable[[], Web]):
    web = serve()
    keys = [f"soon-{n}" for n in range(SOON)]
    told = launch_all(web.port, keys, at_once=12, seed=7, longest_ms=60)
    assert not told.refused
    assert told.cuts > SOON / 2, "the test cuts connections"
    assert all(len(told.runs[key]) == 1 for key in keys)
    assert database.answer(COUNTED) == f"{SOON} 0 {SOON}"


def test_a_key_is_known_to_each_server_and_after_a_restart(serve: Callable[[], Web]):
    one, two = serve(), serve()
    first = launch(one, "the-key").json()["run_id"]
    assert launch(two, "the-key").json()["run_id"] == first
    one.kill()
    assert launch(two, "the-key").json()["run_id"] == first
    assert launch(two, "the-key", use_snapshot=False).json()["code"] == "key_reused"


def test_the_key_of_a_run_that_is_over_gives_that_run(database: Database, serve: Callable[[], Web]):
    web = serve()
    first = launch(web, "the-key").json()["run_id"]
    database.answer(END_ALL)
    again = launch(web, "the-key").json()
    assert (again["run_id"], again["status"]) == (first, "completed")


@pytest.mark.chaos
@pytest.mark.timeout(LONG)
def test_so_are_a_hundred_thousand(database: Database, serve: Callable[[], Web]):
    web = serve()
    for begin in range(0, LONG, BATCH):
        keys = [f"long-{n}" for n in range(begin, min(begin + BATCH, LONG))]
        told = launch_all(web.port, keys, at_once=16, seed=begin, longest_ms=60)
        assert not told.refused
        assert all(len(told.runs[key]) == 1 for key in keys), f"the batch that begins with {begin}"
        database.answer(END_ALL)
    assert database.answer(COUNTED) == f"{LONG} 0 {LONG}"
