"""The warm launch that finds a ready sandbox: few statements, no lock that others hold, and the limits exact."""

from __future__ import annotations

import time
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import OperationalError, transaction
from django.utils import timezone

from games.models import Game
from pools.cloud.sandbox_agent import SandboxAgent
from pools.console.alarms import fleet_alarms
from pools.console.fleet_page import picture
from pools.models import Fleet, FleetEvent, Pool, Sandbox, State
from pools.reasons import StepCode
from runs import lifecycle, limits, upkeep
from runs.clients import Client
from runs.launching import handover, turnstile
from runs.launching.at_once import launch_at_once
from runs.launching.launch import Maintenance, UnknownGame, launch
from runs.limits import LimitReached
from runs.models import AskedMode, Run, RunState, Tally
from runs.reasons import RunEndCode
from runs.wanted import Wanted

pytestmark = pytest.mark.django_db(transaction=True)
OVER = {"mode": "cold", "state": "ended", "end_code": "time_up", "end_reason": "Over.", "visitor": "bob"}


@pytest.fixture
def warm(staged: Sandbox) -> Sandbox:
    """A staged sandbox, after the first launch of this database: it makes the tally."""
    Tally.objects.create(pk=1)
    return staged


def start(**options) -> Run:
    return launch(**{"game": "snake", "mode": "warm", "client": Client("ada"), "use_snapshot": True} | options)


def at_once(**options) -> Run | None:
    fields = {"client": Client("ada"), "key": None, "now": timezone.now()}
    return launch_at_once(uuid4(), Wanted("snake", AskedMode.WARM), **fields | options)


def test_it_is_played_and_told_as_any_other(warm, paper_fleet):
    run = start()
    run.refresh_from_db()
    assert (run.state, run.sandbox, run.number, run.last_seq) == (RunState.RUNNING, warm, 1, 3)
    assert [event.data.get("code", event.kind) for event in run.events.order_by("seq")] == [
        "acquiring", "pool_hit", "ready",
    ]  # fmt: skip
    lines = FleetEvent.objects.filter(run_id=run.pk) | FleetEvent.objects.filter(kind="acquire")
    newest = list(lines.order_by("-seq").values_list("kind", "seq")[:3])
    assert [kind for kind, _ in newest] == ["run", "launch", "acquire"]
    assert newest[0][1] - newest[2][1] == 2, "their numbers follow one another"
    pool = Pool.objects.get()
    assert (pool.last_acquired_by, pool.wanted(timezone.now())) == (f"run {run.short_id}", True)


def test_demand_that_was_noted_a_moment_ago_is_not_noted_again(warm):
    Pool.objects.update(last_acquired_at=timezone.now(), last_acquired_by="somebody")
    start()
    assert Pool.objects.get().last_acquired_by == "somebody"


def test_those_who_wait_are_not_overtaken(warm, game):
    Run.objects.create(
        game=game, mode="warm", served_by="pool", state="acquiring", visitor="bob", created_at=timezone.now()
    )
    assert at_once() is None
    assert start().state == RunState.ACQUIRING


def test_a_game_that_is_switched_off_is_not_played(warm):
    Game.objects.update(enabled=False)
    with pytest.raises(UnknownGame):
        start()


def test_nobody_launches_during_maintenance(warm):
    Fleet.objects.update(maintenance=True)
    with pytest.raises(Maintenance):
        start()


def test_nothing_is_taken_from_a_pool_that_drains(warm):
    Pool.objects.update(mode="draining")
    assert at_once() is None


def test_a_game_that_was_changed_since_it_was_staged_is_deployed(warm):
    Game.objects.update(source_digest="1" * 64)
    assert start().state == RunState.DEPLOYING


@pytest.mark.parametrize("trouble", [{"health_failures": 1}, {"health_checked_at": timezone.now() - timedelta(days=9)}])
def test_a_sandbox_that_is_not_known_to_be_well_comes_last(warm, trouble):
    Fleet.objects.update(started_at=timezone.now() - timedelta(days=1))
    Sandbox.objects.filter(pk=warm.pk).update(**trouble)
    assert at_once() is None


