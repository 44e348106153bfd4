"""An upgrade from the last version keeps its rows, shows them, and goes on where that version was stopped.

The rows were written by the last version itself (`rows.py`). Its tables are made by the migrations that it had.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.utils import timezone

from tests.fixtures.databases import Database
from tests.fixtures.local_cloud import LocalCloudProcess
from tests.fixtures.servers import Postgres
from tests.upgrade.rows import SECRET_KEY

LOAD = """
from datetime import datetime
from tests.upgrade.rows import Kept
Kept(datetime.fromisoformat(sys.argv[1])).load()
"""
MIGRATE = "from django.core.management import call_command; call_command('migrate', verbosity=0)"
CHECK = "from tests.upgrade.checks import run; run(*sys.argv[1:])"


@dataclass
class Upgraded:
    """A database of the last version that this one has migrated; `moment` is when the last version was stopped."""

    database: Database
    moment: str

    def check(self, name: str, **environment: str) -> None:
        Database(self.database.environment | environment).answer(CHECK, name, self.moment)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Upgraded:
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")},
        "DJANGO_SETTINGS_MODULE": "orchestrator_site.settings",
        "ORCHESTRATOR_VAR": str(tmp_path_factory.mktemp("upgraded") / "var"),
        "ORCHESTRATOR_ID": "staging",
        "SECRET_KEY": SECRET_KEY,
        "MAX_TOTAL_SANDBOXES": "100",
    }
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        environment["DATABASE_URL"] = server.url(server.create())
    found = Upgraded(Database(environment), timezone.now().isoformat())
    found.database.answer(LOAD, found.moment)
    found.database.answer(MIGRATE)
    return found


@pytest.fixture
def upgraded(original: Upgraded, request: pytest.FixtureRequest, tmp_path: Path) -> Upgraded:
    """A copy of its own for each test: some change what is there."""
    environment = original.database.environment | {"ORCHESTRATOR_VAR": str(tmp_path / "var")}
    shutil.copytree(original.database.environment["ORCHESTRATOR_VAR"], tmp_path / "var")
    if "DATABASE_URL" in environment:
        server: Postgres = request.getfixturevalue("postgres")
        name = urlsplit(environment["DATABASE_URL"]).path.strip("/")
        environment["DATABASE_URL"] = server.url(server.create(name))
    return Upgraded(Database(environment), original.moment)


def test_nothing_is_lost(upgraded: Upgraded):
    upgraded.check("nothing_is_lost")


def test_every_row_can_be_shown(upgraded: Upgraded):
    upgraded.check("every_row_can_be_shown")


def test_every_queued_task_can_be_run(upgraded: Upgraded):
    upgraded.check("every_queued_task_can_be_run")


def test_queued_deployments_are_carried_out(upgraded: Upgraded):
    upgraded.check("queued_deployments_are_carried_out")


def test_a_turn_is_taken(upgraded: Upgraded, paper_cloud: LocalCloudProcess):
    upgraded.check("a_turn_is_taken", DIGITALOCEAN_TOKEN=paper_cloud.token, DIGITALOCEAN_API_URL=paper_cloud.url)
