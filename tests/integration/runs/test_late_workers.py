"""A worker that was held up reports when another has taken over: what it carries tells that it comes too late."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.utils import timezone

from games.deploy import Deployed, DeployFailed
from pools.models import FleetEvent, Pool, Sandbox, State
from runs import tasks, upkeep
from runs.launching.handover import replace_dead
from runs.launching.launch import launch
from runs.lifecycle import Attempt, begin_attempt
from runs.models import Run, RunState

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def deploying(paper_fleet, pool, game) -> Run:
    """A run whose game is to be deployed into its warm sandbox."""
    Pool.objects.update(target_ready=2, max_ready=2)
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    run = launch(game="snake", mode="warm", visitor="ada")
    assert run.state == RunState.DEPLOYING
    return run


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
