"""Two web and two worker machines on a network, each of which dies, freezes or is cut off while people play; PostgreSQL
and Redis go and come back. At the end everything is counted: docs/invariants.md.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.chaos.players import Players
from tests.fixtures.catalog import Catalog
from tests.fixtures.databases import Database, _database, own_database
from tests.fixtures.network import Installation, Network, NetworkMachine
from tests.fixtures.servers import HASTY, Postgres, Redis, end_postgres, run_postgres, start_postgres, start_redis
from tests.fixtures.waiting import free_port, until

MOST_SANDBOXES = 8
RECOVERY_SECONDS = 30
TICKS = 20  # schedules that are each due once, while it storms
SETTINGS = {
    "ANYONE_MAY_END_RUNS": "true",  # whose token was lost with a machine
    "MAX_TOTAL_SANDBOXES": str(MOST_SANDBOXES),
    "WARM_POOL_TARGET_READY": "3",
    "WARM_POOL_MAX_READY": "4",
    "WARM_POOL_MAX_CONCURRENT_CREATES": "3",
    "CLOUD_REQUESTS_PER_MINUTE": "5000",
    "CLUSTER_WORKERS": "3",
    "ORCHESTRATOR_ID": "machines",
    **dict.fromkeys(("MAX_CONCURRENT_COLD", "MAX_CONCURRENT_WARM", "MAX_TOTAL_ACTIVE"), "100"),
    **dict.fromkeys(("MAX_ACTIVE_PER_CLIENT", "MAX_ACTIVE_PER_NETWORK"), "100"),
    **dict.fromkeys(("MAX_RUNS_PER_HOUR", "MAX_RUNS_PER_HOUR_PER_CLIENT", "MAX_RUNS_PER_HOUR_PER_NETWORK"), "100000"),
}
PREPARE = """
from datetime import timedelta
from django.core.management import call_command
from django.utils import timezone
from django_q.models import Schedule
from pools.first_pool import first_pool
from pools.nudge import nudge
call_command("catalog", verbosity=0)
first_pool()
nudge()
for number in range({ticks}):
    Schedule.objects.create(func="pools.journal.record", args=repr(("trouble", f"tick {{number}}")),
        schedule_type=Schedule.ONCE, repeats=1, next_run=timezone.now() + timedelta(seconds=number))
