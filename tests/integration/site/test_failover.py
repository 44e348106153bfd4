"""PostgreSQL's first server dies under launches, and its second takes over."""

from __future__ import annotations

import time

import psycopg
import pytest

from tests.chaos.players import Players
from tests.fixtures.databases import _database, _migrate
from tests.fixtures.poolers import Pair
from tests.fixtures.stack import MakeStack
from tests.fixtures.waiting import until

RECOVERY_SECONDS = 30
SETTINGS = {
    "MAX_TOTAL_SANDBOXES": "6",
    "ANYONE_MAY_END_RUNS": "true",
    "WARM_POOL_TARGET_READY": "2",
    **dict.fromkeys(("MAX_CONCURRENT_COLD", "MAX_CONCURRENT_WARM", "MAX_TOTAL_ACTIVE"), "100"),
    **dict.fromkeys(("MAX_ACTIVE_PER_CLIENT", "MAX_ACTIVE_PER_NETWORK"), "100"),
    **dict.fromkeys(("MAX_RUNS_PER_HOUR", "MAX_RUNS_PER_HOUR_PER_CLIENT", "MAX_RUNS_PER_HOUR_PER_NETWORK"), "100000"),
}


@pytest.mark.timeout(200)
def test_a_database_that_fails_over_loses_nothing_and_is_found_at_once(
    pair: Pair, make_stack: MakeStack, tmp_path, catalog_of_chess: str
) -> None:
    name = pair.first.create()
    url = pair.url(name)
    _migrate(_database(tmp_path / "var", DATABASE_URL=pair.first.url(name)))
    pair.follow()
    stack = make_stack(DATABASE_URL=url, CATALOG_DIR=catalog_of_chess, **SETTINGS).start()
    with Players(stack.url, "chess", 1, many=3, pause_seconds=0.2) as players:
        until(lambda: len(players.given) > 5, "people play", seconds=60)
        failed_at_seconds = time.monotonic()
        pair.fail_over()
        until(lambda: players.have_launched_since(failed_at_seconds), "people launch again", seconds=RECOVERY_SECONDS)
        launch_seconds = time.monotonic() - failed_at_seconds
        with psycopg.connect(f"host={pair.second.folder} user=postgres dbname={name}", autocommit=True) as second:
            (began,) = second.execute("SELECT clock_timestamp()").fetchone()
            turned = "SELECT turned_at > %s FROM pools_fleet"
            until(lambda: second.execute(turned, [began]).fetchone()[0], "a turn is taken", seconds=RECOVERY_SECONDS)
            print(f"launch {launch_seconds:.1f} s, turn {time.monotonic() - failed_at_seconds:.1f} s")
    with psycopg.connect(f"host={pair.second.folder} user=postgres dbname={name}") as second:
        runs = {str(row[0]) for row in second.execute("SELECT id FROM runs_run")}
    assert set(players.given.values()) <= runs, "what was acknowledged is there"
    assert not any("given up" in answer for answer in players.answers), players.answers
