"""A database that stands still, is read-only, locked or away: 503 for as long as that lasts, and no longer."""

import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest

from tests.fixtures.databases import ROOT, Database, own_database
from tests.fixtures.servers import Postgres, end_postgres, run_postgres
from tests.fixtures.waiting import free_port, until

PROBLEM = "application/problem+json"
HOLD_THE_FLEET = """
from django.db import transaction
from pools.models import Fleet
import time
with transaction.atomic():
    Fleet.lock()
    print("locked", flush=True)
    time.sleep(600)
"""
LOCK_THE_FLEET = """
from django.db import transaction
from pools.models import Fleet
with transaction.atomic():
    Fleet.lock()
print("locked too")
"""


class Web:
    """A web server on a database, and no cluster beside it."""

    def __init__(self, database: Database) -> None:
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        command = ["-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "orchestrator_site.asgi:application"]
        self.process = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=database.environment)
        until(lambda: self.status("/health/live") == 200, "the web server answers", seconds=90)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.address + path, timeout=60, trust_env=False)

    def status(self, path: str) -> int:
        with suppress(httpx.HTTPError):
            return self.get(path).status_code
        return 0

    def verdict(self) -> str:
        return str(self.get("/health/ready").json()["checks"]["database"])

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def own(own_postgres: Postgres, tmp_path: Path) -> Database:
    return own_database(own_postgres, tmp_path / "var")


@pytest.fixture
def web(own: Database) -> Iterator[Web]:
    web = Web(own)
    try:
        yield web
    finally:
        web.close()


def says_503_everywhere(web: Web) -> None:
    page, api = web.get("/"), web.get("/api/games")
    assert (page.status_code, api.status_code) == (503, 503)
    assert page.headers["retry-after"]
    assert api.headers["retry-after"]
    assert b"Back in a moment" in page.content
    assert (api.headers["content-type"], api.json()["status"]) == (PROBLEM, 503)
    for beside_django in ("/play/00000000-0000-0000-0000-000000000000/", "/api/orchestrator/logs?wait=0"):
        assert web.status(beside_django) == 503


def test_a_stopped_process_that_holds_the_fleet_loses_it_and_others_go_on(own: Database) -> None:
    holder = own.script(HOLD_THE_FLEET)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        holder.send_signal(signal.SIGSTOP)
        assert own.answer(LOCK_THE_FLEET) == "locked too"
    finally:
        holder.kill()
        holder.communicate()


def test_who_waits_for_a_lock_gives_up(own: Database) -> None:
    """The holder is at work all the time, so it is not taken for one that stands still."""
    holder = own.script(
        HOLD_THE_FLEET.replace("time.sleep(600)", "[(Fleet.get(), time.sleep(0.1)) for _ in range(999)]")
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        said = own.answer(
            "from django.db import OperationalError\ntry:\n"
            + "".join(f"    {line}\n" for line in LOCK_THE_FLEET.strip().splitlines())
            + "except OperationalError as error:\n    print(type(error.__cause__).__name__)"
        )
        assert said == "LockNotAvailable"
    finally:
        holder.kill()
        holder.communicate()


def test_a_database_that_becomes_read_only_is_503_and_well_again_by_itself(web: Web, own_postgres: Postgres) -> None:
    assert (web.status("/"), web.verdict()) == (200, "ok")
    with own_postgres.connect() as operator:
        operator.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        operator.execute("SELECT pg_reload_conf()")
    until(lambda: web.status("/") == 503, "the read-only database is noticed")
    until(lambda: web.verdict() != "ok", "readiness says so")
    says_503_everywhere(web)
    with own_postgres.connect() as operator:
        operator.execute("SET default_transaction_read_only = off")
        operator.execute("ALTER SYSTEM RESET default_transaction_read_only")
        operator.execute("SELECT pg_reload_conf()")
    until(lambda: web.status("/") == 200 and web.verdict() == "ok", "all is well again")


def test_a_restarted_database_costs_503_and_no_restart_of_ours(web: Web, own_postgres: Postgres) -> None:
    assert web.status("/") == 200
    end_postgres(own_postgres.folder)
    says_503_everywhere(web)
    assert web.verdict() != "ok"
    run_postgres(own_postgres.folder)
    until(lambda: web.status("/") == 200 and web.verdict() == "ok", "all is well again")


def test_a_locked_sqlite_database_is_503_and_readiness_names_it(migrated_database: Database) -> None:
    migrated_database.answer("from django.core.management import call_command\ncall_command('catalog', verbosity=0)")
    web = Web(migrated_database)
    path = Path(migrated_database.environment["ORCHESTRATOR_VAR"]) / "orchestrator.sqlite3"
    try:
        assert web.status("/") == 200
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = web.get("/health/ready")
            assert answer.json()["checks"]["database"] != "ok"
            launch = httpx.post(f"{web.address}/api/launch/warm", json={"game": "snake"}, timeout=60, trust_env=False)
            assert (launch.status_code, launch.headers["content-type"]) == (503, PROBLEM)
        until(lambda: web.verdict() == "ok", "readiness is well again")
    finally:
        web.close()


def test_a_full_disk_is_503_and_readiness_names_it(migrated_database: Database) -> None:
    migrated_database.answer("from django.core.management import call_command\ncall_command('catalog', verbosity=0)")
    web = Web(migrated_database)
    try:
        assert web.status("/") == 200
        usual = resource.prlimit(web.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        until(lambda: web.verdict() != "ok", "readiness names the database")
        launch = httpx.post(f"{web.address}/api/launch/warm", json={"game": "snake"}, timeout=60, trust_env=False)
        assert (launch.status_code, launch.headers["content-type"]) == (503, PROBLEM)
        resource.prlimit(web.process.pid, resource.RLIMIT_FSIZE, usual)
        until(lambda: web.verdict() == "ok", "all is well again")
        assert web.status("/") == 200
    finally:
        web.close()


def test_machines_share_the_databases_time_however_their_clocks_go(own: Database) -> None:
    """A process whose clock is an hour off writes and compares what all others do, and knows by how much it is off:
    from its first look at the clock, which may come before its first query."""
    skewed = (
        "import time\nreal = time.time\ntime.time = lambda: real() + 3600\n"
        "from django.utils import timezone\n"
        "from orchestrator_site.postgresql.clock import database_clock\n"
        "print(abs(timezone.now().timestamp() - real()) < 60, round(database_clock.machine_ahead_seconds(), -1))"
    )
    assert own.answer(skewed) == "True 3600.0"


def test_the_first_look_at_the_clock_leaves_nothing_behind_and_never_holds_the_event_loop(own: Database) -> None:
    """A process that forks next would share its connection; one whose database is away would stand still."""
    looks = (
        "import asyncio\nfrom django.db import connection\nfrom django.utils import timezone\n"
        "from orchestrator_site.postgresql.clock import database_clock\n"
        "async def look(): return timezone.now()\n"
        "asyncio.run(look())\nfirst = database_clock._at_zero\n"
        "timezone.now()\n"
        "print(first is None, database_clock._at_zero is not None, connection.connection is None)"
    )
    assert own.answer(looks) == "True True True"
    away = Database(own.environment | {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing"})
    assert away.answer("from django.utils import timezone\nprint(timezone.now().year > 2000)") == "True"


def test_the_databases_time_changes_no_model(own: Database) -> None:
    """Migrations name `timezone.now` as a default: in its place it seemed to be another."""
    check = "from django.core.management import call_command\ncall_command('makemigrations', check=True, dry_run=True)"
    assert own.answer(check) == "No changes detected"
