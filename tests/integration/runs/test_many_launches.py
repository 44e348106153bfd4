"""Many processes that launch at the same moment: on both databases, with a sandbox's agent that answers at once."""

from __future__ import annotations

import pytest

from tests.fixtures.databases import Database
from tests.integration.pools.test_many_processes import AS_MANY

CLIENTS = 16
MOST_STATEMENTS = 12
FIELD = """
from uuid import uuid4
from django.utils import timezone
from games.models import Game, Snapshot
from pools.models import Fleet, Pool, Sandbox
from runs.models import Tally
now = timezone.now()
Fleet.get()
Tally.objects.create(pk=1)
pool = Pool.objects.create(name="python", runtime="python", image="a/b:c", region="syd", size="s", max_ready=500)
game = Game.objects.create(slug="snake", title="Snake", runtime="python", run_command="x", snapshot_name="s")
Snapshot.objects.create(game=game, state="current", sha256="a", started_at=now)
staged = {slug: {"sha256": "a", "port": 5000, "pid": 1} for slug in ("snake", "memory")}
Sandbox.objects.bulk_create(
    Sandbox(name=f"sandbox-{n:08x}", pool=pool, runtime="python", state="ready", origin="pool", create_code="demand",
            create_reason="test", requested_at=now, ready_at=now, health_checked_at=now, app_id=str(n), staged=staged,
            url="http://127.0.0.1:9")
    for n in range(100)
)
"""
LAUNCH = """
import os, sys
from uuid import uuid4
from pools.cloud.sandbox_agent import Fetched, SandboxAgent
from runs import limits
from runs.clients import Client
from runs.launching.launch import launch

SandboxAgent.fetch = lambda *_, **__: Fetched(200, {}, b"")

def start():
    return launch(game="snake", mode="warm", client=Client(uuid4().hex))

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
"""
LAUNCH_TO_THE_LIMIT = (
    LAUNCH
    + """
while True:
    try:
        run = start()
    except limits.LimitReached as refused:
        say(refused.limit, "refused")
        break
    say(run.sandbox.name, run.state)
"""
)
LAUNCH_AND_END = (
    LAUNCH
    + """
from django.utils import timezone
from runs import lifecycle
while True:
    try:
        run = start()
    except limits.LimitReached as refused:
        say(refused.limit, "refused")
        break
    say(run.sandbox.name, run.state)
    lifecycle.end(run.pk, "ended_by_api", "Over.", timezone.now())
"""
)
AS_ONE = {
    "MAX_ACTIVE_PER_CLIENT": 'Client("ada", "home")',
    "MAX_RUNS_PER_HOUR_PER_CLIENT": 'Client("ada", "home")',
    "MAX_ACTIVE_PER_NETWORK": 'Client(uuid4().hex, "home")',
    "MAX_RUNS_PER_HOUR_PER_NETWORK": 'Client(uuid4().hex, "home")',
}
BOTH_WAYS = """
import random
def start():
    return launch(game="snake", mode=random.choice(["warm", "cold"]), client=CLIENT)
"""
ONE_LAUNCH_SENT_BY_ALL = (
    LAUNCH
    + """
for n in range(20):
    for mode in ("warm", "cold"):
        run = launch(game="snake", mode=mode, client=Client(f"{mode} {n}"), idempotency_key="once")
        say(f"{mode}-{n}", run.pk)
"""
)
COUNTED = """
from runs import limits
from runs.models import Run, Tally
tally = Tally.objects.get()
numbers = sorted(Run.objects.values_list("number", flat=True))
assert limits.drift() == "", limits.drift()
assert numbers == list(range(1, tally.launches + 1)), numbers
print(tally.warm, tally.launches)
"""
COUNT_STATEMENTS = (
    LAUNCH
    + """
from django.db import connection
from django.test.utils import CaptureQueriesContext
start()
with CaptureQueriesContext(connection) as captured:
    run = start()
assert run.state == "running" and run.deployed_from == "staged", run.state
print(len(captured))
"""
)
HOLD_THE_FLEET = (
    LAUNCH
    + """
import threading, time
from django.db import connection, transaction
from pools.models import Fleet, Pool, Sandbox
start()
Pool.objects.update(last_acquired_at=None)
Fleet.objects.update(nudged=True)
done = []

def in_thread():
    done.append(start().state)
    connection.close()

with transaction.atomic():
    Fleet.lock()
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join(20)
    print(*done)
"""
)


