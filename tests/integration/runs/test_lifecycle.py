"""A run's steps, one at a time: what each needs, and who is refused."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from pools.models import Sandbox, State
from pools.tenure import LEASE_SECONDS
from runs import lifecycle
from runs.lifecycle import Attempt
from runs.models import DeployedFrom, Run, RunState
from runs.reasons import RunEndCode

pytestmark = pytest.mark.django_db(transaction=True)


def begun(run: Run, now: datetime) -> Attempt:
    found = lifecycle.begin_attempt(Attempt.after(Run.objects.get(pk=run.pk)), now)
    assert found is not None
    return Attempt.of(found)


def succeed(attempt: Attempt, now: datetime) -> Run | None:
    origin = DeployedFrom.SOURCE
    return lifecycle.run_now(attempt, port=5001, deployed_from=origin, digest="", restore_ms=1, start_ms=1, now=now)


def test_while_one_worker_deploys_no_other_begins_the_same_attempt_or_the_next(deploying):
    now = timezone.now()
    first = Attempt.after(deploying)
    begun(deploying, now)
    assert lifecycle.begin_attempt(first, now) is None
    assert lifecycle.begin_attempt(Attempt.after(Run.objects.get()), now) is None


def test_an_attempt_that_has_begun_does_not_begin_again_when_its_lease_is_over(deploying):
    """A queue may give out a task twice: the attempt after it is the one that goes on."""
    now = timezone.now()
    first = Attempt.after(deploying)
    begun(deploying, now)
    later = now + timedelta(seconds=LEASE_SECONDS + 1)
    assert lifecycle.begin_attempt(first, later) is None
    assert begun(deploying, later).number == 2
    much_later = later + timedelta(seconds=LEASE_SECONDS + 1)
    assert lifecycle.begin_attempt(first, much_later) is None


def test_what_a_deployment_took_is_not_taken_off_the_players_time_or_the_sandboxs(deploying):
    attempt = begun(deploying, timezone.now())
    ready = timezone.now() + timedelta(seconds=100)
    run = succeed(attempt, ready)
    assert run is not None
    assert run.expires_at >= deploying.expires_at + timedelta(seconds=100)
    assert Sandbox.objects.get(pk=run.sandbox_id).expires_at >= run.expires_at, "it would go while its game is played"


def test_a_game_that_runs_is_not_failed_by_what_its_worker_meets_afterwards(deploying):
    attempt = begun(deploying, timezone.now())
    assert succeed(attempt, timezone.now())
    assert not lifecycle.fail(attempt.run_id, RunEndCode.INTERNAL_ERROR, "afterwards", timezone.now(), attempt=attempt)
    assert Run.objects.get().state == RunState.RUNNING


def test_more_time_is_given_while_there_is_some_left_and_not_without_end(deploying, settings):
    settings.MAX_EXTENSIONS = 2
    run = succeed(begun(deploying, timezone.now()), timezone.now())
    assert run is not None
    over = run.expires_at + timedelta(seconds=1)
    assert not lifecycle.extend(run.pk, over), "it has expired, though no turn has ended it yet"
    assert [lifecycle.extend(run.pk, timezone.now()) for _ in range(3)] == [True, True, False]
    assert Sandbox.objects.get(pk=run.sandbox_id).expires_at == Run.objects.get().expires_at


def test_a_sandbox_that_was_found_dead_is_parted_from_and_deleted(deploying):
    left = lifecycle.lose_sandbox(Attempt.of(deploying), "no answer", timezone.now())
    assert left is not None
    assert (left.state, left.sandbox) == (RunState.ACQUIRING, None)
    assert Sandbox.objects.get(pk=deploying.sandbox_id).state == State.DELETING


def test_a_dead_workers_run_is_cut_off_at_once_and_a_living_ones_when_its_lease_is_over(deploying):
    now = timezone.now()
    begun(deploying, now)
    run = Run.objects.get()
    assert not lifecycle.is_cut_off(run, now)
    assert lifecycle.is_cut_off(run, now + timedelta(seconds=LEASE_SECONDS + 1))
    run.deploy_process = run.deploy_process.rpartition("|")[0] + f"|{2**22 + 1}"  # no process has such a number
    assert lifecycle.is_cut_off(run, now)


def test_a_full_fleet_gives_its_players_less_time(deploying, settings):
    settings.SANDBOX_MIN_LIFETIME_MINUTES, settings.SANDBOX_MAX_LIFETIME_MINUTES = 3, 9
    now = timezone.now()
    assert lifecycle.lifetime(now) == now + timedelta(minutes=9)
    settings.MAX_TOTAL_SANDBOXES = Sandbox.objects.existing().count()
    assert lifecycle.lifetime(now) == now + timedelta(minutes=3)


def test_a_game_that_stops_is_started_again_once(deploying):
    run = succeed(begun(deploying, timezone.now()), timezone.now())
    assert run is not None
    lost = lifecycle.lose_game(run.pk, run.sandbox_id, "nothing listens", timezone.now())
    assert lost is not None
    assert lost.state == RunState.RUNNING
    assert lifecycle.lose_game(run.pk, run.sandbox_id, "nothing listens", timezone.now()) is None, "it is on its way"
    again = lifecycle.begin_restart(Attempt.after(Run.objects.get()), timezone.now())
    assert again is not None
    assert lifecycle.play_on(Attempt.of(again), port=5001, digest="", now=timezone.now())
    assert lifecycle.lose_game(run.pk, run.sandbox_id, "nothing listens", timezone.now()) is None
    over = Run.objects.get()
    assert (over.state, over.end_code) == (RunState.FAILED, RunEndCode.GAME_STOPPED)
