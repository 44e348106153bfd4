"""What Django-Q runs for the runs."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import F, Q
from django.utils import timezone

from games.deploy import DeployFailed
from games.deploy import deploy as deploy_game
from games.models import Game
from games.staging import staged_files, staged_port
from pools.cloud.errors import AgentError
from pools.leases import this_process
from pools.models import Sandbox
from runs import events
from runs.launching import progress
from runs.launching.launch import hand_over
from runs.lifecycle import fail, milliseconds, run_now
from runs.models import DeployedFrom, EventKind, Run, RunState

LEASE_SECONDS = 600  # longer than the longest deployment; a worker that died is noticed before
PAGE_SECONDS = 10
PAGE_POLL_SECONDS = 0.05


def deploy(run_id: str) -> None:
    """Bring the run's game up in its sandbox. Of several for one run, one works."""
    if not _take(UUID(run_id)):
        return
    run = Run.objects.select_related("game", "sandbox").get(pk=run_id)
    sandbox = run.sandbox
    if sandbox is None:
        return
    if run.use_snapshot and staged_port(sandbox, run.game) is not None and run.deploy_attempts == 1:
        hand_over(run)
        # It is not staged any more, perhaps: the task that deploys it instead must not wait for our lease to run out.
        Run.objects.filter(pk=run.pk, sandbox=sandbox, state=RunState.DEPLOYING).update(deploy_lease_until=None)
        return

    def say(message: str, level: str = "info") -> None:
        events.emit(run.id, EventKind.LOG, message, level=level)

    def entering(phase: str) -> None:
        _note_phase(run, phase, timezone.now())

    agent = sandbox.agent()
    progress.tell(run, "bootstrap", timezone.now())
    try:
        port = free_port(sandbox, run.game)
        unpacked = staged_files(sandbox, run.game) if run.deploy_attempts == 1 else None
        done = deploy_game(
            agent,
            run.game,
            use_snapshot=run.use_snapshot,
            say=say,
            port=port,
            unpacked=unpacked,
            entering=entering,
        )
        _wait_for_page(run, done.port)
    except (DeployFailed, AgentError) as error:
        fail(run.id, str(error), timezone.now())
        return
    except Exception:
        fail(run.id, "Something went wrong here while the game was deployed. It was logged.", timezone.now())
        raise
    now = timezone.now()
    origin = DeployedFrom(done.deployed_from)
    run_now(run.id, port=done.port, deployed_from=origin, restore_ms=done.restore_ms, start_ms=done.start_ms, now=now)


def _note_phase(run: Run, phase: str, now: datetime) -> None:
    """A part begins: the one before it is measured, for who looks on. The whole is measured when the game runs."""
    if phase == "restore":
        run.acquire_ms = milliseconds((run.acquired_at or now) - run.created_at)
        run.bootstrap_ms = max(0, milliseconds(now - run.created_at) - run.acquire_ms)  # clocks can be set back
        measured = {"acquire_ms": run.acquire_ms, "bootstrap_ms": run.bootstrap_ms}
    else:
        before_ms = (run.acquire_ms or 0) + (run.bootstrap_ms or 0)
        measured = {"restore_ms": max(0, milliseconds(now - run.created_at) - before_ms)}
    Run.objects.filter(pk=run.pk, state=RunState.DEPLOYING).update(**measured)
    progress.tell(run, phase, now)


def free_port(sandbox: Sandbox, game: Game) -> int:
    """The game's own port, unless another game that was staged in the sandbox listens there."""
    taken = {staged.port for slug, staged in sandbox.staged_games.items() if slug != game.slug and staged.pid}
    return game.port if game.port not in taken else max(taken) + 1


def _take(run_id: UUID) -> bool:
    now = timezone.now()
    # Without a process it is only on its way, by this task or another.
    free = Q(deploy_lease_until__isnull=True) | Q(deploy_lease_until__lt=now) | Q(deploy_process="")
    taken = Run.objects.filter(free, pk=run_id, state=RunState.DEPLOYING).update(
        deploy_lease_until=now + timedelta(seconds=LEASE_SECONDS),
        deploy_process=this_process(),
        deploy_attempts=F("deploy_attempts") + 1,
    )
    return taken == 1


def _wait_for_page(run: Run, port: int) -> None:
    """The page itself must come the way that the player's browser will ask for it. Raises DeployFailed."""
    assert run.sandbox is not None  # noqa: S101  the caller looked
    agent = run.sandbox.agent()
    deadline = time.monotonic() + PAGE_SECONDS
    while (status := agent.fetch(port, "/", timeout_seconds=5).status) >= 400:
        if time.monotonic() > deadline:
            raise DeployFailed(f"{run.game.title} runs, but its page answers {status}.")
        time.sleep(PAGE_POLL_SECONDS)
