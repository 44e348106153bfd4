"""GET /api/runs/{id}: what happened to a run and what it has cost; more time for it, and its end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from pools.models import FleetEvent, Sandbox, State
from pools.reasons import LogKind
from runs import events, lifecycle
from runs.models import EventKind, Run, RunEvent, RunState
from runs.reasons import RunEndCode
from runs.rights import token_of
from tests.fixtures.web import new_run
from tests.integration.api.conftest import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def running(snake: Any, make_sandbox: Callable[..., Sandbox]) -> Run:
    """A run with five minutes left, in a sandbox that was accepted half an hour ago."""
    now = timezone.now()
    soon = now + timedelta(minutes=5)
    sandbox = make_sandbox(State.IN_USE, expires_at=soon, accepted_at=now - timedelta(minutes=30))
    return new_run(state="running", sandbox=sandbox, expires_at=soon, ready_at=now, acquired_at=now)


def holder(run: Run) -> dict[str, str]:
    return {"Authorization": f"Bearer {token_of(run.id)}"}


def post(client: Client, run: Run, act: str, body: Any = None, **headers: str) -> Any:
    return client.post(f"/api/runs/{run.id}/{act}", body, content_type="application/json", headers=headers)


def told(client: Client, run: Run) -> list[tuple[str, str]]:
    """The states and codes that a run went through."""
    changes = client.get(f"/api/runs/{run.id}").json()["transitions"]
    assert all(each["at"] and each["sentence"] for each in changes)
    return [(each["state"], each["code"]) for each in changes]


def test_a_run_tells_what_happened_to_it_change_by_change(client: Client, snake: Any, pool: Any):
    launched = client.post("/api/launch/cold", {"game": "snake"}, content_type="application/json").json()
    run = Run.objects.get(pk=launched["run_id"])
    events.emit(run.id, EventKind.LOG, "a line of the log is no change")
    lifecycle.fail(run.id, RunEndCode.SANDBOX_FAILED, "No sandbox could be made.", timezone.now())
    assert told(client, run) == [("acquiring", "creating"), ("failed", "sandbox_failed")]


def test_more_time_and_a_game_that_came_back_are_changes_too(client: Client, running: Run):
    lifecycle.extend(running.id, timezone.now())
    events.emit(running.id, EventKind.STATUS, "The game is back.", data={"code": "game_back"})
    assert told(client, running) == [("running", "extended"), ("running", "game_back")]


def test_a_run_whose_log_is_deleted_tells_what_its_row_knows(client: Client, running: Run):
    lifecycle.end(running.id, RunEndCode.TIME_UP, "Its time was up.", timezone.now())
    RunEvent.objects.all().delete()
    assert told(client, running) == [
        ("acquiring", "acquiring"),
        ("deploying", ""),
        ("running", "ready"),
        ("ended", "time_up"),
    ]


def test_a_line_of_an_older_version_without_a_code_is_told_all_the_same(client: Client, running: Run):
    events.emit(running.id, EventKind.STATUS, "Something was said.")
    assert told(client, running) == [("acquiring", "")]


def test_a_run_costs_what_its_sandbox_is_billed(client: Client, running: Run):
    cost = client.get(f"/api/runs/{running.id}").json()["cost"]
    assert cost["usd_per_hour"] == pytest.approx(12 / 672, rel=1e-3)
    assert cost["usd"] == pytest.approx(12 / 672 / 2, rel=1e-2)


def test_once_its_sandbox_is_gone_it_costs_no_more(client: Client, running: Run):
    Sandbox.objects.update(state=State.DELETED, end_code="run_over", end_reason="over", deleted_at=timezone.now())
    before = client.get(f"/api/runs/{running.id}").json()["cost"]
    assert before["usd_per_hour"] == 0
    assert before["usd"] > 0


def test_a_run_without_a_sandbox_costs_nothing(client: Client, snake: Any):
    assert client.get(f"/api/runs/{new_run().id}").json()["cost"] == {"usd": 0, "usd_per_hour": 0}


def test_it_has_all_that_the_launch_answered(client: Client, running: Run):
    answer, launched = (client.get(f"/api/{place}/{running.id}").json() for place in ("runs", "sandbox"))
    lasted = launched.pop("duration_ms")  # it goes on
    assert {name: answer[name] for name in launched} == launched
    assert answer["duration_ms"] <= lasted


# More time.


def test_who_launched_it_gets_more_time_and_is_named(running: Run):
    answer = post(Client(), running, "extend", **holder(running))
    assert answer.status_code == 200, answer.content
    before = running.expires_at
    running.refresh_from_db()
    assert running.expires_at == before + timedelta(minutes=5)
    assert FleetEvent.objects.get(code="extended").actor == f"holder of the token of run {running.short_id}"


def test_it_is_extended_as_often_as_may_be(running: Run, settings: Any):
    settings.MAX_EXTENSIONS = 1
    assert post(Client(), running, "extend", **holder(running)).status_code == 200
    refused = post(Client(), running, "extend", **holder(running))
    assert (refused.status_code, refused.json()["code"]) == (409, "no_more_time")


@pytest.mark.parametrize("state", [RunState.ACQUIRING, RunState.DEPLOYING, RunState.ENDED])
def test_what_is_not_running_gets_no_more_time(snake: Any, state: RunState):
    over = {"end_code": "time_up", "end_reason": "x"} if state == RunState.ENDED else {}
    run = new_run(state=state, **over)
    refused = post(Client(), run, "extend", **holder(run))
    assert (refused.status_code, refused.json()["code"]) == (409, "not_running")
    assert state in refused.json()["detail"]


def test_an_operator_says_why_there_is_more_time(operator: Client, running: Run):
    refused = post(operator, running, "extend")
    assert (refused.status_code, refused.json()["code"]) == (422, "reason_needed")
    assert post(operator, running, "extend", {"reason": "a demo"}).status_code == 200
    line = FleetEvent.objects.get(actor="ada", kind=LogKind.EXTEND)
    assert "a demo" in line.message


# The end.


def test_who_launched_it_ends_it_and_ending_it_again_changes_nothing(running: Run):
    first = post(Client(), running, "end", **holder(running))
    again = post(Client(), running, "end", **holder(running))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    running.refresh_from_db()
    assert (running.state, running.end_code) == (RunState.ENDED, RunEndCode.ENDED_BY_API)


def test_an_operator_says_why_it_ends(operator: Client, running: Run):
    assert post(operator, running, "end", {"reason": "  "}).json()["code"] == "reason_needed"
    assert post(operator, running, "end", {"reason": "it hangs"}).status_code == 200
    running.refresh_from_db()
    assert running.end_reason == "An operator ended it: it hangs"


@pytest.mark.parametrize("act", ["extend", "end"])
def test_nobody_else_may(running: Run, act: str):
    for stranger in (Client(), person("view_run", "view_fleet")):
        refused = post(stranger, running, act, {"reason": "because"})
        assert (refused.status_code, refused.json()["code"]) == (403, "not_yours")
    running.refresh_from_db()
    assert (running.state, running.extensions) == (RunState.RUNNING, 0)


@pytest.mark.parametrize("act", ["extend", "end"])
def test_another_sites_page_may_not(player: Client, name_of: Callable[[Client], str], act: str, running: Run):
    Run.objects.update(visitor=name_of(player))
    refused = post(player, running, act, Origin="https://evil.example")
    assert (refused.status_code, refused.json()["code"]) == (403, "foreign_page")


@pytest.mark.parametrize("act", ["extend", "end"])
@pytest.mark.parametrize(
    ("body", "field"), [({"reason": 7}, "reason"), ({"reason": "x" * 201}, "reason"), ({"why": "x"}, "why")]
)
def test_what_is_not_understood_is_named(running: Run, act: str, body: Any, field: str):
    refused = post(Client(), running, act, body, **holder(running))
    assert refused.status_code == 422
    assert refused.json()["field"].endswith(field)


@pytest.mark.parametrize("path", ["/api/runs/{}", "/api/runs/{}/extend", "/api/runs/{}/end"])
@pytest.mark.parametrize(("run_id", "code"), [(uuid4(), "no_such_run"), ("7", "not_found")])
def test_an_unknown_run_is_not_found(client: Client, path: str, run_id: object, code: str):
    address = path.format(run_id)
    answer = (
        client.get(address)
        if address.endswith(str(run_id))
        else client.post(address, "", content_type="application/json")
    )
    assert (answer.status_code, answer.json()["code"]) == (404, code)


def test_methods_are_told(client: Client, running: Run):
    assert client.head(f"/api/runs/{running.id}").status_code == 200
    assert client.options(f"/api/runs/{running.id}")["Allow"] == "GET, HEAD, OPTIONS"
    for act in ("extend", "end"):
        assert client.options(f"/api/runs/{running.id}/{act}")["Allow"] == "OPTIONS, POST"
        assert client.get(f"/api/runs/{running.id}/{act}").status_code == 405
