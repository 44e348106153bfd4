"""A database that an earlier version has filled is upgraded: its rows are kept, and the product goes on with them."""

from __future__ import annotations

import json
import lzma
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.fixtures.databases import Database
from tests.fixtures.local_cloud import LocalCloudProcess
from tests.fixtures.servers import Postgres
from tests.upgrade.keep import DATABASES, SECRET_KEY

KEPT = sorted(path.name.removesuffix(".sql.xz") for path in DATABASES.glob("*.sql.xz"))
TABLES = ("pools_pool", "pools_sandbox", "pools_fleetevent", "games_game", "runs_run", "runs_runevent")
TO_POSTGRESQL = "from tests.upgrade.on_postgresql import load; load(sys.argv[1])"
MIGRATE = "from django.core.management import call_command; call_command('migrate', verbosity=0)\n"
LOOK = """
import json
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from runs.models import Run
tables = {model._meta.db_table: model for model in apps.get_models()}
operator = Client(HTTP_HOST="127.0.0.1")
operator.force_login(User.objects.get(username="operator"))
paths = ["/", "/stats/", "/api/games", "/api/pool/status", "/api/orchestrator/logs?limit=500", "/admin/pools/fleet/"]
paths += [path for run in Run.objects.all() for path in (f"/runs/{run.pk}/", f"/api/runs/{run.pk}/events?limit=500")]
print(json.dumps({
    "counts": {name: tables[name].objects.count() for name in sys.argv[1:]},
    "states": sorted(Run.objects.values_list("state", flat=True)),
    "codes": all(run.end_code and run.end_reason for run in Run.objects.filter(state__in=["ended", "failed"])),
    "wrong": [path for path in paths if operator.get(path).status_code != 200],
}))
"""
GOES_ON = """
from pools.turn.reconciler import turn
from runs import upkeep
from runs.models import Run
from django.utils import timezone
turn()
upkeep.put_right(timezone.now())
print(Run.objects.count())
"""


class Earlier:
    """The database of an earlier version, and how many rows it has."""

    def __init__(self, name: str, var: Path) -> None:
        var.mkdir(mode=0o700)
        with closing(sqlite3.connect(var / "orchestrator.sqlite3")) as database:
            database.executescript(lzma.decompress((DATABASES / f"{name}.sql.xz").read_bytes()).decode())
            self.counts = {each: database.execute(f"SELECT count(*) FROM {each}").fetchone()[0] for each in TABLES}
            self.states = sorted(state for (state,) in database.execute("SELECT state FROM runs_run"))


@pytest.fixture(params=KEPT)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path, paper_cloud: LocalCloudProcess) -> Database:
    """Without any table."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    environment = inherited | {
        "DJANGO_SETTINGS_MODULE": "orchestrator_site.settings",
        "ORCHESTRATOR_VAR": str(tmp_path / "var"),
        "ORCHESTRATOR_ID": "kept",
        "SECRET_KEY": SECRET_KEY,
        "DIGITALOCEAN_TOKEN": paper_cloud.token,
        "DIGITALOCEAN_API_URL": paper_cloud.url,
    }
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        environment["DATABASE_URL"] = server.url(server.create())
    return Database(environment)


def test_at_least_three_earlier_versions_are_kept():
    assert len(KEPT) >= 3


def test_a_database_of_an_earlier_version_is_upgraded_and_goes_on(name: str, empty: Database, tmp_path: Path):
    database, earlier = empty, Earlier(name, tmp_path / "var")
    assert {"ended", "failed", "running"} <= set(earlier.states)
    assert all(earlier.counts.values()), earlier.counts
    if database.vendor == "postgresql":
        database.answer(TO_POSTGRESQL, str(tmp_path / "var" / "orchestrator.sqlite3"))
        (tmp_path / "var" / "orchestrator.sqlite3").unlink()
    found = json.loads(database.answer(MIGRATE + LOOK, *TABLES).splitlines()[-1])
    assert found["counts"] == earlier.counts, "no row is lost, and none is made"
    assert found["states"] == earlier.states
    assert found["codes"], "what is over says why by a code"
    assert not found["wrong"]
    assert int(database.answer(GOES_ON).splitlines()[-1]) == len(earlier.states)
