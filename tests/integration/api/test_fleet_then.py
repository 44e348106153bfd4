"""`GET /api/fleet?at=`: the fleet as it was, for programs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from pools import api_keys
from pools.history_rows import Finding
from pools.models import Pool, Sandbox

MINUTE = timedelta(minutes=1)


@pytest.fixture
def key(db: None) -> dict[str, Any]:
    return {"HTTP_X_API_KEY": api_keys.make("robot", ["read"], by="test", now=timezone.now())[1]}


@pytest.fixture
def pool(db: None) -> Pool:
    return Pool.objects.create(name="python", runtime="python", image="a/b:c", region="syd", size="apps-s-1vcpu-1gb")


def lived(pool: Pool, at: Any, count: int) -> None:
    Sandbox.objects.bulk_create(
        Sandbox(
            name=f"sandbox-{number:08x}", pool=pool, runtime="python", image="a/b:c", region="syd", size=pool.size,
            origin="pool", create_code="demand", create_reason="a test wants it", state="deleted", end_code="idle",
            end_reason="idle", requested_at=at - 9 * MINUTE, create_sent_at=at - 9 * MINUTE,
            accepted_at=at - 8 * MINUTE,
            ready_at=at - MINUTE, delete_requested_at=at + MINUTE, deleted_at=at + 2 * MINUTE,
        )
        for number in range(count)
    )  # fmt: skip


def test_a_moment_is_told_with_its_sandboxes_page_by_page(client, key, pool):
    at = timezone.now() - timedelta(days=3)
    lived(pool, at, 3)
    Finding.objects.create(
        code="unwell", name="sandbox-00000001", since=at - MINUTE, until=at + MINUTE, detail="silent"
    )
    asked = {"at": at.isoformat(), "limit": 2}
    first = client.get("/api/fleet", asked, **key).json()
    assert (first["pools"][0]["counts"]["ready"], first["pools"][0]["mode"], first["total"]) == (3, "active", 3)
    second = client.get("/api/fleet", asked | {"cursor": first["next_cursor"]}, **key).json()
    rows = {row["name"]: row for row in first["sandboxes"] + second["sandboxes"]}
    assert (len(rows), second["has_more"]) == (3, False)
    assert (rows["sandbox-00000001"]["verdict"], rows["sandbox-00000001"]["state"]) == ("drifting", "ready")
    assert rows["sandbox-00000000"]["verdict"] == "in step"
    assert [each["code"] for each in first["findings"]] == ["unwell"]


def test_without_a_moment_it_is_now_and_one_that_is_not_kept_is_the_nearest(client, key, pool):
    lived(pool, timezone.now() - timedelta(days=3), 1)
    now = client.get("/api/fleet", **key).json()
    assert now["sandboxes"] == []
    old = client.get("/api/fleet", {"at": "2020-01-01T00:00:00Z"}, **key).json()
    assert old["at"] == old["kept_from"]


@pytest.mark.parametrize("at", ["yesterday", "2026-11-27T02:00", "0001-01-01T00:00:00+14:00"])
def test_a_moment_has_a_zone(at, client, key):
    assert client.get("/api/fleet", {"at": at}, **key).status_code == 422


def test_it_takes_a_key_that_may_read(client, db):
    assert client.get("/api/fleet").status_code == 401
    launches = api_keys.make("robot", ["launch"], by="test", now=timezone.now())[1]
    assert client.get("/api/fleet", HTTP_X_API_KEY=launches).status_code == 403
