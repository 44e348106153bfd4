"""A fleet whose every sentence is reworded lives as before: what it does rests on codes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from pools import claims, journal
from pools.console.fleet_page import picture
from pools.console.fleet_table import Verdict
from pools.models import FleetEvent, Pool, Sandbox
from pools.reasons import CreateCode, EndCode, LogKind
from pools.turn.observe import pool_facts

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def reworded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every reason and every line of the log says the same few words."""
    retire, record = claims.retire, journal.record
    monkeypatch.setattr(
        claims, "retire", lambda sandbox, code, _, *args, **kw: retire(sandbox, code, "so", *args, **kw)
    )
    monkeypatch.setattr(journal, "record", lambda kind, _, **fields: record(kind, "so it is", **fields))


@pytest.mark.usefixtures("reworded")
def test_a_pool_warms_shrinks_one_by_one_and_keeps_its_delay(paper_fleet, pool):
    Pool.objects.update(target_ready=3, max_ready=3, max_concurrent_creates=3, scale_down_delay_seconds=30)
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    assert paper_fleet.states() == ["ready"] * 3
    assert set(Sandbox.objects.values_list("create_code", flat=True)) == {CreateCode.DEMAND}
    Pool.objects.update(last_acquired_at=timezone.now() - timedelta(seconds=9_000))
    paper_fleet.turns(3, seconds_apart=1)
    assert Sandbox.objects.filter(end_code=EndCode.IDLE).count() == 1
    pool.refresh_from_db()
    assert pool_facts(pool, timezone.now()).last_shrunk_at is not None


@pytest.mark.usefixtures("reworded")
def test_a_sandbox_that_vanished_is_shown_as_lost(paper_fleet, pool):
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    (app,) = paper_fleet.cloud.apps()
    paper_fleet.cloud.control.delete_app(app["id"])
    paper_fleet.turns(20, seconds_apart=6)
    assert Sandbox.objects.filter(end_code=EndCode.LOST).count() == 1
    assert Verdict.LOST in {row.verdict for row in picture(timezone.now()).rows}


@pytest.mark.usefixtures("reworded")
def test_a_reason_for_not_acting_is_logged_once(paper_fleet, pool):
    Pool.objects.update(mode="paused")
    paper_fleet.turns(5)
    assert FleetEvent.objects.filter(kind=LogKind.HOLD, code="paused").count() == 1
