"""GET /api/pool/plan: what the next turn would do, for operators."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from pools.models import CloudApp, Fleet, Pool, Sandbox

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client: Client) -> Client:
    """The session of somebody who may see the fleet, and nothing more."""
    user = User.objects.create_user("ada", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_fleet"))
    client.force_login(user)
    return client


def listed(**fields: Any) -> None:
    """As if the cloud had just been listed."""
    Fleet.get()
    Fleet.objects.update(listed_at=timezone.now(), **fields)


def seen_app(number: int, **fields: Any) -> CloudApp:
    now = timezone.now()
    defaults = {
        "app_id": f"app-{number}", "name": f"sandbox-0000{number:04x}", "owner": "local", "phase": "ACTIVE",
        "app_created_at": now, "first_seen_at": now,
    }  # fmt: skip
    return CloudApp.objects.create(**defaults | fields)


def plan(client: Client) -> dict[str, Any]:
    answer = client.get("/api/pool/plan")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_the_plan_says_what_would_be_created_and_why(operator: Client, pool: Pool) -> None:
    listed()
    Pool.objects.update(last_acquired_at=timezone.now(), last_acquired_by="run 3fa9")
    [decision] = plan(operator)["decisions"]
    assert (decision["kind"], decision["name"]) == ("create", "python")
    assert decision["reason"].startswith("create 1 for pool python: 0 ready + 0 creating < target 1, last acquired ")


def test_the_plan_says_why_nothing_would_be_done(operator: Client, pool: Pool) -> None:
    listed(listing_error="page 2 failed")
    told = plan(operator)
    assert told["listing_error"] == "page 2 failed"
    assert [decision["kind"] for decision in told["decisions"]] == ["hold"]
    assert "page 2 failed" in told["decisions"][0]["reason"]


def test_the_plan_shows_what_the_stop_holds_back(operator: Client, pool: Pool) -> None:
    listed()
    long_ago = timezone.now() - timezone.timedelta(hours=1)
    for number in range(8):
        seen_app(number, orphan_since=long_ago, orphan_listings=9)
    told = plan(operator)
    assert "8 of 8 would be deleted" in told["decisions"][0]["reason"]
    assert [decision["kind"] for decision in told["held_back"]] == ["delete_orphan"] * 8


def test_reading_the_plan_changes_nothing_and_asks_the_cloud_nothing(
    operator: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed()
    Pool.objects.update(last_acquired_at=timezone.now())
    monkeypatch.setattr("pools.cloud.app_platform.DigitalOcean.apps", lambda self: pytest.fail("the cloud was asked"))
    plan(operator)
    assert not Sandbox.objects.exists()


def test_a_visitor_is_asked_to_sign_in(client: Client) -> None:
    answer = client.get("/api/pool/plan")
    assert (answer.status_code, answer["Content-Type"]) == (401, "application/problem+json")
    assert "signed in" in answer.json()["detail"]


@pytest.mark.parametrize("is_staff", [True, False])
def test_who_may_not_see_the_fleet_is_refused(client: Client, is_staff: bool) -> None:
    """Neither staff without the right, nor the right without being staff."""
    user = User.objects.create_user("bob", is_staff=is_staff)
    if not is_staff:
        user.user_permissions.add(Permission.objects.get(codename="view_fleet"))
    client.force_login(user)
    answer = client.get("/api/pool/plan")
    assert (answer.status_code, answer["Content-Type"]) == (403, "application/problem+json")


def test_the_description_of_the_api_has_it(client: Client) -> None:
    operation = client.get("/api/openapi.json").json()["paths"]["/api/pool/plan"]["get"]
    assert {"200", "401", "403"} <= set(operation["responses"])
