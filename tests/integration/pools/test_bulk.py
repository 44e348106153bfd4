"""Bulk work: five hundred deletions leave listings and launches their requests, and can be watched, paused, stopped."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from django.utils import timezone

from pools import bulk
from pools.bulk_rows import BulkState, BulkWork
from pools.cloud.api_transport import Wire
from pools.cloud.errors import RateLimited
from pools.console import bulk_acts
from pools.console.operations import Refused
from pools.models import CloudApp, Fleet, FleetEvent, Pool, Sandbox, State
from pools.reasons import EndCode
from tests.fixtures.fleet import FleetUnderTest

WHY = {"actor": "olga", "reason": "too many"}


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many requests of each kind were sent, and how many our own limit refused."""
    sent: Counter[str] = Counter()
    send = Wire.send

    def counted(wire: Wire, operation: str, *args: object, **options: object) -> object:
        try:
            answer = send(wire, operation, *args, **options)
        except RateLimited:
            sent[f"{operation} refused"] += 1
            raise
        sent[operation] += 1
        return answer

    monkeypatch.setattr(Wire, "send", counted)
    return sent


def begin(keys: list[str], what: str = "force delete") -> BulkWork:
    return bulk.begin(what, keys, EndCode.FORCE_DELETED, now=timezone.now(), **WHY)


def sentence(work: BulkWork) -> str:
    work.refresh_from_db()
    return bulk.progress(work, timezone.now()).sentence


@pytest.fixture
def many(paper_fleet: FleetUnderTest, settings) -> list[str]:
    """Five hundred apps of ours that no sandbox is, listed; the keys of their rows. The budget is the usual one."""
    settings.MAX_TOTAL_SANDBOXES, settings.CLOUD_REQUESTS_PER_MINUTE = 1_000, 250
    settings.ORPHAN_GRACE_SECONDS = 100_000
    ids = paper_fleet.cloud.control.make_apps(500, owner=settings.ORCHESTRATOR_ID)
    paper_fleet.turn()
    assert CloudApp.objects.count() == 500
    return [f"app:{each}" for each in ids]


def test_five_hundred_deletions_keep_no_listing_and_no_create_waiting(
    paper_fleet: FleetUnderTest, pool: Pool, many: list[str], requests: Counter[str]
):
    Pool.objects.update(target_ready=3, max_ready=3, max_concurrent_creates=3)
    work = begin(many)
    paper_fleet.acquire(pool)
    requests.clear()
    for _ in range(6):
        paper_fleet.turn()
        assert Fleet.get().listing_error == ""
    assert requests["delete"] >= 100
    assert requests["list"] >= 18
    assert {name for name in requests if "refused" in name} == set()
    assert Sandbox.objects.filter(state=State.READY).count() == 3, "what players launch into is made meanwhile"
    work.refresh_from_db()
    assert len(work.begun) + len(work.waiting) == 500
    paper_fleet.clock.advance(61)
    before = requests["delete"]
    paper_fleet.turn()
    assert requests["delete"] > before


def test_it_is_paused_goes_on_is_stopped_and_done(paper_fleet: FleetUnderTest, settings):
    settings.ORPHAN_GRACE_SECONDS = 100_000
    ids = paper_fleet.cloud.control.make_apps(130, owner=settings.ORCHESTRATOR_ID)
    paper_fleet.turn()
    keys = [f"app:{each}" for each in ids]
    work = begin(keys[:100])
    paper_fleet.turn()
    bulk_acts.move(work, BulkState.PAUSED, **WHY)
    paper_fleet.turns(5)
    assert sentence(work) == "40 of 100 gone, 60 wait while it is paused"
    with pytest.raises(Refused, match="paused already"):
        bulk_acts.move(work, BulkState.PAUSED, **WHY)
    bulk_acts.move(work, BulkState.RUNNING, **WHY)
    paper_fleet.turn()
    bulk_acts.move(work, BulkState.STOPPED, **WHY)
    paper_fleet.turns(5)
    assert sentence(work) == "80 of 100 gone, 20 left alone"
    assert len(paper_fleet.cloud.control.apps()) == 50
    with pytest.raises(Refused, match="stopped already"):
        bulk_acts.move(work, BulkState.RUNNING, **WHY)
    last = begin(keys[100:], "sweep")
    paper_fleet.turns(5)
    assert sentence(last) == "30 of 30 gone"
    assert len(paper_fleet.cloud.control.apps()) == 20
    acts = FleetEvent.objects.filter(kind="bulk").order_by("seq").values_list("message", flat=True)
    assert [act.split(":")[0].split(";")[0] for act in acts] == [
        "force delete of 100 begins", "force delete of 100 is paused", "force delete of 100 goes on",
        "force delete of 100 is stopped", "sweep of 30 begins", "sweep of 30 is done",
    ]  # fmt: skip


def test_what_is_not_begun_serves_on(paper_fleet: FleetUnderTest, pool: Pool, monkeypatch: pytest.MonkeyPatch):
    Pool.objects.update(target_ready=3, max_ready=3, max_concurrent_creates=3)
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    monkeypatch.setattr(bulk, "BEGUN_A_TURN", 1)
    Pool.objects.update(mode="paused")
    work = begin([f"sandbox:{pk}" for pk in Sandbox.objects.values_list("pk", flat=True)], "sweep")
    paper_fleet.turn()
    assert sorted(paper_fleet.states()) == ["deleting", "ready", "ready"]
    bulk_acts.move(work, BulkState.STOPPED, **WHY)
    paper_fleet.turns(4)
    assert paper_fleet.states() == ["ready", "ready"]
    gone = Sandbox.objects.get(state=State.DELETED)
    assert (gone.end_code, gone.end_reason) == (EndCode.FORCE_DELETED, "sweep by an operator: too many")


def test_it_says_how_long_the_others_take(paper_fleet: FleetUnderTest):
    now = timezone.now()
    work = BulkWork.objects.create(
        what="sweep", code="swept", total=500, begun=[f"app:{n}" for n in range(212)], waiting=["app:x"] * 288,
        started_at=now - timedelta(seconds=133), **WHY,
    )  # fmt: skip
    assert bulk.progress(work, now).sentence == "212 of 500 gone, about 3 min left"
    assert str(work) == "sweep of 500"
