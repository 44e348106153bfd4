"""Cost per day by use, pool, game and key: the page, its chart, and the same as CSV."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from pools.models import Pool, Sandbox
from runs.models import UsageDay
from tests.integration.admin.conftest import MakeRun, queries, sign_in

COST = "/admin/runs/usageday/"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def settled(db: None) -> None:
    """What was used on the last three days."""
    today = timezone.now().date()
    counts = {"launches": 1, "hits": 1, "in_use_seconds": 60, "idle_seconds": 60, "unused": 0}
    for ago in (1, 2, 3):
        for client, game, pool in (("key:robot", "snake", "python"), ("anonymous", "chess", "node"), ("", "", "node")):
            usd = {"in_use_usd": 1.0 if client else 0.0, "idle_usd": 0.5}
            day = today - timedelta(days=ago)
            UsageDay.objects.create(day=day, client=client, game=game, pool=pool, **counts, **usd)


def rows(person: Any, **asked: str) -> list[dict[str, str]]:
    answer = person.get(f"{COST}export.csv", **asked)
    return list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))


@pytest.mark.parametrize(
    ("by", "costs"),
    [
        ("use", {"in use": 6.0, "idle": 4.5}),
        ("pool", {"python": 4.5, "node": 6.0}),
        ("game", {"snake": 4.5, "chess": 4.5, "no launch": 1.5}),
        ("key", {"key:robot": 4.5, "anonymous": 4.5, "no launch": 1.5}),
    ],
)
def test_each_way_to_tell_costs_apart_adds_up_to_the_same(by, costs, viewer, settled):
    page = viewer.get(COST, by=by, days="7")
    found = page.context["found"]
    assert dict(zip(found.names, page.context["sums"], strict=True)) == pytest.approx(costs)
    assert (found.total, found.highest, len(found.days)) == (pytest.approx(10.5), pytest.approx(3.5), 7)
    told: dict[str, float] = {}
    for row in rows(viewer, by=by, days="7"):
        told[row["name"]] = told.get(row["name"], 0.0) + float(row["usd"])
    assert told == pytest.approx(costs)


def test_what_is_there_costs_today(viewer, pool: Pool, make_run: MakeRun):
    at = timezone.now() - 10 * MINUTE
    sandbox = Sandbox.objects.create(
        name="sandbox-00000001", pool=pool, runtime="python", image="a/b:c", region="syd", size=pool.size,
        origin="pool", create_code="demand", create_reason="a test wants it", state="in_use", requested_at=at,
        accepted_at=at, ready_at=at, acquired_at=at + 5 * MINUTE, expires_at=at + 60 * MINUTE,
    )  # fmt: skip
    make_run(sandbox=sandbox)
    found = viewer.get(COST).context["found"]
    assert found.usd[timezone.now().date(), "in use"] == pytest.approx(
        found.usd[timezone.now().date(), "idle"], rel=0.2
    )


def test_the_dearest_names_have_a_column_and_the_rest_share_one(viewer, settled):
    day, counts = timezone.now().date() - timedelta(days=1), {"launches": 1, "hits": 1, "unused": 0}
    for number in range(20):
        usd = {"in_use_usd": 10.0 - number / 10, "idle_usd": 0.0, "in_use_seconds": 1, "idle_seconds": 1}
        UsageDay.objects.create(day=day, client=f"key:{number}", game="snake", pool="python", **counts, **usd)
    found = viewer.get(COST, by="key").context["found"]
    assert found.names == [*(f"key:{number}" for number in range(7)), "others"]
    assert len({row["name"] for row in rows(viewer, by="key")}) == 23


def test_the_page_takes_as_many_statements_however_much_there_was(viewer, settled):
    queries(viewer, COST, by="pool")  # the first look finds what is kept for the next ones
    few = queries(viewer, COST, by="pool")
    rows_now = UsageDay.objects.all()
    UsageDay.objects.bulk_create(
        UsageDay(
            **{name: getattr(row, name) for name in ("launches", "hits", "in_use_seconds", "idle_seconds", "unused")},
            day=row.day, client=f"key:{n}", game=row.game, pool=row.pool, in_use_usd=1, idle_usd=1,
        )
        for row in rows_now
        for n in range(50)
    )  # fmt: skip
    assert queries(viewer, COST, by="pool") == few


def test_costs_are_for_those_who_may_see_the_fleet(client, db):
    assert client.get(COST).status_code == 302
    assert sign_in("nora").get(COST).status_code == 403
    assert sign_in("nils").get(f"{COST}export.csv").status_code == 403
