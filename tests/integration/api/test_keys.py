"""API keys: what each opens, and that one that is not good any more opens nothing."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from django.test import Client
from django.utils import timezone

from games.models import Game
from pools import api_keys
from pools.api_keys import ApiKey, Scope
from pools.models import FleetEvent
from runs.models import Run
from runs.rights import token_of
from tests.fixtures.web import new_run

pytestmark = pytest.mark.django_db


def key_with(*scopes: str, **fields) -> tuple[ApiKey, Client]:
    """A key, and a program that sends it."""
    key, token = api_keys.make("robot", scopes, by="ada", now=timezone.now(), **fields)
    return key, Client(headers={"Authorization": f"Bearer {token}"})


def test_a_key_is_shown_once_and_never_kept():
    key, token = api_keys.make("robot", ["launch"], by="ada", now=timezone.now())
    kept = ApiKey.objects.filter(pk=key.pk).values().get()
    secret = token.split("_", 2)[2]
    assert not [name for name, value in kept.items() if secret in str(value)]
    assert token.startswith(f"key_{key.prefix}_")


def test_programs_send_it_in_either_header():
    _, token = api_keys.make("robot", ["read"], by="ada", now=timezone.now())
    for headers in ({"Authorization": f"Bearer {token}"}, {"X-API-Key": token}):
        assert Client(headers=headers).get("/api/sandboxes").status_code == 200


@pytest.mark.parametrize("path", ["/api/games", "/api/sandboxes", "/api/runs"])
@pytest.mark.parametrize("code", ["key_unknown", "key_expired", "key_revoked"])
def test_one_that_is_not_good_opens_nothing_not_even_what_is_open_to_all(path: str, code: str):
    now = timezone.now()
    key, token = api_keys.make("robot", ["admin"], by="ada", now=now)
    if code == "key_expired":
        ApiKey.objects.filter(pk=key.pk).update(expires_at=now - timedelta(seconds=1))
    elif code == "key_revoked":
        assert api_keys.revoke(key, by="ada", now=now)
    else:
        token += "x"
    answer = Client(headers={"Authorization": f"Bearer {token}"}).get(path)
    assert (answer.status_code, answer.json()["code"]) == (401, code)


@pytest.mark.parametrize(("scope", "may_read"), [("launch", False), ("read", True), ("operate", True), ("admin", True)])
def test_the_fleet_is_for_those_who_may_read(scope: str, may_read: bool):
    _, robot = key_with(scope)
    answer = robot.get("/api/sandboxes")
    assert answer.status_code == (200 if may_read else 403)
    assert may_read or answer.json()["code"] == "scope_missing"


def test_a_key_that_only_launches_lists_its_own_runs():
    key, robot = key_with("launch")
    mine, _ = new_run(visitor=key.client), new_run()
    assert [UUID(run["run_id"]) for run in robot.get("/api/runs").json()["runs"]] == [mine.pk]


def test_a_key_ends_its_own_run_and_is_named():
    key, robot = key_with("launch")
    run = new_run(visitor=key.client)
    assert robot.delete(f"/api/sandbox/{run.pk}").status_code == 200
    assert Run.objects.get(pk=run.pk).is_over
    assert FleetEvent.objects.filter(run_id=run.pk, actor=key.actor).exists()


def test_a_key_without_more_rights_does_not_end_anothers():
    _, robot = key_with("launch", "read")
    run = new_run()
    answer = robot.delete(f"/api/sandbox/{run.pk}")
    assert (answer.status_code, answer.json()["code"]) == (403, "not_yours")


def test_one_that_operates_does_and_has_to_say_why():
    key, robot = key_with("operate")
    run = new_run()
    assert robot.delete(f"/api/sandbox/{run.pk}").json()["code"] == "reason_needed"
    assert robot.delete(f"/api/sandbox/{run.pk}?reason=stuck").status_code == 200
    assert FleetEvent.objects.filter(run_id=run.pk, actor=key.actor).exists()


def test_it_is_taken_beside_what_a_proxy_puts_before_it():
    key, token = api_keys.make("robot", ["read"], by="ada", now=timezone.now())
    both = Client(headers={"Authorization": "Bearer of-the-proxy", "X-API-Key": token})
    assert both.get("/api/sandboxes").status_code == 200
    api_keys.revoke(key, by="ada", now=timezone.now())
    assert both.get("/api/games").json()["code"] == "key_revoked"


def test_two_keys_are_none():
    tokens = [api_keys.make("robot", ["read"], by="ada", now=timezone.now())[1] for _ in range(2)]
    answer = Client(headers={"Authorization": f"Bearer {tokens[0]}", "X-API-Key": tokens[1]}).get("/api/games")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_a_runs_token_goes_along_with_a_key():
    _, key = api_keys.make("robot", ["launch"], by="ada", now=timezone.now())
    run = new_run()
    both = Client(headers={"Authorization": f"Bearer {token_of(run.pk)}", "X-API-Key": key})
    assert both.delete(f"/api/sandbox/{run.pk}").status_code == 200


def test_its_last_use_is_noted_once_a_minute():
    key, token = api_keys.make("robot", [Scope.READ], by="ada", now=timezone.now())
    robot = Client(headers={"X-API-Key": token})
    robot.get("/api/games")
    first = ApiKey.objects.get(pk=key.pk).last_used_at
    robot.get("/api/games")
    assert first is not None
    assert ApiKey.objects.get(pk=key.pk).last_used_at == first
    ApiKey.objects.filter(pk=key.pk).update(last_used_at=first - timedelta(minutes=2))
    robot.get("/api/games")
    assert ApiKey.objects.get(pk=key.pk).last_used_at > first


def test_what_a_key_launches_is_the_keys(snake: Game):
    key, robot = key_with("launch")
    answer = robot.post("/api/launch/cold", {"game": "snake"}, content_type="application/json")
    assert answer.status_code == 201, answer.content
    assert Run.objects.get(pk=answer.json()["run_id"]).visitor == key.client


def test_a_page_of_another_site_does_nothing_with_it_either():
    _, robot = key_with("admin")
    run = new_run()
    answer = robot.post(f"/api/runs/{run.pk}/end", headers={"Origin": "https://evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_page")