def at_once(database: Database, source: str, **settings: str) -> list[tuple[str, str]]:
    """What so many processes print, started together: pairs of words."""
    roomy = {"MAX_TOTAL_SANDBOXES": "500", "MAX_TOTAL_ACTIVE": "500", "MAX_RUNS_PER_HOUR": "500"}
    environment = database.environment | roomy | {"MAX_CONCURRENT_WARM": "500"} | settings
    lines = Database(environment).answer(AS_MANY, str(CLIENTS), source).splitlines()
    return [(first, second) for first, second in map(str.split, lines)]


@pytest.mark.parametrize("limit", ["MAX_CONCURRENT_WARM", "MAX_TOTAL_ACTIVE", "MAX_RUNS_PER_HOUR"])
def test_each_limit_is_exact_under_sixteen_at_once(database: Database, limit: str) -> None:
    database.answer(FIELD)
    said = at_once(database, LAUNCH_TO_THE_LIMIT, **{limit: "37"})
    served = [sandbox for sandbox, state in said if state == "running"]
    assert len(served) == len(set(served)) == 37, "and none was served twice"
    assert [what for what, word in said if word == "refused"] == [limit] * CLIENTS
    assert database.answer(COUNTED) == "37 37"


@pytest.mark.parametrize("limit", AS_ONE)
def test_so_is_each_limit_of_one_client_and_of_one_network(database: Database, limit: str) -> None:
    database.answer(FIELD)
    one = LAUNCH_TO_THE_LIMIT.replace("Client(uuid4().hex)", AS_ONE[limit])
    said = at_once(database, one, **{limit: "23"})
    assert sum(state == "running" for _, state in said) == 23
    assert [what for what, word in said if word == "refused"] == [limit] * CLIENTS
    assert database.answer(COUNTED) == "23 23"


@pytest.mark.parametrize("limit", ["MAX_ACTIVE_PER_CLIENT", "MAX_RUNS_PER_HOUR_PER_CLIENT"])
def test_nor_does_it_help_to_launch_warm_and_cold(database: Database, limit: str) -> None:
    database.answer(FIELD)
    both = LAUNCH_TO_THE_LIMIT.replace("while True:", BOTH_WAYS.replace("CLIENT", AS_ONE[limit]) + "while True:")
    both = both.replace("say(run.sandbox.name, run.state)", 'say(run.pk, "taken")')
    said = at_once(database, both, MAX_CONCURRENT_COLD="500", **{limit: "23"})
    assert sum(word == "taken" for _, word in said) == 23
    assert database.answer(COUNTED).endswith(" 23")


def test_one_launch_that_all_send_at_once_is_made_once_and_refused_to_none(database: Database) -> None:
    database.answer(FIELD)
    said = at_once(database, ONE_LAUNCH_SENT_BY_ALL, MAX_CONCURRENT_COLD="500", MAX_ACTIVE_PER_CLIENT="1")
    assert len(said) == 40 * CLIENTS
    assert len(set(said)) == 40


def test_the_hours_limit_is_exact_while_runs_come_and_go(database: Database) -> None:
    database.answer(FIELD)
    said = at_once(database, LAUNCH_AND_END, MAX_RUNS_PER_HOUR="61", MAX_CONCURRENT_WARM="40")
    assert sum(state == "running" for _, state in said) == 61
    assert database.answer(COUNTED) == "0 61"


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_warm_launch_takes_few_statements(database: Database) -> None:
    database.answer(FIELD)
    assert int(database.answer(COUNT_STATEMENTS)) <= MOST_STATEMENTS


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_warm_launch_does_not_wait_for_the_fleets_lock(database: Database) -> None:
    database.answer(FIELD)
    assert database.answer(HOLD_THE_FLEET) == "running"
