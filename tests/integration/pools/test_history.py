"""The fleet's past is told as it was when it was the present, for a month, at a bounded cost."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pools import claims, history, incidents, journal, minutes, retention
from pools.alarm_rows import AlarmCode, RaisedAlarm
from pools.console import operations
from pools.history_rows import Finding, FleetMinute
from pools.models import EXISTING, Fleet, Mode, Pool, PoolMinute, Sandbox, State
from pools.reasons import EndCode, LogKind, StepCode
from pools.turn import findings
from tests.fixtures.fleet import FleetUnderTest

MINUTE = timedelta(minutes=1)
WHY = {"actor": "otto", "reason": "the fair opens"}


def present() -> dict[str, str]:
    """Each sandbox that exists, and its state."""
    return dict(Sandbox.objects.filter(state__in=EXISTING).values_list("name", "state"))


def past(at: datetime) -> dict[str, str]:
    return {sandbox.name: sandbox.state_then for sandbox in history.existing_at(at)}


def test_every_moment_of_a_busy_day_is_told_as_it_was(paper_fleet: FleetUnderTest, pool: Pool):
    fleet, dice = paper_fleet, random.Random(17)
    Pool.objects.update(target_ready=3, max_ready=4, max_concurrent_creates=2, idle_timeout_seconds=300)
    seen: dict[datetime, dict[str, str]] = {}
    for _ in range(60):
        if dice.random() < 0.3:
            fleet.acquire(pool, minutes=dice.choice([1, 5]))
        if dice.random() < 0.1 and (victim := Sandbox.objects.filter(state=State.READY).first()):
            claims.retire(victim.pk, EndCode.RETIRED, "a test", timezone.now())
        fleet.turn()
        fleet.clock.advance(0.01)
        seen[timezone.now()] = present()
        fleet.clock.advance(dice.choice([1, 20, 90]))
    assert {state for states in seen.values() for state in states.values()} >= {"ready", "in_use", "deleting"}
    for at, as_it_was in seen.items():
        assert past(at) == as_it_was, at


def make(pool: Pool | None, requested_at: datetime, **fields: Any) -> Sandbox:
    number = Sandbox.objects.count()
    defaults: dict[str, Any] = {
        "name": f"sandbox-{number:08x}", "pool": pool, "runtime": "python", "image": "a/b:c", "region": "syd",
        "size": "apps-s-1vcpu-1gb", "origin": "pool" if pool else "cold", "create_code": "demand",
        "create_reason": "a test wants it", "requested_at": requested_at,
    }  # fmt: skip
    return Sandbox.objects.create(**defaults | fields)


def gone(pool: Pool | None, requested_at: datetime, deleted_at: datetime, **fields: Any) -> Sandbox:
    ended = {"state": "deleted", "end_code": "idle", "end_reason": "idle", "delete_requested_at": deleted_at - MINUTE}
    return make(pool, requested_at, deleted_at=deleted_at, **ended | fields)


def test_counts_and_cost_are_of_that_moment(pool: Pool):
    now = timezone.now()
    at = now - timedelta(days=9)
    gone(pool, at - 9 * MINUTE, at + MINUTE * 5, accepted_at=at - 8 * MINUTE, ready_at=at - MINUTE)
    gone(None, at - MINUTE, at + MINUTE * 5)
    gone(pool, at - 9 * MINUTE, at, accepted_at=at - 8 * MINUTE)
    make(pool, at + MINUTE)
    then = history.fleet_then(at, now)
    assert [(each.name, each.total) for each in then.pools] == [("python", 1), ("", 1)]
    assert then.pools[0].counts[State.READY] == 1
    assert float(then.usd_per_hour) == pytest.approx(12 / 672)


def test_pools_and_maintenance_are_told_as_they_were_set(pool: Pool):
    Fleet.get()
    moments = []
    for number, mode in enumerate((Mode.PAUSED, Mode.ACTIVE, Mode.DRAINING)):
        moments.append((timezone.now(), Pool.objects.get().mode, Pool.objects.get().target_ready))
        operations.set_mode(pool, mode, **WHY)
        pool.refresh_from_db()
        pool.target_ready, was = number % 2, pool.target_ready
        operations.edit_pool(pool, {"target_ready": (was, pool.target_ready)}, **WHY)
    before = timezone.now()
    operations.set_maintenance(on=True, message="Back at noon.", **WHY)
    for at, mode, target in moments:
        told = history.fleet_then(at, timezone.now())
        assert (told.pools[0].settings["mode"], told.pools[0].settings["target_ready"]) == (mode, target)
        assert not told.maintenance
    assert not history.fleet_then(before, timezone.now()).maintenance
    assert history.fleet_then(timezone.now(), timezone.now()).maintenance_message == "Back at noon."


def test_an_alarm_stood_from_its_beginning_to_its_end(pool: Pool):
    now = timezone.now()
    lasted = {"data": {"lasted_seconds": 600}, "code": AlarmCode.LISTING_FAILS}
    journal.record(LogKind.ALL_CLEAR, "all clear", now=now - timedelta(hours=1), **lasted)
    RaisedAlarm.objects.create(subject="x", code=AlarmCode.TOKEN_REFUSED, raised_at=now - 5 * MINUTE)

    def stood(minutes_ago: int) -> list[str]:
        return [alarm.code for alarm in history.fleet_then(now - minutes_ago * MINUTE, now).alarms]

    assert [stood(ago) for ago in (71, 65, 59, 4)] == [[], ["listing_fails"], [], ["token_refused"]]


def test_stops_restarts_and_what_operators_set_are_marks_but_not_the_autopilots_steps(pool: Pool):
    now = timezone.now()
    journal.record(LogKind.STOP, "STOPPED: too many", now=now)
    journal.record(LogKind.TROUBLE, "restarted", code=StepCode.PROCESS_RESTARTED, now=now)
    journal.record(LogKind.POOL, "pool python paused", pool=pool, actor="otto", now=now)
    journal.record(LogKind.POOL, "target 4, was 1", pool=pool, now=now)
    journal.record(LogKind.TROUBLE, "no answer", now=now)
    found = incidents.moments(now - MINUTE, now + MINUTE)
    assert sorted(each.sentence for each in found) == ["STOPPED: too many", "pool python paused", "restarted"]


def test_what_was_found_is_kept_from_its_beginning_to_its_end(paper_fleet: FleetUnderTest, pool: Pool):
    fleet = paper_fleet
    fleet.acquire(pool)
    fleet.settle()
    assert Finding.objects.count() == 0
    sandbox = Sandbox.objects.filter(state=State.IN_USE).first() or Sandbox.objects.first()
    assert sandbox is not None
    Sandbox.objects.filter(pk=sandbox.pk).update(health_failures=1, unwell_since=timezone.now(), trouble="no answer")
    findings.note(_facts(), timezone.now())
    fleet.clock.advance(60)
    during = timezone.now()
    Sandbox.objects.filter(pk=sandbox.pk).update(health_failures=0, unwell_since=None, trouble="")
    findings.note(_facts(), timezone.now())
    fleet.clock.advance(60)
    now = timezone.now()
    assert [(each.name, each.code) for each in history.fleet_then(during, now).findings] == [(sandbox.name, "unwell")]
    assert history.fleet_then(now, now).findings == []


def _facts() -> Any:
    from pools.turn.preview import explain

    return explain(timezone.now()).facts


def test_orphans_and_foreign_apps_are_told_of_the_past(paper_fleet: FleetUnderTest, pool: Pool, settings: Any):
    fleet = paper_fleet
    orphan = fleet.cloud.control.make_app("sandbox-0badcafe", owner=settings.ORCHESTRATOR_ID)["id"]
    fleet.cloud.control.make_app("shop")
    fleet.turns(2)
    during = timezone.now()
    fleet.clock.advance(3)
    fleet.cloud.control.delete_app(orphan)
    fleet.turns(3)
    now = timezone.now()
    told = {each.name: each.code for each in history.fleet_then(during, now).findings}
    assert told == {"sandbox-0badcafe": "orphan", "shop": "foreign"}
    assert [each.name for each in history.fleet_then(now, now).findings] == ["shop"]


def test_a_listing_that_failed_ends_no_finding_that_only_listings_tell(paper_fleet: FleetUnderTest, pool: Pool):
    paper_fleet.cloud.control.make_app("shop")
    paper_fleet.turns(1)
    paper_fleet.cloud.fault(operation="list", status=500)
    paper_fleet.turns(2)
    assert list(Finding.objects.values_list("name", "until")) == [("shop", None)]


def test_the_past_takes_as_many_statements_and_rows_whatever_there_was_and_is(pool: Pool):
    now = timezone.now()
    at = now - timedelta(days=9)

    def cost() -> int:
        with CaptureQueriesContext(connection) as captured:
            history.fleet_then(at, now)
        return len(captured)

    Fleet.get()

    for minute in range(-20, 20):
        FleetMinute.objects.create(
            minute=at + minute * MINUTE, oldest_at=at - 10 * MINUTE, cold=0, deleting=0, orphans=0
        )
    few = cost()
    for day in range(1, 28):
        gone(pool, now - timedelta(days=day), now - timedelta(days=day) + 5 * MINUTE)
    for _ in range(20):
        gone(pool, at - MINUTE, at + MINUTE)
    assert cost() == few
    looked_at = Sandbox.objects.filter(requested_at__gte=at - 10 * MINUTE, requested_at__lte=at).count()
    plan = history.existing_at(at).order_by().explain()
    assert looked_at == 21
    assert "sandbox_newest" in plan or connection.vendor != "sqlite", plan


def test_marks_are_found_by_their_index(db: None):
    now = timezone.now()
    assert "event_mark" in incidents.marked(now - MINUTE, now).explain() or connection.vendor != "sqlite"


def test_a_minute_costs_one_row_and_one_a_pool_and_a_month_of_them_is_kept(pool: Pool):
    now = timezone.now().replace(second=30)
    for _ in range(3):
        minutes.note(now)
    assert (FleetMinute.objects.count(), PoolMinute.objects.count()) == (1, 1)
    minutes.note(now + MINUTE)
    Finding.objects.create(code="unwell", name="a", since=now, until=now)
    Finding.objects.create(code="unwell", name="b", since=now)
    list(retention.totals(now + timedelta(days=30)))
    assert (FleetMinute.objects.count(), PoolMinute.objects.count(), Finding.objects.count()) == (2, 2, 2)
    list(retention.totals(now + timedelta(days=31, seconds=1)))
    assert (FleetMinute.objects.count(), PoolMinute.objects.count()) == (1, 1)
    assert [each.name for each in Finding.objects.all()] == ["b"]


def test_one_can_look_back_no_further_than_is_kept(db: None):
    now = timezone.now()
    assert history.within_kept(now - timedelta(days=90), now) == history.kept_from(now)
    assert history.within_kept(now + MINUTE, now) == now
