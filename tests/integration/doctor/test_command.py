"""`manage.py doctor` as a process: beside what runs, before anything runs, and when what it asks hangs."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.databases import Database
from tests.fixtures.local_cloud import LocalCloudProcess
from tests.fixtures.machines import other_clock
from tests.fixtures.poolers import MakePgbouncer
from tests.fixtures.servers import Postgres, Redis
from tests.fixtures.stack import MANAGE, Stack, copy_of
from tests.fixtures.waiting import free_port, until

MOST_SECONDS = 30
OF_DATABASE = ("database", "migrations", "writable", "isolation", "pooler", "redis", "clock")
SECRETS = {
    "DIGITALOCEAN_TOKEN": "dop_v1_5up3r53cr3t",
    "SECRET_KEY": "the-key-of-the-doctors-test-5up3r53cr3t",
    "SPACES_SECRET_KEY": "spaces-5up3r53cr3t",
}


def doctor(environment: dict[str, str], *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, MANAGE, "doctor", *options]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def troubles(environment: dict[str, str], *only: str) -> dict[str, str]:
    """The codes of what is wrong, by the checks' names. Its exit code has to say the same."""
    process = doctor(environment, "--json", *(["--only", *only] if only else []))
    out, err = process.communicate(timeout=60)
    assert err == ""
    report = json.loads(out)
    assert process.returncode == (0 if report["ok"] else 1)
    return {each["name"]: each["code"] for each in report["checks"] if each["level"] in ("failed", "warning")}


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Where connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def on_postgresql(
    postgres: Postgres, migrated_postgres: str, tmp_path: Path, paper_cloud: LocalCloudProcess
) -> Database:
    environment = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"} | {
        "DJANGO_SETTINGS_MODULE": "orchestrator_site.settings",
        "ORCHESTRATOR_VAR": str(tmp_path / "var"),
        "DATABASE_URL": postgres.url(postgres.create(template=migrated_postgres)),
        "DIGITALOCEAN_TOKEN": paper_cloud.token,
        "DIGITALOCEAN_API_URL": paper_cloud.url,
        "ORCHESTRATOR_ID": "staging",
    }
    return Database(environment)


def alter(postgres: Postgres, database: Database, setting: str) -> None:
    name = database.environment["DATABASE_URL"].partition("?")[0].rpartition("/")[2]
    with postgres.connect() as operator:
        operator.execute(f"ALTER DATABASE {name} SET {setting}")


def test_a_postgresql_that_is_well_has_no_trouble(on_postgresql: Database):
    assert troubles(on_postgresql.environment, *OF_DATABASE) == {}


def test_a_postgresql_that_is_away_is_found(on_postgresql: Database):
    environment = on_postgresql.environment | {"DATABASE_URL": f"postgres://postgres@127.0.0.1:{free_port()}/arcade"}
    assert troubles(environment, *OF_DATABASE) == {"database": "database_unreachable"}


def test_a_postgresql_that_is_read_only_is_found(postgres: Postgres, on_postgresql: Database):
    alter(postgres, on_postgresql, "default_transaction_read_only = on")
    assert troubles(on_postgresql.environment, *OF_DATABASE) == {"database": "database_read_only"}


def test_a_postgresql_whose_rows_are_locked_is_found(postgres: Postgres, on_postgresql: Database):
    name = on_postgresql.environment["DATABASE_URL"].partition("?")[0].rpartition("/")[2]
    with psycopg.connect(f"host={postgres.folder} user=postgres dbname={name}") as other:
        other.execute("LOCK TABLE pools_lease IN EXCLUSIVE MODE")
        assert troubles(on_postgresql.environment, *OF_DATABASE) == {"writable": "database_not_writable"}


def test_another_isolation_is_found(postgres: Postgres, on_postgresql: Database):
    alter(postgres, on_postgresql, "default_transaction_isolation = 'repeatable read'")
    assert troubles(on_postgresql.environment, *OF_DATABASE) == {"isolation": "isolation_other"}


def test_a_clock_that_is_off_is_found(on_postgresql: Database):
    environment = on_postgresql.environment | other_clock(90)
    assert troubles(environment, *OF_DATABASE) == {"clock": "clock_off"}


def test_a_pooler_in_transaction_mode_is_found_unless_redis_wakes(
    postgres: Postgres, on_postgresql: Database, make_pgbouncer: MakePgbouncer, redis: Redis
):
    name = on_postgresql.environment["DATABASE_URL"].partition("?")[0].rpartition("/")[2]

    def through(mode: str) -> dict[str, str]:
        address = f"postgres://postgres@127.0.0.1:{make_pgbouncer(postgres, mode)}/{name}"
        return on_postgresql.environment | {"DATABASE_URL": address}

    in_transactions = through("transaction")
    assert troubles(in_transactions, *OF_DATABASE) == {"pooler": "pooler_without_redis"}
    assert troubles(in_transactions | {"REDIS_URL": redis.url}, *OF_DATABASE) == {}
    assert troubles(through("session"), *OF_DATABASE) == {}


