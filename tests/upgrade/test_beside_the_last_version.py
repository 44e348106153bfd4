"""The last version and this one on one database, under load: nobody notices which of them answers, or that one goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fixtures.catalog import Catalog
from tests.fixtures.databases import Database
from tests.fixtures.last_version import MakeVersion, Version
from tests.fixtures.local_cloud import TOKEN
from tests.fixtures.machines import Account
from tests.fixtures.players import COUNTS, LIMITS, Players
from tests.fixtures.waiting import until

SETTINGS = {
    "SECRET_KEY": "one key for both versions " * 3,
    "DIGITALOCEAN_TOKEN": TOKEN,
    "ORCHESTRATOR_ID": "both-versions",
    "ANYONE_MAY_END_RUNS": "true",
    **LIMITS,
    "DRAIN_SECONDS": "1",
}
PREPARE = "from django.core.management import call_command; call_command('prepare')"
ENOUGH = 8  # runs played in each stage


@pytest.fixture
def both(
    shared_account: Account, shared_database: Database, make_version: MakeVersion, tmp_path: Path
) -> tuple[Version, Version]:
    Catalog(tmp_path / "catalog").write("chess")
    shared_database.environment.update(
        SETTINGS, DIGITALOCEAN_API_URL=shared_account.url, CATALOG_DIR=str(tmp_path / "catalog")
    )
    shared_database.answer(PREPARE)
    return make_version("last"), make_version("this")


def test_an_upgrade_under_load_fails_no_request_and_loses_no_run(
    both: tuple[Version, Version], shared_database: Database, shared_account: Account
):
    last, this = both
    with Players(last.url, this.url) as players:
        players.play(ENOUGH)  # by both
        assert last.cluster.stop() == 0
        players.play(ENOUGH)  # its tasks are done by ours
        players.take_out(last.url)  # it does not drain by itself yet
        last.web.stop()
        players.play(ENOUGH)
    found = json.loads(shared_database.answer(COUNTS))
    assert {run: found["runs"][run][0] for run in players.played} == dict.fromkeys(players.played, "ended")
    assert all(reason for state, _, reason in found["runs"].values() if state in ("ended", "failed"))
    assert not found["shared"], "a sandbox served two"
    until(
        lambda: (
            {app["name"] for app in shared_account.apps()}
            <= set(json.loads(shared_database.answer(COUNTS))["existing"])
        ),
        "no app is an orphan",
        seconds=60,
    )
