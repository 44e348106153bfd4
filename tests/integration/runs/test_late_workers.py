"""A worker that was held up reports when another has taken over: what it carries tells that it comes too late."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.utils import timezone

from games.deploy import Deployed
from games.failures import DeployFailed
from games.models import Game
from pools.models import FleetEvent, Sandbox, State
from pools.tenure import LEASE_SECONDS
from runs import tasks, upkeep
from runs.launching.handover import replace_dead
from runs.lifecycle import Attempt, begin_attempt
from runs.models import Run, RunState
from tests.fixtures.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


def interrupted(run: Run) -> None:
    """The turn takes the worker for dead, and a second one begins."""
    Run.objects.update(deploy_lease_until=timezone.now())
    upkeep.redeploy_cut_off(timezone.now())
    assert begin_attempt(Attempt.after(Run.objects.get(pk=run.pk)), timezone.now())


def moved(run: Run) -> None:
    """The sandbox is found dead meanwhile, and the run has another."""
    replace_dead(Run.objects.select_related("game", "sandbox").get(pk=run.pk), "no answer")


MEANWHILE = [pytest.param(interrupted, id="an older attempt"), pytest.param(moved, id="another sandbox")]


@pytest.fixture
def worker_reports(monkeypatch, deploying) -> Callable[..., None]:
    """A first worker deploys; while it is held up, something happens; then it goes on."""

    def reports(outcome: Deployed | Exception, meanwhile: Callable[[Run], None]) -> None:
        def held_up(*_: object, **__: object) -> Deployed:
            meanwhile(deploying)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr("runs.launching.deployment.deploy_game", held_up)
        tasks.deploy(str(deploying.pk))

    return reports


DONE = Deployed("source", pid=7, port=5001, sha256="", bootstrap_ms=1, restore_ms=1, start_ms=1)


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_a_late_success_makes_nothing_running(worker_reports, deploying, meanwhile):
    worker_reports(DONE, meanwhile)
    deploying.refresh_from_db()
    assert (deploying.state, deploying.port, deploying.ready_at) == (RunState.DEPLOYING, None, None)
    assert FleetEvent.objects.filter(run_id=deploying.pk, message__contains="too late").exists()


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_a_late_failure_ends_nothing(worker_reports, deploying, meanwhile):
    worker_reports(DeployFailed("It ended as soon as it was started."), meanwhile)
    deploying.refresh_from_db()
    assert deploying.state == RunState.DEPLOYING
    assert Sandbox.objects.get(pk=deploying.sandbox_id).state == State.IN_USE
    assert FleetEvent.objects.filter(run_id=deploying.pk, message__contains="too late").exists()


# How soon another takes over.

ELSEWHERE = "another-host|pid:[4026531836]|4711"


def test_a_deployment_whose_machine_died_is_done_again_within_seconds(paper_fleet, deploying, worker):
    """It stayed deploying for ten minutes, and then failed for want of a sandbox."""
    worker.lose()
    begin_attempt(Attempt.after(deploying), timezone.now())
    Run.objects.update(deploy_process=ELSEWHERE)
    paper_fleet.clock.advance(LEASE_SECONDS + 1)
    paper_fleet.turn()
    assert "runs.tasks.deploy" in worker.work()
    deploying.refresh_from_db()
    assert (deploying.state, deploying.deploy_attempts) == (RunState.RUNNING, 2)


def test_a_worker_that_is_alive_keeps_its_deployment_however_long_it_takes(paper_fleet, monkeypatch, deploying, worker):
    worker.lose()
    monkeypatch.setattr("pools.tenure.RENEW_SECONDS", 0.05)

    def takes_long(*_: object, **__: object) -> Deployed:
        paper_fleet.clock.advance(10 * LEASE_SECONDS)
        until(lambda: Run.objects.get().deploy_lease_until > timezone.now(), "the lease is renewed")
        upkeep.redeploy_cut_off(timezone.now())
        return DONE

    monkeypatch.setattr("runs.launching.deployment.deploy_game", takes_long)
    monkeypatch.setattr("runs.launching.deployment._wait_for_page", lambda *_: None)
    tasks.deploy(str(deploying.pk))
    deploying.refresh_from_db()
    assert (deploying.state, deploying.deploy_attempts) == (RunState.RUNNING, 1)


def test_a_worker_that_was_frozen_touches_nothing_when_it_goes_on(monkeypatch, deploying):
    """It went on in the sandbox, ended the game that another worker had started, and said that all was well."""
    monkeypatch.setattr("pools.tenure.LEASE_SECONDS", 0)  # it always looks again
    went_on = []

    def frozen(*_: object, entering: Callable[[str], None], **__: object) -> Deployed:
        interrupted(deploying)
        Run.objects.update(deploy_process=ELSEWHERE)
        entering("start")
        went_on.append(True)
        return DONE

    monkeypatch.setattr("runs.launching.deployment.deploy_game", frozen)
    tasks.deploy(str(deploying.pk))
    deploying.refresh_from_db()
    assert (deploying.state, deploying.deploy_attempts, went_on) == (RunState.DEPLOYING, 2, [])
    assert FleetEvent.objects.filter(run_id=deploying.pk, message__contains="too late").exists()


def test_a_run_has_the_version_that_was_deployed_though_another_is_published_meanwhile(monkeypatch, deploying):
    """It was stamped with the one that is published when its deployment ends, and brought back as that one."""
    Game.objects.update(source_digest="what is deployed")

    def publishing(*_: object, **__: object) -> Deployed:
        Game.objects.update(source_digest="what is published meanwhile")
        return DONE

    monkeypatch.setattr("runs.launching.deployment.deploy_game", publishing)
    monkeypatch.setattr("runs.launching.deployment._wait_for_page", lambda *_: None)
    tasks.deploy(str(deploying.pk))
    deploying.refresh_from_db()
    assert (deploying.state, deploying.source_digest) == (RunState.RUNNING, "what is deployed")