"""
COUNTS = """
import json
from collections import Counter
from django.db.models import Count
from pools.models import Fleet, FleetEvent, Sandbox
from runs.models import OVER, Run
ticks = FleetEvent.objects.filter(message__startswith="tick ").values_list("message", flat=True)
print(json.dumps({
    "rows": sorted(Sandbox.objects.exclude(state="deleted").values_list("name", flat=True)),
    "states": Counter(Sandbox.objects.values_list("state", flat=True)),
    "runs": [str(id) for id in Run.objects.values_list("id", flat=True)],
    "ends": Counter(f"{state} {code}".strip() for state, code in Run.objects.values_list("state", "end_code")),
    "shared": Sandbox.objects.annotate(n=Count("run")).filter(n__gt=1).count(),
    "unexplained": Run.objects.filter(state__in=OVER, end_reason="").count(),
    "active": [str(id) for id in Run.objects.exclude(state__in=OVER).values_list("id", flat=True)],
    "ticks": Counter(ticks),
    "stopped": Fleet.get().stopped_at is not None,
}))
"""


class Place:
    """The network with all that runs in it, and what can happen there."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network = network
        listening = f"listen_addresses={network.address}"
        self.options = [*HASTY, listening, "max_connections=250"]
        start_postgres(folder, self.options, network.subnet)
        self.postgres = Postgres(Path((folder / "home").read_text()))
        self.redis_port = free_port()
        self.redis: Redis = start_redis(network.address, self.redis_port)
        catalog = Catalog(folder / "catalog")
        catalog.write("chess")
        self.database = own_database(self.postgres, folder / "looker")
        name = self.database.environment["DATABASE_URL"].partition("?")[0].rpartition("/")[2]
        settings = {
            **SETTINGS,
            "CATALOG_DIR": str(catalog.folder),
            "DATABASE_URL": f"postgres://postgres@{network.address}:5432/{name}",
            "REDIS_URL": self.redis.url,
        }
        self.name = name
        looks = _database(folder / "looker", **{**settings, "SECRET_KEY": "one-for-all-machines" * 3})
        self.looker: Database = looks
        self.installation = Installation(network, folder, **settings)

    def prepare(self) -> None:
        self.looker.answer(PREPARE.format(ticks=TICKS))

    def close(self) -> None:
        self.installation.close()
        self.redis.stop()
        end_postgres(self.postgres.folder)
        shutil.rmtree(self.postgres.folder, ignore_errors=True)

    def ask(self, question: str) -> Any:
        where = f"host={self.postgres.folder} user=postgres dbname={self.name}"
        with psycopg.connect(where, autocommit=True) as connection:
            row = connection.execute(question).fetchone()
        return row[0] if row else None

    def turns_taker(self) -> NetworkMachine:
        """The worker machine that takes the turns."""

        def holder() -> str:
            return str(self.ask("SELECT process FROM pools_lease WHERE name = 'turn'") or "").partition("|")[0]

        workers = {worker.host_name: worker for worker in self.installation.workers}
        return workers[until(lambda: holder() in workers and holder(), "somebody takes turns")]

    def counted(self) -> dict[str, Any]:
        return dict(json.loads(self.looker.answer(COUNTS)))

    # What can happen, and how it is over.

    def dies(self, machine: NetworkMachine) -> Callable[[], None]:
        machine.crash()
        return machine.launch

    def freezes(self, machine: NetworkMachine) -> Callable[[], None]:
        machine.freeze()
        return machine.thaw

    def is_cut_off(self, machine: NetworkMachine) -> Callable[[], None]:
        machine.cut_off()
        return machine.mend

    def postgres_is_restarted(self) -> Callable[[], None]:
        end_postgres(self.postgres.folder)
        run_postgres(self.postgres.folder, self.options)
        return lambda: None

    def redis_goes(self) -> Callable[[], None]:
        self.redis.stop()

        def comes_back() -> None:
            self.redis = start_redis(self.network.address, self.redis_port)

        return comes_back


@pytest.fixture
def place(network: Network, tmp_path: Path) -> Iterator[Place]:
    place = Place(network, tmp_path)
    try:
        yield place
    finally:
        place.close()


def start(place: Place) -> None:
    place.prepare()
    for ahead_seconds in (0, 61):
        place.installation.web(ahead_seconds)
    for ahead_seconds in (0, -30):
        place.installation.worker(ahead_seconds)
    place.installation.start()


def recovered_after(place: Place, players: Players, fault: Callable[[], Callable[[], None]]) -> tuple[float, float]:
    """Seconds until somebody launched again, and until a turn was taken; then the fault is mended."""
    began_seconds = time.monotonic()
    mend = fault()
    turned_at = place.ask("SELECT clock_timestamp()")
    took = {}

    def is_well() -> bool:
        if "launch" not in took and players.have_launched_since(began_seconds):
            took["launch"] = time.monotonic() - began_seconds
        if "turn" not in took and place.ask("SELECT turned_at FROM pools_fleet") > turned_at:
            took["turn"] = time.monotonic() - began_seconds
        return len(took) == 2

    try:
        until(is_well, f"people launch and turns are taken; by now {took}", seconds=RECOVERY_SECONDS, every=0.1)
    finally:
        mend()
    return took["launch"], took["turn"]


