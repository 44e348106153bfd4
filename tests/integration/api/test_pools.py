"""The pools over HTTP: how they stand, what they are set to, and the acts on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from pools.api_keys import ApiKey
from pools.models import FleetEvent, Mode, Pool, Sandbox, State
from tests.integration.api.conftest import person
from tests.integration.api.test_keys import key_with

pytestmark = pytest.mark.django_db
MakeSandbox = Callable[..., Sandbox]
PYTHON = "/api/pools/python"
WHY = "the fair opens"


@pytest.fixture
def robot(db: None) -> tuple[ApiKey, Client]:
    """A program whose key operates."""
    return key_with("operate")


def change(client: Client, headers: dict[str, str] | None = None, reason: str = WHY, **fields: Any) -> Any:
    body = fields | {"reason": reason}
    return client.patch(PYTHON, body, content_type="application/json", headers=headers or {})


def act(client: Client, name: str, reason: str = WHY) -> Any:
    return client.post(f"{PYTHON}/{name}", {"reason": reason}, content_type="application/json")


def log() -> list[tuple[str, str]]:
    return list(FleetEvent.objects.exclude(actor="").values_list("actor", "message"))


def test_a_pool_says_how_it_is_set_and_how_it_stands(make_sandbox: MakeSandbox):
    make_sandbox(State.READY)
    make_sandbox(State.IN_USE)
    _, reader = key_with("read")
    told = reader.get(PYTHON).json()
    assert (told["name"], told["mode"], told["target_ready"], told["on_empty"]) == ("python", "active", 1, "cold")
    assert (told["counts"]["ready"], told["counts"]["in_use"], told["counts"]["deleting"]) == (1, 1, 0)
    assert told["usd_per_hour"] == pytest.approx(2 * 12 / 672, rel=1e-3)
    assert told["idle_usd_per_hour"] == pytest.approx(12 / 672, rel=1e-3)
    assert told["breaker"]["is_open"] is False
    assert told["recommended"]["target_ready"] == 0
    assert [each["name"] for each in reader.get("/api/pools").json()["pools"]] == ["python"]


def test_it_says_what_the_next_turn_would_do_with_it(pool: Pool, operator: Client):
    Pool.objects.update(mode=Mode.PAUSED)
    [step] = operator.get(PYTHON).json()["next_steps"]
    assert step["kind"] == "hold"


def test_what_has_not_been_changed_is_not_sent_again(make_sandbox: MakeSandbox, robot: tuple[ApiKey, Client]):
    _, program = robot
    make_sandbox(State.READY)
    tag = program.get(PYTHON)["ETag"]
    make_sandbox(State.READY)
    Pool.objects.update(last_acquired_at=timezone.now())
    again = program.get(PYTHON, headers={"If-None-Match": f'"x", W/{tag}'})
    assert (again.status_code, again["ETag"], again.content) == (304, tag, b"")
    assert act(program, "pause").status_code == 200
    assert program.get(PYTHON, headers={"If-None-Match": tag}).status_code == 200


def test_the_list_has_the_tags_of_the_pools(pool: Pool, operator: Client):
    [told] = operator.get("/api/pools").json()["pools"]
    assert told["etag"] == operator.get(PYTHON)["ETag"]


def test_sizes_and_times_are_changed_and_the_log_says_from_what_to_what(pool: Pool, robot: tuple[ApiKey, Client]):
    key, program = robot
    answer = change(program, target_ready=2, max_ready=3, idle_timeout_seconds=60, on_empty="fail")
    assert answer.status_code == 200, answer.content
    assert (answer.json()["target_ready"], answer.json()["idle_timeout_seconds"]) == (2, 60)
    assert answer["ETag"] == program.get(PYTHON)["ETag"]
    pool.refresh_from_db()
    assert (pool.target_ready, pool.max_ready, pool.idle_timeout_seconds, pool.on_empty) == (2, 3, 60, "fail")
    [(actor, message)] = log()
    assert actor == key.actor
    assert "target_ready: 1 → 2" in message
    assert "on_empty: cold → fail" in message
    assert message.endswith(f"an operator: {WHY}")


def test_the_autopilot_is_switched_on_and_off(pool: Pool, robot: tuple[ApiKey, Client]):
    answer = change(robot[1], autopilot=True, autopilot_step=5, autopilot_usd_a_month=40)
    assert (answer.status_code, answer.json()["autopilot"], answer.json()["autopilot_step"]) == (200, True, 5)
    assert change(robot[1], autopilot=False).json()["autopilot"] is False
    pool.refresh_from_db()
    assert (pool.autopilot, pool.autopilot_step, pool.autopilot_usd_a_month) == (False, 5, 40)


def test_what_changes_nothing_is_no_act(pool: Pool, robot: tuple[ApiKey, Client]):
    assert change(robot[1], target_ready=1).status_code == 200
    assert log() == []


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"target_ready": 9, "max_ready": 9}, "target_ready", "invalid"),
        ({"target_ready": 3}, "target_ready", "invalid"),
        ({"max_concurrent_creates": 0}, "max_concurrent_creates", "invalid"),
        ({"min_ready": -1}, "min_ready", "invalid"),
        ({"target_ready": 2**40}, "target_ready", "invalid"),
        ({"idle_timeout_seconds": 1}, "idle_timeout_seconds", "invalid"),
        ({"on_empty": "shrug"}, "on_empty", "invalid"),
        ({"mode": "paused"}, "mode", "invalid"),
        ({"autopilot": "maybe"}, "autopilot", "invalid"),
        ({"autopilot_step": 0}, "autopilot_step", "invalid"),
        ({"target_ready": None}, "target_ready", "invalid"),
        ({"target_ready": 2, "reason": " "}, "reason", "reason_needed"),
    ],
)
def test_what_does_not_fit_is_named_as_the_admin_names_it(
    pool: Pool, robot: tuple[ApiKey, Client], settings: Any, fields: dict[str, Any], field: str, code: str
):
    settings.MAX_TOTAL_SANDBOXES = 5
    answer = change(robot[1], **fields)
    assert answer.status_code == 422, answer.content
    assert (answer.json()["field"], answer.json()["code"]) == (field, code)
    assert Pool.objects.get() == pool
    assert log() == []


def test_of_two_who_saw_the_same_only_the_first_changes_it(pool: Pool, robot: tuple[ApiKey, Client]):
    _, program = robot
    seen = {"If-Match": program.get(PYTHON)["ETag"]}
    assert change(program, seen, target_ready=2).status_code == 200
    late = change(program, seen, target_ready=0)
    assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")
    assert Pool.objects.get().target_ready == 2
    assert change(program, {"If-Match": "*"}, target_ready=0).status_code == 200


@pytest.mark.parametrize(
    ("name", "before", "after", "done"),
    [
        ("pause", "active", "paused", "pool python paused"),
        ("resume", "paused", "active", "pool python resumed"),
        ("drain", "active", "draining", "pool python drained"),
        ("recycle", "active", "active", "pool python is recycled"),
        ("close-breaker", "active", "active", "the breaker of pool python is closed"),
    ],
)
def test_each_act_is_done_and_the_log_names_the_key(
    pool: Pool, robot: tuple[ApiKey, Client], name: str, before: str, after: str, done: str
):
    Pool.objects.update(mode=before)
    key, program = robot
    answer = act(program, name)
    assert answer.status_code == 200, answer.content
    assert answer.json()["mode"] == after
    assert answer.json()["message"].startswith(done)
    [(actor, message)] = log()
    assert (actor, message.endswith(WHY)) == (key.actor, True)


def test_a_pool_is_primed_and_the_answer_says_how_far_it_is(make_sandbox: MakeSandbox, robot: tuple[ApiKey, Client]):
    _, program = robot
    answer = act(program, "prime")
    assert (answer.status_code, int(answer["Retry-After"])) == (202, 5)
    assert (answer.json()["counts"]["ready"], answer.json()["target_ready"]) == (0, 1)
    assert Pool.objects.get().wanted(timezone.now())
    make_sandbox(State.READY)
    full = act(program, "prime")
    assert (full.status_code, "Retry-After" in full) == (200, False)


def test_an_act_that_can_not_be_done_is_refused_and_leaves_no_line(pool: Pool, robot: tuple[ApiKey, Client]):
    _, program = robot
    assert act(program, "resume").json()["detail"] == "Pool python is active already."
    Pool.objects.update(mode=Mode.PAUSED)
    refused = act(program, "prime")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert log() == []


def test_an_act_takes_a_reason(pool: Pool, robot: tuple[ApiKey, Client]):
    for answer in (
        act(robot[1], "pause", reason=" "),
        robot[1].post(f"{PYTHON}/pause", content_type="application/json"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "reason_needed")
    assert Pool.objects.get().mode == Mode.ACTIVE


def test_there_are_no_other_acts_and_no_other_pools(pool: Pool, robot: tuple[ApiKey, Client]):
    _, program = robot
    assert act(program, "explode").status_code == 422
    for answer in (
        program.get("/api/pools/node"),
        program.post("/api/pools/node/pause", {"reason": WHY}, content_type="application/json"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "no_such_pool")


def test_who_may_only_read_changes_nothing(pool: Pool):
    _, reader = key_with("read")
    viewer = person("view_fleet")
    for client, code in ((reader, "scope_missing"), (viewer, "operators_only"), (Client(), "sign_in")):
        assert change(client, target_ready=0).json()["code"] == code
        assert act(client, "pause").json()["code"] == code
    assert (Pool.objects.get().mode, Pool.objects.get().target_ready) == (Mode.ACTIVE, 1)
    assert Client().get(PYTHON).json()["code"] == "sign_in"
    assert viewer.get(PYTHON).status_code == 200
