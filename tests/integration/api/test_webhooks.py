"""Webhooks over HTTP: who may have which, what is shown when, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from pools.models import FleetEvent
from pools.reasons import LogKind
from pools.webhooks import Delivery, DeliveryState, Webhook
from runs.webhooks import outbox, signing, subscriptions
from tests.integration.api.conftest import person
from tests.integration.api.test_keys import key_with

pytestmark = pytest.mark.django_db(transaction=True)

URL = "http://127.0.0.1:9/hooks?token=7"


@pytest.fixture(autouse=True)
def inside(settings: Any) -> None:
    """So that no name is looked up."""
    settings.WEBHOOKS_MAY_GO_INSIDE = True


def make(client: Client, **fields: Any) -> Any:
    return client.post("/api/webhooks", {"url": URL} | fields, content_type="application/json")


def made(client: Client, **fields: Any) -> dict[str, Any]:
    answer = make(client, **fields)
    assert answer.status_code == 201, answer.content
    return answer.json()


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_a_key_makes_a_webhook_about_its_own_runs_and_sees_the_secret_once():
    _, robot = key_with("launch")
    webhook = made(robot, types=["run.ended", "run.failed"], description="mine")
    assert webhook["secret"].startswith(signing.BEGINNING)
    assert (webhook["scope"], webhook["types"], webhook["is_enabled"]) == ("own", ["run.ended", "run.failed"], True)
    again = robot.get(f"/api/webhooks/{webhook['id']}").json()
    assert again == {name: value for name, value in webhook.items() if name != "secret"}
    assert robot.get("/api/webhooks").json() == {"webhooks": [again]}
    assert webhook["secret"].encode() not in robot.get("/api/webhooks").content


@pytest.mark.parametrize("scope", ["read", "operate"])
def test_keys_without_launch_have_none(scope: str):
    _, robot = key_with(scope)
    for answer in (make(robot), robot.get("/api/webhooks")):
        assert code_of(answer) == (403, "scope_missing")


def test_nobody_has_one_without_a_key_or_the_right_to_it():
    for client, expected in ((Client(), 401), (person("view_fleet", "operate_fleet"), 403)):
        assert [make(client).status_code, client.get("/api/webhooks").status_code] == [expected] * 2


def test_about_everything_they_are_for_administrators():
    _, robot = key_with("launch")
    assert code_of(make(robot, scope="all")) == (403, "scope_missing")
    _, admin = key_with("admin")
    assert made(admin, scope="all")["scope"] == "all"
    operator = person("view_fleet", "destroy_fleet")
    assert made(operator, scope="all")["created_by"] == "ada"
    assert make(operator, scope="own").json()["field"] == "scope"


def test_each_sees_and_changes_their_own_and_administrators_all():
    (_, first), (_, second), (_, admin) = key_with("launch"), key_with("launch"), key_with("admin")
    mine = made(first)
    address = f"/api/webhooks/{mine['id']}"
    assert second.get("/api/webhooks").json()["webhooks"] == []
    asked = [
        second.get(address),
        second.patch(address, {"description": "x"}, content_type="application/json"),
        second.delete(address),
        *(second.post(f"{address}/{act}") for act in ("test", "rotate", "deliveries/msg_1/redeliver")),
        second.get(f"{address}/deliveries"),
    ]
    assert [code_of(answer) for answer in asked] == [(404, "no_such_webhook")] * 7
    assert [each["id"] for each in admin.get("/api/webhooks").json()["webhooks"]] == [mine["id"]]
    assert admin.get(address).status_code == 200


def test_one_has_ten_at_the_most():
    (_, robot), (_, other) = key_with("launch"), key_with("launch")
    for _ in range(subscriptions.MOST):
        made(robot)
    assert code_of(make(robot)) == (409, "too_many_webhooks")
    assert make(other).status_code == 201


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"url": "ftp://example.com/"}, "url"),
        ({"url": "http://ada:x@example.com/"}, "url"),
        ({"url": "x" * 501}, "url"),
        ({"types": ["run.started"]}, "types"),
        ({"types": [""]}, "types"),
        ({"description": "x" * 201}, "description"),
        ({"secret": "mine"}, "secret"),
        ({"scope": "theirs"}, "scope"),
    ],
)
def test_what_is_not_as_it_must_be_is_named(fields: dict[str, Any], field: str):
    _, robot = key_with("launch")
    answer = make(robot, **fields)
    assert answer.status_code == 422
    assert field in answer.json()["field"]
    assert not Webhook.objects.exists()


def test_an_address_on_the_inside_is_refused_when_it_is_set(settings: Any):
    settings.WEBHOOKS_MAY_GO_INSIDE = False
    _, robot = key_with("launch")
    assert code_of(make(robot)) == (422, "bad_target")
    webhook = Webhook.objects.create(
        url="https://example.com/", owner=key_with("launch")[0].client, secret="x", seq=0,
        created_at="2026-01-01T00:00:00Z", created_by="x",
    )  # fmt: skip
    _, admin = key_with("admin")
    changed = admin.patch(f"/api/webhooks/{webhook.pk}", {"url": URL}, content_type="application/json")
    assert code_of(changed) == (422, "bad_target")


def test_what_is_changed_is_changed_and_the_rest_stays():
    _, robot = key_with("launch")
    webhook = made(robot, types=["run"])
    address = f"/api/webhooks/{webhook['id']}"
    changes = {"url": "http://127.0.0.1:9/new", "types": []}
    changed = robot.patch(address, changes, content_type="application/json").json()
    expected = {name: value for name, value in webhook.items() if name != "secret"} | changes
    assert changed == expected
    off = robot.patch(address, {"is_enabled": False}, content_type="application/json").json()
    assert (off["is_enabled"], off["disabled_code"]) == (False, "switched_off")
    assert code_of(robot.post(f"{address}/test")) == (409, "webhook_disabled")
    on = robot.patch(address, {"is_enabled": True}, content_type="application/json").json()
    assert (on["is_enabled"], on["disabled_code"]) == (True, "")


def test_a_new_secret_takes_the_place_of_the_old_one():
    _, robot = key_with("launch")
    webhook = made(robot)
    secret = robot.post(f"/api/webhooks/{webhook['id']}/rotate").json()["secret"]
    assert secret != webhook["secret"]
    assert Webhook.objects.get().secret == secret


def test_one_that_is_deleted_is_gone_with_its_deliveries():
    _, robot = key_with("launch")
    address = f"/api/webhooks/{made(robot)['id']}"
    robot.post(f"{address}/test")
    assert robot.delete(address).status_code == 204
    assert robot.get(address).status_code == 404
    assert not Delivery.objects.exists()


def test_a_test_is_sent_and_its_delivery_listed_and_sent_once_more():
    _, robot = key_with("launch")
    address = f"/api/webhooks/{made(robot)['id']}"
    tests = [robot.post(f"{address}/test") for _ in range(3)]
    assert [each.status_code for each in tests] == [202] * 3
    ids = [each.json()["id"] for each in tests][::-1]
    first = robot.get(f"{address}/deliveries?limit=2").json()
    rest = robot.get(f"{address}/deliveries?limit=2&before={first['next']}").json()
    assert [each["id"] for each in first["deliveries"] + rest["deliveries"]] == ids
    assert rest["next"] is None
    assert first["deliveries"][0]["payload"]["type"] == "webhook.test"
    Delivery.objects.update(state=DeliveryState.GIVEN_UP, attempts=11)
    again = robot.post(f"{address}/deliveries/{ids[0]}/redeliver").json()
    assert (again["id"], again["state"], again["attempts"]) == (ids[0], "pending", 0)
    assert [each["id"] for each in robot.get(f"{address}/deliveries?state=pending").json()["deliveries"]] == [ids[0]]
    assert code_of(robot.post(f"{address}/deliveries/msg_none/redeliver")) == (404, "no_such_delivery")


def test_each_change_is_a_line_that_says_who_and_tells_no_address():
    key, robot = key_with("launch")
    address = f"/api/webhooks/{made(robot)['id']}"
    robot.patch(address, {"description": "x"}, content_type="application/json")
    robot.post(f"{address}/rotate")
    robot.delete(address)
    told = list(FleetEvent.objects.filter(kind=LogKind.WEBHOOK).order_by("seq"))
    assert [line.code for line in told] == ["made", "changed", "rotated", "deleted"]
    assert {line.actor for line in told} == {key.actor}
    assert not [line for line in told if "127.0.0.1" in f"{line.message}{line.data}"]


def test_only_a_few_tests_wait_to_be_sent():
    _, robot = key_with("launch")
    address = f"/api/webhooks/{made(robot)['id']}/test"
    assert [robot.post(address).status_code for _ in range(outbox.MOST_TESTS)] == [202] * outbox.MOST_TESTS
    assert code_of(robot.post(address)) == (429, "too_many_tests")
    Delivery.objects.update(state=DeliveryState.DELIVERED)
    assert robot.post(address).status_code == 202