def test_a_sqlite_that_can_only_be_read_is_found(migrated_database: Database):
    file = Path(migrated_database.environment["ORCHESTRATOR_VAR"]) / "orchestrator.sqlite3"
    command = f'mount --bind {file} {file} && mount -o remount,ro,bind {file} && exec "$@"'
    program = [sys.executable, MANAGE, "doctor", "--json", "--only", "database", "migrations", "writable", "isolation"]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command, "sh", *program],
        env=migrated_database.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "denied" in done.stderr or "not permitted" in done.stderr:
        pytest.skip("only root can make namespaces")
    codes = {each["name"]: each["code"] for each in json.loads(done.stdout)["checks"] if each["level"] == "failed"}
    assert codes == {"writable": "database_read_only"}


def test_before_anything_was_started_it_says_what_is_missing_and_makes_no_database(tmp_path: Path):
    environment = {"PATH": os.environ["PATH"], "ORCHESTRATOR_VAR": str(tmp_path / "var"), "PORT": str(free_port())}
    found = troubles(environment)
    assert found == {
        "database": "database_missing",
        "token": "cloud_unreachable",
        "public_address": "address_unreachable",
    }
    assert not list((tmp_path / "var").glob("*.sqlite3*"))


def test_a_setting_that_is_refused_is_a_finding(tmp_path: Path):
    environment = {"PATH": os.environ["PATH"], "ORCHESTRATOR_VAR": str(tmp_path / "var"), "PORT": "abc"}
    assert troubles(environment) == {"settings": "settings_refused"}
    out, _ = doctor(environment).communicate(timeout=60)
    assert "PORT" in out


def test_when_everything_hangs_it_ends_in_time_and_tells_no_secret(tmp_path: Path, silent_port: int):
    hangs = f"127.0.0.1:{silent_port}"
    environment = SECRETS | {
        "PATH": os.environ["PATH"],
        "ORCHESTRATOR_VAR": str(tmp_path / "var"),
        "ORCHESTRATOR_ID": "staging",
        "DATABASE_URL": f"postgres://postgres:pg-5up3r53cr3t@{hangs}/arcade",
        "REDIS_URL": f"redis://:redis-5up3r53cr3t@{hangs}/0",
        "DIGITALOCEAN_API_URL": f"http://{hangs}",
        "SPACES_BUCKET": "snaps",
        "SPACES_REGION": "syd1",
        "SPACES_ACCESS_KEY": "access-5up3r53cr3t",
        "SPACES_ENDPOINT_URL": f"http://{hangs}",
        "PUBLIC_URL": f"http://{hangs}",
        "ALERT_EMAILS": "ada@example.com",
        "EMAIL_HOST": "127.0.0.1",
        "EMAIL_PORT": str(silent_port),
        "METRICS_PORT": str(free_port()),
    }
    began = time.monotonic()
    process = doctor(environment)
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < MOST_SECONDS
    assert (process.returncode, err) == (1, "")
    failed = {line.split()[1] for line in out.splitlines() if line.startswith("failed")}
    assert failed >= {"database", "redis", "token", "snapshots", "public_address", "mail"}
    assert "5up3r53cr3t" not in out


def test_ctrl_c_ends_it_quietly(tmp_path: Path, silent_port: int):
    with socket.create_server(("127.0.0.1", 0)) as server:
        environment = {
            "PATH": os.environ["PATH"],
            "ORCHESTRATOR_VAR": str(tmp_path / "var"),
            "DATABASE_URL": f"postgres://postgres@127.0.0.1:{server.getsockname()[1]}/arcade",
        }
        process = doctor(environment)
        server.settimeout(60)
        held, _ = server.accept()  # by now it waits
        with held:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")


@pytest.fixture
def running(built_var: Path, tmp_path: Path) -> Iterator[Stack]:
    """The product with a sandbox that is always ready, and figures."""
    stack = Stack(copy_of(built_var, tmp_path), METRICS_PORT=str(free_port()))
    with closing(sqlite3.connect(stack.var / "orchestrator.sqlite3")) as database, database:
        database.execute("UPDATE pools_pool SET min_ready = 1")
    try:
        yield stack.start()
    finally:
        stack.close()
        print(stack.log)


def has_ready_sandbox(stack: Stack) -> bool:
    with closing(sqlite3.connect(f"file:{stack.var}/orchestrator.sqlite3?mode=ro", uri=True)) as database:
        return database.execute("SELECT count(*) FROM pools_sandbox WHERE state = 'ready'").fetchone()[0] > 0


def test_beside_a_running_installation_all_is_well(running: Stack):
    until(lambda: has_ready_sandbox(running), "a sandbox is ready", seconds=120, every=0.5)
    running.wait_until_ready()
    files = sorted(each.name for each in running.var.iterdir())
    done = running.manage("doctor")
    assert done.returncode == 0, done.stdout
    told = done.stdout.splitlines()
    assert {line.split()[0] for line in told[:-1]} == {"ok"}, done.stdout
    assert told[-1] == f"{len(told) - 1} checks: {len(told) - 1} ok, 0 warning, 0 failed, 0 skipped."
    assert sorted(each.name for each in running.var.iterdir()) == files
    assert running.manage("doctor", "--quiet").stdout == ""
    only = running.manage("doctor", "--only", "token").stdout.splitlines()
    assert [line.split()[:2] for line in only[:-1]] == [["ok", "token"]]
