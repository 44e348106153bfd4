"""The product behind PgBouncer, in session and in transaction mode: people launch, play and end."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import Redis as Client

from tests.chaos.players import Players
from tests.fixtures.databases import _database
from tests.fixtures.poolers import MakePgbouncer
from tests.fixtures.servers import Postgres, Redis
from tests.fixtures.stack import MakeStack
from tests.fixtures.waiting import until

ENOUGH = 8
ASK_FOR_WAKE_UPS = """
import logging, sys
from orchestrator_site import health
from pools import mailboxes
print(*health.wake_ups())
mailboxes.logger.addHandler(logging.StreamHandler(sys.stdout))
mailboxes.open_mailbox("tasks")
"""


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_pooler_that_shares_sessions_is_named(
    mode: str, postgres: Postgres, migrated_postgres: str, make_pgbouncer: MakePgbouncer, tmp_path: Path,
) -> None:  # fmt: skip
    """Without Redis nobody was woken, and nothing said so."""
    name = postgres.create(template=migrated_postgres)
    url = f"postgres://postgres@127.0.0.1:{make_pgbouncer(postgres, mode)}/{name}"
    verdict, *warnings = _database(tmp_path, DATABASE_URL=url).answer(ASK_FOR_WAKE_UPS).splitlines()
    assert verdict.startswith("True ok")
    assert ("ok, but PostgreSQL's sessions are shared" in verdict) == (mode == "transaction")
    assert bool(warnings) == (mode == "transaction"), warnings


@pytest.mark.timeout(200)
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_people_play_behind_pgbouncer(
    mode: str, postgres: Postgres, migrated_postgres: str, redis: Redis, make_pgbouncer: MakePgbouncer,
    make_stack: MakeStack, catalog_of_chess: str,
) -> None:  # fmt: skip
    name = postgres.create(template=migrated_postgres)
    port = make_pgbouncer(postgres, mode)
    settings = {"REDIS_URL": redis.url} if mode == "transaction" else {}
    stack = make_stack(
        DATABASE_URL=f"postgres://postgres@127.0.0.1:{port}/{name}", CATALOG_DIR=catalog_of_chess,
        ANYONE_MAY_END_RUNS="true", MAX_TOTAL_SANDBOXES="4", MAX_RUNS_PER_HOUR="1000",
        MAX_RUNS_PER_HOUR_PER_CLIENT="1000", MAX_RUNS_PER_HOUR_PER_NETWORK="1000", **settings,
    ).start()  # fmt: skip
    with Players(stack.url, "chess", 1, many=2, pause_seconds=0.3) as players:
        until(lambda: len(players.given) >= ENOUGH, "people play", seconds=60)
    assert not [answer for answer in players.answers if answer.split()[-1] >= "500"], players.answers
    channels = Client.from_url(redis.url).pubsub_channels("*:tasks")
    assert bool(channels) == (mode == "transaction"), "no session is needed to be woken"
    assert set(stack.checks().values()) == {"ok"}
