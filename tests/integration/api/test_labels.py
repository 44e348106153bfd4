"""Labels: what clients put on launches to find them again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from games.models import Game
from pools.models import FleetEvent, Sandbox
from runs.models import Run, RunEvent
from tests.fixtures.databases import Database, own_database
from tests.fixtures.fleet import pool
from tests.fixtures.servers import Postgres
from tests.fixtures.web import new_run
from tests.integration.runs.conftest import game, patience, staged

__all__ = ["game", "patience", "pool", "staged"]  # the same rows

pytestmark = pytest.mark.django_db(transaction=True)
PROBE = Path(__file__).with_name("label_probe.py").read_text()
RED, BLUE, QUOTE = "job team", "3d/a__b 7 team", "quote.a"
FOUND = {
    "": sorted(["", RED, BLUE, QUOTE]), "team": sorted([BLUE, RED]), "team:red": [RED], "team:re": [],
    "team:red job:7": [RED],
    "team:red job:8": [], "7": [BLUE], "7:x": [BLUE], "0": [], "3d/a__b": [BLUE], "3d/a__b:": [BLUE], "3d/a__b:x": [],
    "quote.a:a'b\"c:d ü": [QUOTE], "quote": [],
}  # fmt: skip


def launch(labels: Any, mode: str = "cold", key: str | None = None) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    body = {"game": "snake", "mode": mode, "labels": labels}
    return Client(headers=headers).post("/api/launch", body, content_type="application/json")


@pytest.mark.parametrize("mode", ["warm", "cold"])
def test_a_launch_keeps_its_labels_and_tells_them_first(staged: Sandbox, mode: str):
    labels = {"team": "red", "ci/job.id": "7 of 9"}
    run = launch(labels, mode).json()
    assert run["labels"] == labels
    assert Client().get(f"/api/runs/{run['run_id']}").json()["labels"] == labels
    first, *others = RunEvent.objects.filter(run_id=run["run_id"]).order_by("seq")
    assert first.data["labels"] == labels
    assert not [line for line in others if "labels" in line.data]


def test_the_orchestrator_log_which_everybody_may_read_does_not_tell_them(staged: Sandbox):
    launch({"customer": "secret-one"})
    told = FleetEvent.objects.values_list("message", "data")
    assert not [line for line in told if "secret-one" in str(line)]


def test_without_labels_there_are_none(staged: Sandbox):
    run = launch({}, "warm").json()
    assert run["labels"] == {}
    assert "labels" not in RunEvent.objects.filter(run_id=run["run_id"]).order_by("seq")[0].data


def test_a_run_of_an_older_version_has_none(game: Game):
    run = Run.objects.create(game=game, mode="warm", visitor="ada", created_at=timezone.now())
    assert Client().get(f"/api/sandbox/{run.pk}").json()["labels"] == {}


@pytest.mark.parametrize(
    "labels",
    [
        {"Team": "red"}, {"": "x"}, {"-team": "x"}, {"team-": "x"}, {"te am": "x"}, {"a" * 64: "x"}, {"team": "x" * 64},
        {"team": "a\nb"}, {"team": "a\u0000b"}, {"team": 7}, {"team": None}, {f"n{n}": "" for n in range(17)}, ["team"],
    ],
    ids=lambda labels: str(labels)[:30],
)  # fmt: skip
def test_labels_that_are_none_are_refused(game: Game, labels: Any):
    answer = launch(labels)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["field"].startswith("labels")
    assert not Run.objects.exists()


@pytest.mark.parametrize("labels", [{"a" * 63: "x" * 63}, {"a": ""}, {f"n{n}": "" for n in range(16)}, {"7": "ü"}])
def test_labels_may_be_as_long_and_as_many(staged: Sandbox, labels: dict[str, str]):
    assert launch(labels).json()["labels"] == labels


def test_the_same_key_with_other_labels_is_a_mistake(staged: Sandbox):
    first = launch({"team": "red", "job": "7"}, key="k").json()
    assert launch({"job": "7", "team": "red"}, key="k").json()["run_id"] == first["run_id"], "the order says nothing"
    assert launch({"team": "blue"}, key="k").json()["code"] == "key_reused"


# Found again.


@pytest.mark.parametrize("on", ["sqlite", "postgresql"])
def test_runs_are_found_by_all_their_labels_on_every_database(request: pytest.FixtureRequest, tmp_path: Path, on: str):
    database: Database
    if on == "sqlite":
        database = request.getfixturevalue("migrated_database")
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        database = own_database(postgres, tmp_path / "var")
    assert json.loads(database.answer(PROBE).splitlines()[-1]) == FOUND


def test_other_filters_hold_as_well(operator: Client):
    new_run(labels={"team": "red"}, mode="warm")
    wanted = new_run(labels={"team": "red"}, mode="cold")
    found = operator.get("/api/runs?label=team:red&mode=cold").json()
    assert [run["run_id"] for run in found["runs"]] == [str(wanted.pk)]
    assert found["total"] == 1


def test_a_label_opens_nobody_elses_runs(player: Client, name_of: Callable[[Client], str]):
    new_run(labels={"team": "red"})
    mine = new_run(labels={"team": "red"}, visitor=name_of(player))
    assert [run["run_id"] for run in player.get("/api/runs?label=team:red").json()["runs"]] == [str(mine.pk)]


@pytest.mark.parametrize("asked", ["Team", ":red", "", "team:" + "x" * 64, "te am:red", "team:a%00b"])
def test_what_can_be_no_label_is_refused(operator: Client, asked: str):
    answer = operator.get(f"/api/runs?label={asked}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


def test_operators_find_a_run_by_its_label_and_see_it(admin_client: Client):
    wanted, other = new_run(labels={"team": "red", "job": "7"}), new_run(labels={"team": "blue"})
    page = admin_client.get("/admin/runs/run/?q=team:red").content.decode()
    assert wanted.short_id in page
    assert other.short_id not in page
    assert "team:red" in admin_client.get(f"/admin/runs/run/{wanted.pk}/change/").content.decode()