def test_a_run_that_was_ended_while_its_sandbox_was_asked_stays_ended(warm):
    run = at_once()
    lifecycle.end(run.pk, RunEndCode.ENDED_BY_PLAYER, "Ended by the player.", timezone.now())
    with pytest.raises(lifecycle.TooLate), transaction.atomic():
        lifecycle.play_staged(run, port=5000, start_ms=1, now=timezone.now())
    run.refresh_from_db()
    assert run.state == RunState.ENDED
    assert not run.events.filter(kind="ready").exists()


def test_nobody_waits_for_a_turn_while_a_sandbox_is_asked(warm, monkeypatch):
    """A sandbox may be far away, or dead: others are launched meanwhile."""
    fetch, free = SandboxAgent.fetch, []

    def slow_fetch(*args, **kwargs):
        with turnstile.launches.passed(), turnstile.launches.passed():
            free.append(True)
        return fetch(*args, **kwargs)

    monkeypatch.setattr(SandboxAgent, "fetch", slow_fetch)
    monkeypatch.setattr(turnstile.launches, "_patience_seconds", 60.0)
    began = time.monotonic()
    assert start().state == RunState.RUNNING
    assert free
    assert time.monotonic() - began < 30


def test_a_pool_that_can_not_be_told_costs_no_launch(warm, monkeypatch):
    """The run is played and on the disk by then: an error would cost the player a second sandbox."""

    def locked(**_):
        raise OperationalError("canceling statement due to lock timeout")

    monkeypatch.setattr(handover, "nudge", locked)
    assert start().state == RunState.RUNNING


def test_what_is_over_counts_no_longer(warm):
    run = start()
    assert (Tally.objects.get().warm, limits.drift()) == (1, "")
    lifecycle.end(run.pk, RunEndCode.ENDED_BY_PLAYER, "Ended by the player.", timezone.now())
    assert (Tally.objects.get().warm, limits.drift()) == (0, "")


@pytest.mark.parametrize("limit", ["MAX_CONCURRENT_WARM", "MAX_TOTAL_ACTIVE", "MAX_RUNS_PER_HOUR"])
def test_a_limit_that_was_reached_meanwhile_leaves_the_sandbox_in_its_pool(warm, game, settings, monkeypatch, limit):
    monkeypatch.setattr(limits, "have_room", lambda **_: True)  # as it was when the launch looked
    setattr(settings, limit, 1)
    Tally.objects.update(warm=int(limit != "MAX_RUNS_PER_HOUR"), launches=1)
    Run.objects.create(game=game, created_at=timezone.now(), number=1, **OVER)
    assert at_once() is None
    assert Sandbox.objects.get(pk=warm.pk).state == State.READY
    assert Run.objects.count() == 1


def test_the_hours_launches_are_those_of_the_last_sixty_minutes(warm, settings, game):
    now = timezone.now()
    Tally.objects.update(launches=7)
    for number, minutes in ((5, 61), (6, 59), (7, 1)):
        Run.objects.create(game=game, created_at=now - timedelta(minutes=minutes), number=number, **OVER)
    assert limits.mark_at(now) == 5
    settings.MAX_RUNS_PER_HOUR = 2
    assert at_once() is None
    settings.MAX_RUNS_PER_HOUR = 3
    assert at_once() is not None


def test_launches_from_before_they_were_numbered_are_counted_for_an_hour(warm, settings, game):
    """As after an upgrade."""
    now = timezone.now()
    for minutes in (300, 59, 1):
        Run.objects.create(game=game, created_at=now - timedelta(minutes=minutes), **OVER)
    settings.MAX_RUNS_PER_HOUR = 3
    start()
    with pytest.raises(LimitReached, match="All 3 launches of this hour"):
        start()
    assert Tally.objects.get().launches - limits.mark_at(now) == 3


def test_a_miscount_is_put_right_by_the_next_turn_and_is_an_alarm(warm, settings):
    settings.MAX_TOTAL_ACTIVE = 5
    Tally.objects.update(warm=5)
    upkeep.put_right(timezone.now())
    assert Tally.objects.get().warm == 0
    line = FleetEvent.objects.get(code=StepCode.MISCOUNTED)
    assert line.message == "5 warm and 0 cold launches were counted that are not over, and there are 0 and 0."
    assert any(alarm.title.startswith("Launches were miscounted") for alarm in fleet_alarms(picture(timezone.now())))
    upkeep.put_right(timezone.now())
    assert FleetEvent.objects.filter(code=StepCode.MISCOUNTED).count() == 1
    assert start().state == RunState.RUNNING
