"""What every turn puts right for runs, without a word from the cloud."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from pools.models import Pool, Sandbox, State
from pools.reasons import EndCode
from runs import upkeep
from runs.clients import Client
from runs.launching.launch import launch
from runs.models import Run, RunState
from runs.reasons import RunEndCode

pytestmark = pytest.mark.django_db(transaction=True)


def start(visitor: str = "ada") -> Run:
    return launch(game="snake", mode="warm", client=Client(visitor))


def queued(name: str) -> int:
    return sum(row.task["func"] == name for row in OrmQ.objects.all())


def test_who_waited_and_is_served_is_deployed_at_once(paper_fleet, pool, game):
    paper_fleet.acquire(pool)
    paper_fleet.turn()
    waiting = start()
    assert (waiting.state, waiting.sandbox) == (RunState.ACQUIRING, None)
    Sandbox.objects.update(state=State.READY, ready_at=timezone.now(), health_checked_at=timezone.now())
    upkeep.put_right(timezone.now())
    waiting.refresh_from_db()
    assert waiting.state == RunState.DEPLOYING
    assert queued("runs.tasks.deploy") == 1


def test_a_sandbox_whose_run_is_over_goes(staged):
    run = start()
    over = {"ended_at": timezone.now(), "end_code": RunEndCode.ENDED_BY_PLAYER, "end_reason": "enough"}
    Run.objects.update(state=RunState.ENDED, **over)
    upkeep.put_right(timezone.now())
    sandbox = Sandbox.objects.get(pk=run.sandbox_id)
    assert (sandbox.state, sandbox.end_code) == (State.DELETING, EndCode.RUN_OVER)


def test_a_run_whose_sandbox_is_gone_ends_and_says_so(staged):
    run = start()
    now = timezone.now()
    gone = {"delete_requested_at": now, "deleted_at": now, "end_code": EndCode.LOST, "end_reason": "it vanished"}
    Sandbox.objects.update(state=State.DELETED, **gone)
    upkeep.put_right(timezone.now())
    run.refresh_from_db()
    assert (run.state, run.end_code) == (RunState.FAILED, RunEndCode.SANDBOX_LOST)


def test_a_game_whose_time_is_up_ends_and_not_before(staged):
    run = start()
    upkeep.put_right(run.expires_at - timedelta(seconds=1))
    run.refresh_from_db()
    assert run.state == RunState.RUNNING
    upkeep.put_right(run.expires_at)
    run.refresh_from_db()
    assert (run.state, run.end_code) == (RunState.ENDED, RunEndCode.TIME_UP)


def test_a_launch_that_does_not_start_within_a_quarter_of_an_hour_fails(paper_fleet, pool, game):
    paper_fleet.acquire(pool)
    paper_fleet.turn()
    run = start()
    Pool.objects.update(on_empty="cold")
    upkeep.end_overdue(run.created_at + timedelta(seconds=upkeep.START_SECONDS - 1))
    run.refresh_from_db()
    assert run.state == RunState.ACQUIRING
    upkeep.end_overdue(run.created_at + timedelta(seconds=upkeep.START_SECONDS))
    run.refresh_from_db()
    assert (run.state, run.end_code) == (RunState.FAILED, RunEndCode.START_TIMEOUT)
