"""Each change of a run is one line of the orchestrator log, from which programs hear of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from pools.models import FleetEvent, Pool, Sandbox, State
from runs import lifecycle, upkeep
from runs.clients import Client
from runs.event_types import type_of
from runs.launching.launch import launch
from runs.lifecycle import Attempt
from runs.models import DeployedFrom, Run, RunState
from runs.reasons import RunEndCode

pytestmark = pytest.mark.django_db(transaction=True)


def told(run: Run) -> list[str]:
    lines = FleetEvent.objects.filter(run_id=run.pk).order_by("seq")
    return [str(type_of(line.kind, line.code)).removeprefix("run.") for line in lines]


def data_of(run: Run, code: str) -> dict:
    return FleetEvent.objects.get(run_id=run.pk, code=code).data


def deployed(run: Run) -> Run:
    attempt = Attempt.after(run)
    assert lifecycle.begin_attempt(attempt, timezone.now())
    origin = DeployedFrom.SOURCE
    assert lifecycle.run_now(
        attempt, port=5001, deployed_from=origin, digest="", restore_ms=1, start_ms=1, now=timezone.now()
    )
    return Run.objects.get(pk=run.pk)


def test_a_warm_launch_of_a_staged_game_is_launched_and_running(staged):
    run = launch(game="snake", mode="warm", client=Client("ada"))
    assert run.state == RunState.RUNNING
    assert told(run) == ["launched", "running"]
    assert data_of(run, "running")["total_ms"] == run.total_ms
    assert data_of(run, "running")["game"] == "snake"


def test_a_game_that_is_deployed_is_running_when_it_is_ready(deploying):
    assert told(deploying) == ["launched"]
    deployed(deploying)
    assert told(deploying) == ["launched", "running"]


def test_a_launch_that_finds_nothing_ready_waits(paper_fleet, pool, game):
    run = launch(game="snake", mode="cold", client=Client("ada"))
    assert run.state == RunState.ACQUIRING
    assert told(run) == ["launched", "waiting"]


def test_a_launch_whose_sandbox_was_dead_waits_for_another(deploying, settings):
    Sandbox.objects.filter(state=State.READY).update(state=State.DELETING, end_code="idle", end_reason="idle")
    Pool.objects.update(target_ready=0)
    from runs.launching.handover import replace_dead

    replace_dead(deploying, "no answer")
    assert told(deploying) == ["launched", "waiting"]


def test_a_player_and_an_operator_give_more_time_and_each_is_told_once(deploying, settings):
    settings.MAX_EXTENSIONS = 2
    run = deployed(deploying)
    for by in ("player ada", "grace"):
        assert lifecycle.extend(run.pk, timezone.now(), by=by)
    assert told(run)[2:] == ["extended", "extended"]
    last = FleetEvent.objects.filter(run_id=run.pk).latest("seq")
    assert last.data["extensions"] == 2
    assert last.actor == "grace"


@pytest.mark.parametrize("has_failed", [False, True])
def test_the_end_says_why_and_how_long_it_took(deploying, has_failed):
    now = timezone.now()
    if has_failed:
        lifecycle.fail(deploying.pk, RunEndCode.DEPLOY_FAILED, "It broke.", now)
        lifecycle.fail(deploying.pk, RunEndCode.SANDBOX_LOST, "Again.", now)
    else:
        lifecycle.end(deploying.pk, RunEndCode.ENDED_BY_API, "Enough.", now)
        lifecycle.end(deploying.pk, RunEndCode.TIME_UP, "Again.", now)
    assert told(deploying) == ["launched", "failed" if has_failed else "ended"]
    over = Run.objects.get()
    data = data_of(deploying, over.end_code)
    assert (data["code"], data["reason"], data["state"]) == (over.end_code, over.end_reason, over.state)
    assert data["duration_ms"] == over.duration_ms(now)


def test_the_end_is_said_to_be_near_once_and_at_least_a_minute_before(deploying):
    run = deployed(deploying)
    for before in (300, 160, 149, 61, 30):
        upkeep.warn_of_ends(run.expires_at - timedelta(seconds=before))
    assert told(run) == ["launched", "running", "ending_soon"]
    assert data_of(run, "ending_soon")["seconds_left"] == 149


def test_with_more_time_its_new_end_is_said_to_be_near_again(deploying):
    run = deployed(deploying)
    upkeep.warn_of_ends(run.expires_at - timedelta(seconds=100))
    assert lifecycle.extend(run.pk, timezone.now())
    upkeep.warn_of_ends(run.expires_at - timedelta(seconds=50))
    assert told(run)[2:] == ["ending_soon", "extended"]
    longer = Run.objects.get()
    upkeep.warn_of_ends(longer.expires_at - timedelta(seconds=100))
    assert told(run)[2:] == ["ending_soon", "extended", "ending_soon"]


def test_a_lifetime_that_is_shorter_is_said_to_end_soon_at_once(deploying):
    run = deployed(deploying)
    soon = timezone.now() + timedelta(seconds=40)
    Run.objects.update(expires_at=soon)
    Sandbox.objects.filter(pk=run.sandbox_id).update(expires_at=soon)
    upkeep.put_right(timezone.now())
    assert told(run)[-1] == "ending_soon"


def test_of_two_turns_that_look_at_once_one_tells(deploying):
    run = deployed(deploying)
    as_seen = [Run.objects.select_related("game", "sandbox").get() for _ in range(2)]
    now = run.expires_at - timedelta(seconds=100)
    assert [lifecycle.warn_of_end(each, now) for each in as_seen] == [True, False]
    assert told(run).count("ending_soon") == 1


def test_nothing_ends_soon_that_got_more_time_meanwhile(deploying):
    run = Run.objects.select_related("game", "sandbox").get(pk=deployed(deploying).pk)
    assert lifecycle.extend(run.pk, timezone.now())
    assert not lifecycle.warn_of_end(run, run.expires_at)
