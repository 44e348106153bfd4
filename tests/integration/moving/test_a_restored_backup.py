"""A backup is restored while somebody plays in what it calls ready: they play on, and nobody joins them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.binaries import need
from tests.fixtures.catalog import Catalog
from tests.fixtures.documents import text_of
from tests.fixtures.local_cloud import TOKEN
from tests.fixtures.machines import Account
from tests.fixtures.servers import Postgres
from tests.fixtures.stack import Stack
from tests.fixtures.waiting import until
from tests.integration.moving.conftest import started_with_games

WHERE = """
import json
from runs.models import Run
run = Run.objects.select_related("sandbox").get(pk="{run}")
print(json.dumps([str(run.sandbox_id), run.sandbox.app_id, run.sandbox.state, run.port]))
"""
LOOK = """
import json
from pools.models import FleetEvent, Sandbox
sandbox = Sandbox.objects.get(pk="{sandbox}")
page = sandbox.agent().fetch({port}, "/").body.decode()
told = list(FleetEvent.objects.filter(code="unknown_run").values_list("sandbox_name", flat=True))
print(json.dumps([sandbox.state, page, told == [sandbox.name]]))
"""
MARKS = """
from pools.models import Sandbox
from pools.taken import taken_by
print(taken_by(Sandbox.objects.get(pk="{sandbox}").agent().look()))
"""
END_ITS_TIME = """
from django.utils import timezone
from pools.models import Sandbox
Sandbox.objects.filter(pk="{sandbox}").update(expires_at=timezone.now())
"""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.chaos)])
def stack(
    request: pytest.FixtureRequest, shared_account: Account, migrated_var: Path, tmp_path: Path
) -> Iterator[Stack]:
    """With an account that goes on when it stops, as App Platform does."""
    catalog = Catalog(tmp_path / "catalog")
    catalog.write("chess", position=1)
    settings = {}
    if request.param == "postgresql":
        (tmp_path / "var").mkdir()
        server: Postgres = request.getfixturevalue("postgres")
        settings["DATABASE_URL"] = server.url(server.create(template=request.getfixturevalue("migrated_postgres")))
    else:
        shutil.copytree(migrated_var, tmp_path / "var")
    stack = Stack(
        tmp_path / "var", CATALOG_DIR=str(catalog.folder), MAX_TOTAL_SANDBOXES="6", ORPHAN_GRACE_SECONDS="1",
        ORCHESTRATOR_ID="moving", DIGITALOCEAN_TOKEN=TOKEN, DIGITALOCEAN_API_URL=shared_account.url, **settings,
    )  # fmt: skip
    with started_with_games(stack):
        yield stack


class Backup:
    """Made and put back by the commands of docs/backup.md."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.folder = stack, stack.var.parent
        self.is_sqlite = "DATABASE_URL" not in stack.environment
        rows = [line.split(" | ") for line in text_of("docs/backup.md").splitlines() if line.startswith("| ")]
        self.make_it, self.put_it_back = (row[1 if self.is_sqlite else 2] for row in rows[-2:])

    def make(self) -> None:
        self._run(self.make_it)

    def put_back(self) -> None:
        if not self.is_sqlite:
            self._run(self.put_it_back)
            return
        assert self.put_it_back == "put the file in its place, remove `-wal` and `-shm` beside the old one"
        database = self.stack.var / "orchestrator.sqlite3"
        (self.folder / "backup.sqlite3").replace(database)
        for suffix in ("-wal", "-shm"):
            database.with_name(database.name + suffix).unlink(missing_ok=True)

    def _run(self, cell: str) -> None:
        found = re.search("`(.+?)`", cell)
        assert found, cell
        need(found[1].split()[0])
        done = subprocess.run(
            found[1], shell=True, cwd=self.folder, env=os.environ | self.stack.environment, capture_output=True,
            text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def launch(stack: Stack) -> dict[str, Any]:
    answer = httpx.post(f"{stack.url}/api/launch/warm", json={"game": "chess"}, timeout=60, trust_env=False)
    assert answer.status_code == 201, answer.text
    return answer.json()


def state_of(stack: Stack, run: dict[str, Any]) -> str:
    return stack.get(f"/api/sandbox/{run['run_id']}").json()["state"]


def test_who_plays_since_the_backup_plays_on_alone(stack: Stack, shared_account: Account) -> None:
    def ids() -> set[str]:
        return {app["id"] for app in shared_account.state()["apps"]}

    backup = Backup(stack)
    known = launch(stack)
    until(lambda: state_of(stack, known) == "running", "somebody plays", seconds=120)
    until(lambda: stack.get("/api/pool/status").json()["ready"] >= 1, "a warm sandbox waits", seconds=120)
    backup.make()
    before = ids()
    played = launch(stack)
    assert (played["state"], played["served_by"]) == ("running", "pool"), played
    sandbox, app, _, port = json.loads(stack.python(WHERE.format(run=played["run_id"])))
    until(lambda: ids() - before, "the pool replaces it", seconds=60)
    # A worker marks it within a second; on a busy machine this stop came first, and nothing said that it was taken.
    until(lambda: played["run_id"] in stack.python(MARKS.format(sandbox=sandbox)), "it is marked", seconds=60)
    stack.stop()
    since = ids()
    strays = since - before
    deletes = shared_account.state()["deletes"]

    backup.put_back()
    stack.start()
    second = launch(stack)
    until(lambda: state_of(stack, second) == "running", "the next one plays", seconds=120)
    for _ in range(2):
        assert stack.manage("reconcile").returncode == 0
    state, page, is_told = json.loads(stack.python(LOOK.format(sandbox=sandbox, port=port)))
    assert (state, is_told) == ("in_use", True), "it is not given away"
    assert "<h1>Chess</h1>" in page, "the game answers"
    assert json.loads(stack.python(WHERE.format(run=second["run_id"])))[0] != sandbox
    assert stack.get(f"/api/sandbox/{played['run_id']}").status_code == 404
    assert state_of(stack, known) == "running"
    assert "Chess" in stack.get(f"/play/{known['run_id']}/").text
    assert shared_account.state()["deletes"] == deletes
    assert since <= ids(), "nothing is deleted, and least of all what no row ever had"

    stack.python(END_ITS_TIME.format(sandbox=sandbox))
    until(lambda: stack.manage("reconcile").returncode == 0 and app not in ids(), "its time is over", seconds=60)
    assert strays <= ids()
    adopted = stack.manage("adopt", "--yes")
    assert adopted.returncode == 0, adopted.stderr
    until(lambda: stack.manage("reconcile").returncode == 0 and not strays & ids(), "strays are deleted", seconds=60)
