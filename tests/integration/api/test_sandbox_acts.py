"""One sandbox over HTTP: how it stands, its retirement, and the deletion that asks for its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from pools.models import FleetEvent, Sandbox, State
from runs.models import Run
from tests.fixtures.fleet import FleetUnderTest
from tests.fixtures.web import new_run
from tests.integration.api.conftest import person
from tests.integration.api.test_keys import key_with

pytestmark = pytest.mark.django_db
MakeSandbox = Callable[..., Sandbox]
WHY = "it smells"


def post(client: Client, sandbox: Sandbox, act: str, **fields: str) -> Any:
    return client.post(
        f"/api/sandboxes/{sandbox.name}/{act}", {"reason": WHY} | fields, content_type="application/json"
    )


def test_one_is_told_as_the_list_tells_it(operator: Client, make_sandbox: MakeSandbox):
    sandbox = make_sandbox(State.READY)
    [listed] = operator.get("/api/sandboxes").json()["sandboxes"]
    assert operator.get(f"/api/sandboxes/{sandbox.name}").json() == listed


def test_one_that_never_was_is_not_found(operator: Client, db: None):
    answer = operator.get("/api/sandboxes/sandbox-00000000")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_sandbox")


def test_it_is_retired_its_run_ends_and_the_log_says_who_and_why(make_sandbox: MakeSandbox):
    key, robot = key_with("operate")
    sandbox = make_sandbox(State.IN_USE)
    run = new_run(sandbox=sandbox, state="running")
    answer = post(robot, sandbox, "retire")
    assert answer.status_code == 200, answer.content
    assert (answer.json()["state"], answer.json()["end_code"]) == ("deleting", "retired")
    assert answer.json()["message"] == f"{sandbox.name} is retired"
    assert Run.objects.get(pk=run.pk).is_over
    event = FleetEvent.objects.get(actor=key.actor)
    assert (event.sandbox_name, event.message) == (sandbox.name, f"retired by an operator: {WHY}")
    again = post(robot, sandbox, "retire")
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


def test_people_need_the_right_that_the_admin_asks_for(make_sandbox: MakeSandbox, operator: Client):
    sandbox = make_sandbox(State.READY)
    assert post(operator, sandbox, "retire").json()["code"] == "operators_only"
    assert Sandbox.objects.get().state == State.READY


def test_one_who_may_destroy_retires_it(make_sandbox: MakeSandbox):
    sandbox = make_sandbox(State.READY)
    assert post(person("operate_fleet", "destroy_fleet"), sandbox, "retire").status_code == 200


def test_it_is_deleted_at_once_by_who_types_its_name(paper_fleet: FleetUnderTest, make_sandbox: MakeSandbox):
    app = paper_fleet.cloud.control.make_app("sandbox-0000cafe", owner="local")
    sandbox = make_sandbox(State.READY, app_id=app["id"], known_app_id=app["id"])
    Sandbox.objects.update(name="sandbox-0000cafe")
    sandbox.refresh_from_db()
    paper_fleet.turn()
    key, robot = key_with("admin")
    wrong = post(robot, sandbox, "force-delete", confirm="sandbox-0000caff")
    assert (wrong.status_code, wrong.json()["field"]) == (422, "confirm")
    assert len(paper_fleet.cloud.apps()) == 1
    answer = post(robot, sandbox, "force-delete", confirm=sandbox.name)
    assert answer.status_code == 200, answer.content
    assert (answer.json()["fate"], answer.json()["state"]) == ("deleted", "deleting")
    assert paper_fleet.cloud.apps() == []
    assert FleetEvent.objects.filter(actor=key.actor, sandbox_name=sandbox.name, code="force_deleted").exists()


def test_deleting_what_is_gone_changes_nothing(make_sandbox: MakeSandbox):
    sandbox = make_sandbox(State.DELETED, end_code="idle", end_reason="a test")
    answer = post(key_with("admin")[1], sandbox, "force-delete", confirm=sandbox.name)
    assert (answer.status_code, answer.json()["fate"]) == (200, "gone")


def test_only_keys_that_may_everything_delete_by_force(make_sandbox: MakeSandbox):
    sandbox = make_sandbox(State.READY)
    refused = post(key_with("operate")[1], sandbox, "force-delete", confirm=sandbox.name)
    assert refused.json()["code"] == "scope_missing"
    assert post(key_with("read")[1], sandbox, "retire").json()["code"] == "scope_missing"
    assert Sandbox.objects.get().state == State.READY


def test_each_takes_a_reason(make_sandbox: MakeSandbox):
    _, robot = key_with("admin")
    sandbox = make_sandbox(State.READY)
    assert post(robot, sandbox, "retire", reason=" ").json()["code"] == "reason_needed"
    assert post(robot, sandbox, "force-delete", reason=" ", confirm=sandbox.name).json()["code"] == "reason_needed"
    assert Sandbox.objects.get().state == State.READY
