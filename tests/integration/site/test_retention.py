"""What is too old goes a portion at a time, and what is still needed stays."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from games.models import Game
from orchestrator_site import retention
from pools import portions, spending
from pools.journal import record
from pools.models import FleetEvent, Lease, Origin, Sandbox, SpentHour, State
from runs import launch_hours
from runs import retention as runs_retention
from runs.models import Run, RunEvent, RunState
from runs.pages.statistics import hit_rate

pytestmark = pytest.mark.django_db
LONG_ENOUGH = 60.0


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch, settings) -> None:
    monkeypatch.setattr(portions, "ROWS", 10)
    monkeypatch.setattr(runs_retention, "RUNS_A_PORTION", 3)
    monkeypatch.setattr(retention, "BREATH_SECONDS", 0)
    settings.EVENTS_KEPT_DAYS, settings.RUNS_KEPT_DAYS, settings.SANDBOXES_KEPT_DAYS = 5, 20, 40


@pytest.fixture
def game() -> Game:
    return Game.objects.create(
        slug="snake", title="Snake", runtime="python", run_command="python server.py", snapshot_name="snake"
    )


def played(game: Game, ended_at: datetime, *, lines: int = 0, is_over: bool = True) -> Run:
    """A run that ended at a moment, in a sandbox that was deleted then; or one that goes on."""
    began = ended_at - timedelta(minutes=10)
    sandbox = Sandbox.objects.create(
        name=f"sandbox-{uuid4().hex[:8]}", runtime="python", image="a/b:c", region="syd", size="apps-s-1vcpu-1gb",
        origin=Origin.POOL, create_code="demand", create_reason="a test wants it", requested_at=began,
        accepted_at=began, ready_at=began, acquired_at=began,
        state=State.DELETED if is_over else State.IN_USE,
        **({"end_code": "run_over", "end_reason": "it is over", "deleted_at": ended_at} if is_over else {}),
    )  # fmt: skip
    run = Run.objects.create(
        game=game, sandbox=sandbox, mode="warm", served_by="pool", visitor="somebody", created_at=began,
        state=RunState.ENDED if is_over else RunState.RUNNING,
        **({"end_code": "time_up", "end_reason": "Its time was up.", "ended_at": ended_at} if is_over else {}),
    )  # fmt: skip
    RunEvent.objects.bulk_create(
        RunEvent(run=run, seq=seq, kind="log", message="a line", at=began) for seq in range(1, lines + 1)
    )
    return run


def test_lines_go_first_then_runs_then_sandboxes(game):
    now = timezone.now()
    for days in (41, 21, 6, 1):
        played(game, now - timedelta(days=days), lines=25)
    retention.clean_up(now, LONG_ENOUGH)
    assert sorted((now - run.ended_at).days for run in Run.objects.all()) == [1, 6]
    assert {(now - line.run.ended_at).days for line in RunEvent.objects.all()} == {1}
    assert RunEvent.objects.count() == 25
    assert sorted((now - sandbox.deleted_at).days for sandbox in Sandbox.objects.all()) == [1, 6, 21]


def test_a_run_that_goes_on_keeps_its_lines_and_holds_nothing_up(game):
    now = timezone.now()
    going_on = played(game, now - timedelta(days=30), lines=35, is_over=False)
    played(game, now - timedelta(days=15), lines=35)
    retention.clean_up(now, LONG_ENOUGH)
    assert set(RunEvent.objects.values_list("run", flat=True)) == {going_on.pk}
    assert RunEvent.objects.count() == 35


def test_a_sandbox_is_kept_as_long_as_its_run(game, settings):
    settings.RUNS_KEPT_DAYS = 90
    now = timezone.now()
    played(game, now - timedelta(days=50))
    retention.clean_up(now, LONG_ENOUGH)
    assert Sandbox.objects.count() == Run.objects.count() == 1


def test_each_statement_deletes_a_portion_at_most(game):
    now = timezone.now()
    for number in range(8):
        played(game, now - timedelta(days=50, minutes=number), lines=30)
    for _ in range(35):
        record("test", "long ago", now=now - timedelta(days=9))
    with CaptureQueriesContext(connection) as queries:
        retention.clean_up(now, LONG_ENOUGH)
    deletes = [query["sql"] for query in queries if query["sql"].startswith("DELETE")]
    assert len(deletes) > 30
    # The ids are counted: a statement that names rows in another way could delete any number.
    assert all(" IN (" in sql and sql.split(" IN (")[1].count(",") < 10 for sql in deletes)
    assert not RunEvent.objects.exists()
    assert not FleetEvent.objects.exists()
    assert not Run.objects.exists()
    assert not Sandbox.objects.exists()


def test_what_was_not_done_in_time_is_done_by_the_next(game):
    now = timezone.now()
    for _ in range(95):
        record("test", "long ago", now=now - timedelta(days=9))
    rounds = 0
    while retention.clean_up(now, 0.001):
        rounds += 1
        assert rounds < 200
    assert rounds > 3
    assert not FleetEvent.objects.exists()


def test_one_kind_of_row_with_a_long_past_does_not_keep_the_others_waiting(game):
    now = timezone.now()
    for _ in range(60):
        record("test", "long ago", now=now - timedelta(days=9))
    for number in range(3):
        Session.objects.create(session_key=f"{number}", session_data="", expire_date=now - timedelta(days=1))
    ticks = iter(range(1000))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(retention.clock, "monotonic", lambda: next(ticks))
        retention.clean_up(now, 5)
    assert not Session.objects.exists()
    assert FleetEvent.objects.exists()


def test_sessions_that_have_expired_go_and_others_stay():
    now = timezone.now()
    for days in (-1, 1):
        Session.objects.create(session_key=f"{days}", session_data="", expire_date=now + timedelta(days=days))
    retention.clean_up(now, LONG_ENOUGH)
    assert [session.session_key for session in Session.objects.all()] == ["1"]


def test_the_months_cost_and_the_weeks_launches_stay_what_they_were(game, settings):
    now = timezone.now()
    for hours in range(0, 24 * 40, 7):
        played(game, now - timedelta(hours=hours))
    week = now - timedelta(days=7)
    before = spending.spent_usd(now), hit_rate(week)
    assert before[1].total == 24
    retention.clean_up(now, LONG_ENOUGH)
    assert SpentHour.objects.exists()
    after = spending.spent_usd(now), hit_rate(week)
    assert after[0] == pytest.approx(before[0])
    assert after[1] == before[1]


def test_launches_count_the_same_from_totals(game):
    now = timezone.now()
    for hours in range(24 * 9):
        run = played(game, now - timedelta(hours=hours))
        if hours % 3 == 0:
            Run.objects.filter(pk=run.pk).update(served_by="cold_fallback")
        if hours % 5 == 0:
            Sandbox.objects.filter(pk=run.sandbox_id).update(ready_at=run.created_at + timedelta(seconds=3))
    since = now - timedelta(days=7)
    one_by_one = hit_rate(since)
    assert list(launch_hours.settle(now))
    assert hit_rate(since) == one_by_one
    played(game, now)
    assert hit_rate(since).total == one_by_one.total + 1


def test_a_lease_that_is_taken_while_the_others_are_cleaned_up_is_kept(monkeypatch: pytest.MonkeyPatch):
    """The lease of a turn that had just begun was deleted, and a second turn began beside it."""
    for name in ("old", "turn"):
        Lease.objects.create(name=name, holder=uuid4(), expires_at=timezone.now() - timedelta(days=2))
    delete = portions.delete

    def taken_meanwhile(rows: QuerySet[Lease]) -> int:
        Lease.objects.filter(name="turn").update(expires_at=timezone.now() + timedelta(minutes=1))
        return delete(rows)

    monkeypatch.setattr(portions, "delete", taken_meanwhile)
    retention.clean_up(timezone.now(), LONG_ENOUGH)
    assert list(Lease.objects.values_list("name", flat=True)) == ["turn"]
