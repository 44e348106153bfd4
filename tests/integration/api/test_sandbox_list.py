"""GET /api/sandboxes: every sandbox, for operators, page by page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import quote

import pytest
from django.test import Client
from django.utils import timezone

from pools.models import Pool, Sandbox, State
from tests.fixtures.web import new_run
from tests.integration.api.conftest import person

pytestmark = pytest.mark.django_db
MakeSandbox = Callable[..., Sandbox]


def names(client: Client, query: str = "") -> list[str]:
    answer = client.get(f"/api/sandboxes?{query}")
    assert answer.status_code == 200, answer.content
    return [sandbox["name"] for sandbox in answer.json()["sandboxes"]]


def test_an_operator_sees_each_with_its_run_and_what_it_cost(operator: Client, make_sandbox: MakeSandbox):
    sandbox = make_sandbox(State.IN_USE, accepted_at=timezone.now() - timedelta(hours=1))
    run = new_run(sandbox=sandbox, state="running")
    [told] = operator.get("/api/sandboxes").json()["sandboxes"]
    assert (told["name"], told["pool"], told["state"], told["run_id"]) == (
        sandbox.name,
        "python",
        "in_use",
        str(run.id),
    )
    assert told["cost_usd"] == pytest.approx(12 / 672, rel=1e-2)
    assert not [name for name in told if "token" in name]


def test_one_that_is_cold_has_no_pool_and_one_that_is_idle_no_run(operator: Client, make_sandbox: MakeSandbox):
    make_sandbox(State.CREATING, pool=None, origin="cold")
    [told] = operator.get("/api/sandboxes").json()["sandboxes"]
    assert (told["pool"], told["run_id"], told["cost_usd"]) == (None, None, 0)


def test_what_is_asked_for_is_what_comes(operator: Client, make_sandbox: MakeSandbox):
    ready, cold = make_sandbox(State.READY), make_sandbox(State.CREATING, pool=None, origin="cold")
    other = Pool.objects.create(name="node", runtime="node", image="a/b:c", region="syd", size="x")
    node = make_sandbox(State.READY, pool=other, runtime="node")
    assert set(names(operator)) == {ready.name, cold.name, node.name}
    assert set(names(operator, "state=ready")) == {ready.name, node.name}
    assert names(operator, "pool=node") == [node.name]
    assert names(operator, "pool=python&state=ready") == [ready.name]
    assert names(operator, "pool=nothing") == []


def test_pages_follow_each_other(operator: Client, make_sandbox: MakeSandbox):
    made = [make_sandbox(requested_at=timezone.now() - timedelta(seconds=n)) for n in range(5)]
    first = operator.get("/api/sandboxes?limit=3").json()
    assert (first["total"], first["has_more"]) == (5, True)
    second = operator.get(f"/api/sandboxes?limit=3&cursor={quote(first['next_cursor'])}").json()
    seen = [sandbox["name"] for page in (first, second) for sandbox in page["sandboxes"]]
    assert seen == [sandbox.name for sandbox in made]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("limit=0", "limit", "invalid"),
        ("state=happy", "state", "invalid"),
        ("pool=%00", "pool", "invalid"),
        ("cursor=x", "cursor", "bad_cursor"),
    ],
)
def test_what_is_not_understood_is_named(operator: Client, query: str, field: str, code: str):
    answer = operator.get(f"/api/sandboxes?{query}")
    assert answer.status_code == 422
    assert (answer.json()["field"], answer.json()["code"]) == (field, code)


def test_nobody_else_sees_them(client: Client):
    assert client.get("/api/sandboxes").json()["code"] == "sign_in"
    assert person("view_run").get("/api/sandboxes").json()["code"] == "operators_only"


def test_methods_are_told(operator: Client):
    assert operator.head("/api/sandboxes").status_code == 200
    assert operator.options("/api/sandboxes")["Allow"] == "GET, HEAD, OPTIONS"