def must_add_up(place: Place, players: Players, faults: int) -> None:
    """Nothing is lost, nothing is double, nothing is left over."""
    account, story = place.installation.account, [{}]

    def names() -> list[str]:
        return sorted(app["name"] for app in account.state()["apps"])

    def is_at_rest() -> bool:
        story.append(place.counted())
        for run in story[-1]["active"]:  # whose player left without an answer
            httpx.delete(f"{place.installation.url}/api/sandbox/{run}", timeout=20, trust_env=False)
        is_same = story[-1]["rows"] == names() and len(story[-1]["ticks"]) == TICKS  # looked for twice a minute
        return is_same and not story[-1]["active"] and set(story[-1]["states"]) <= {"ready", "deleted"}

    try:
        until(is_at_rest, "all is at rest", seconds=90, every=0.5)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{players.answers}\n{story[-1]}\n{names()}") from None
    found = story[-1]
    print(players.attempts, players.answers, {key: found[key] for key in ("states", "ends", "ticks")})
    assert set(players.given.values()) <= set(found["runs"]), "a run was lost"
    assert len(set(players.given.values())) == len(players.given), "two launches were given one run"
    assert found["shared"] == 0, "a sandbox served two runs"
    assert account.state()["most_apps"] <= MOST_SANDBOXES
    assert found["unexplained"] == 0
    assert not found["stopped"]
    assert not any("given up" in answer for answer in players.answers), players.answers
    # What a machine had just done when it went is done again, and nothing else is.
    assert sum(found["ticks"].values()) <= TICKS + faults, "a schedule ran double"


@pytest.mark.timeout(400)
def test_people_go_on_playing_whatever_goes(place: Place) -> None:
    start(place)
    installation = place.installation
    with Players(installation.url, "chess", seed=1, many=4, pause_seconds=0.3) as players:
        until(lambda: players.launched_at_seconds, "somebody plays", seconds=60)
        took = {
            "the one that takes turns dies": recovered_after(place, players, lambda: place.dies(place.turns_taker())),
            "a web machine is cut off": recovered_after(
                place, players, lambda: place.is_cut_off(installation.webs[0])
            ),
            "a web machine freezes": recovered_after(place, players, lambda: place.freezes(installation.webs[1])),
            "PostgreSQL is restarted": recovered_after(place, players, place.postgres_is_restarted),
            "the one that takes turns freezes": recovered_after(
                place, players, lambda: place.freezes(place.turns_taker())
            ),
            "Redis goes": recovered_after(place, players, place.redis_goes),
        }  # fmt: skip
    print({what: f"launch {launch:.1f} s, turn {turn:.1f} s" for what, (launch, turn) in took.items()})
    must_add_up(place, players, faults=len(took))


@pytest.mark.chaos
@pytest.mark.timeout(4000)
@pytest.mark.parametrize("seed", [int(seed) for seed in os.environ.get("CHAOS_SEEDS", "1").split(",")])
def test_people_go_on_playing_whatever_goes_for_a_long_time(place: Place, seed: int) -> None:
    start(place)
    chance, machines = random.Random(seed), place.installation.machines
    faults: list[Callable[[], Callable[[], None]]] = [
        lambda: place.dies(chance.choice(machines)),
        lambda: place.freezes(chance.choice(machines)),
        lambda: place.is_cut_off(chance.choice(machines)),
        lambda: place.dies(place.turns_taker()),
        lambda: place.freezes(place.turns_taker()),
        lambda: place.is_cut_off(place.turns_taker()),
        place.postgres_is_restarted,
        place.redis_goes,
    ]
    took = []
    deadline = time.monotonic() + float(os.environ.get("CHAOS_MINUTES", "5")) * 60
    with Players(place.installation.url, "chess", seed, many=24, pause_seconds=0.5) as players:
        until(lambda: players.launched_at_seconds, "somebody plays", seconds=60)
        while time.monotonic() < deadline:
            took.append(recovered_after(place, players, chance.choice(faults)))
            time.sleep(chance.uniform(2, 8))
    print(f"{len(took)} faults; the longest recovery {max(max(each) for each in took):.1f} s")
    must_add_up(place, players, faults=len(took))
