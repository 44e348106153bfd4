"""The game comes into the run's sandbox: queued in one place, and done by whichever worker begins the attempt."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django_q.tasks import async_task

from games.deploy import deploy as deploy_game
from games.deploy import start_again
from games.failures import Cause, DeployFailed
from games.manifest import AGENT_PORT
from games.models import Game
from games.staging import staged_files
from games.versions import game_of, of_digest
from pools import clock, traces
from pools.about import about
from pools.cloud.errors import AgentError
from pools.models import Sandbox
from pools.stopping import Stopping
from pools.tenure import Tenure, TenureLost, kept
from runs import events, lifecycle
from runs.launching import progress
from runs.launching.handover import hand_over, port_of_staged
from runs.lifecycle import Attempt, milliseconds
from runs.models import DeployedFrom, EventKind, Run, RunState
from runs.reasons import RunEndCode

PAGE_SECONDS = 10
PAGE_POLL_SECONDS = 0.05
END_CODES = {
    Cause.OTHER: RunEndCode.DEPLOY_FAILED,
    Cause.PORT_TAKEN: RunEndCode.PORT_TAKEN,
    Cause.ANSWERS_PACKED: RunEndCode.ANSWERS_PACKED,
    Cause.FIXED_PORT: RunEndCode.FIXED_PORT,
    Cause.TOOL_MISSING: RunEndCode.TOOL_MISSING,
}


def queue(run: Run) -> None:
    """Queue the run's next attempt, in the caller's transaction if there is one."""
    attempt = Attempt.after(run)
    arguments = (str(attempt.run_id), str(attempt.sandbox_id), attempt.number)
    async_task("runs.tasks.deploy", *arguments, task_name="deploy", group="deploy")


def next_attempt(run_id: UUID) -> Attempt | None:
    """The attempt of a task that carries none, as rows of the queue did before there were any."""
    run = Run.objects.filter(pk=run_id).first()
    return Attempt.after(run) if run else None


def deploy(attempt: Attempt) -> None:
    """Bring the run's game up in its sandbox: played where it is staged, else deployed. Of several tasks for one
    attempt, one works."""
    with about(run=attempt.run_id), traces.span("deploy", attempt=attempt.number):
        _deploy(attempt)


def _deploy(attempt: Attempt) -> None:
    try:
        _work_on(attempt)
    except Stopping:
        with transaction.atomic():
            if run := lifecycle.pass_on(attempt, clock.now()):
                queue(run)


def _work_on(attempt: Attempt) -> None:
    run = lifecycle.begin_attempt(attempt, clock.now())
    again = None if run else lifecycle.begin_restart(attempt, clock.now())
    if run is None and again is None:
        return
    with kept(lambda: lifecycle.renew(attempt.run_id, attempt.number, clock.now())) as tenure:
        if again is not None and again.sandbox is not None:
            with again.sandbox.is_subject():
                _bring_back(again.sandbox, again, tenure)
            return
        # What an attempt before this one has left of the staged game is not played.
        if run is not None and attempt.number == 1 and port_of_staged(run) is not None:
            run = hand_over(run)
        if run is not None and run.sandbox is not None and run.state == RunState.DEPLOYING:
            with run.sandbox.is_subject():
                _deploy_into(run.sandbox, run, tenure)


def _bring_back(sandbox: Sandbox, run: Run, tenure: Tenure) -> None:
    """Start the run's game again where it stopped, on its port: from the files that are there, else by a deployment."""
    attempt = Attempt.of(run)
    agent, port, digest = sandbox.agent(), run.port or run.game.port, run.source_digest

    def say(message: str, level: str = "info") -> None:
        tenure.require()
        events.emit(run.id, EventKind.LOG, message, level=level)

    try:
        folder = _folder_of(sandbox, run)
        played = game_of(run.game, run.source_digest)  # another may be published by now
        if folder is None or not start_again(agent, played, port, folder, run.id):
            say("Its files are gone; deploying it once more.")
            version = of_digest(run.game, run.source_digest)
            # The catalog has its files as they are now.
            again = played if version is not None and version.address else run.game
            deploy_game(agent, again, use_snapshot=run.use_snapshot, say=say, port=port, run_id=run.id)
            digest = again.source_digest
        tenure.require()
        _wait_for_page(sandbox, run.game, port)
    except TenureLost:
        lifecycle.drop(attempt, "it was held up, and stopped", clock.now())
    except (DeployFailed, AgentError) as error:
        reason = f"The game stopped, and could not be started again: {error}"
        _fail(attempt, tenure, RunEndCode.GAME_STOPPED, reason, [RunState.RUNNING])
    else:
        lifecycle.play_on(attempt, port=port, digest=digest, now=clock.now())


def _fail(attempt: Attempt, tenure: Tenure, code: RunEndCode, reason: str, frm: list[RunState]) -> None:
    """The attempt has failed, unless its worker was held up: then that says nothing, and another one is at it."""
    try:
        tenure.require()
    except TenureLost:
        lifecycle.drop(attempt, reason, clock.now())
        return
    traces.at_work().fail(reason, code=code)
    lifecycle.fail(attempt.run_id, code, reason, clock.now(), frm=frm, attempt=attempt)


def _folder_of(sandbox: Sandbox, run: Run) -> str | None:
    """Return where the files lie that the run's game was started from; None when that can't be told from the rows."""
    staged = sandbox.staged_games.get(run.game.slug)
    if staged is None:
        return run.game.slug
    if run.deployed_from == DeployedFrom.STAGED:
        return (staged.dir or run.game.slug).removeprefix("games/")
    return None


def _deploy_into(sandbox: Sandbox, run: Run, tenure: Tenure) -> None:
    attempt = Attempt.of(run)

    def say(message: str, level: str = "info") -> None:
        tenure.require()
        events.emit(run.id, EventKind.LOG, message, level=level)

    def entering(step: str) -> None:
        tenure.require()
        _note_step(run, attempt, step, clock.now())

    progress.tell(run, "bootstrap", clock.now())
    try:
        game = game_of(run.game, run.source_digest)
        done = deploy_game(
            sandbox.agent(),
            game,
            use_snapshot=run.use_snapshot,
            say=say,
            port=another_port(game) if run.source_digest else free_port(sandbox, game),
            unpacked=staged_files(sandbox, run.game) if attempt.number == 1 else None,
            run_id=run.id,
            entering=entering,
        )
        _wait_for_page(sandbox, game, done.port)
    except TenureLost:
        lifecycle.drop(attempt, "it was held up, and stopped", clock.now())
        return
    except (DeployFailed, AgentError) as error:
        code = END_CODES[error.cause] if isinstance(error, DeployFailed) else RunEndCode.DEPLOY_FAILED
        _fail(attempt, tenure, code, str(error), [RunState.DEPLOYING])
        return
    except Stopping:
        raise
    except Exception:
        reason = "Something went wrong here while the game was deployed. It was logged."
        lifecycle.fail(run.id, RunEndCode.INTERNAL_ERROR, reason, clock.now(), attempt=attempt)
        raise
    played = lifecycle.run_now(
        attempt,
        port=done.port,
        deployed_from=DeployedFrom(done.deployed_from),
        digest=game.source_digest,
        restore_ms=done.restore_ms,
        start_ms=done.start_ms,
        now=clock.now(),
    )
    if played is not None:
        traces.at_work().note(code=played.state, deployed_from=done.deployed_from)


def _note_step(run: Run, attempt: Attempt, step: str, now: datetime) -> None:
    """A step begins: the one before it is measured, for who looks on. The whole is measured when the game runs."""
    if step == "restore":
        run.acquire_ms = milliseconds((run.acquired_at or now) - run.created_at)
        run.bootstrap_ms = max(0, milliseconds(now - run.created_at) - run.acquire_ms)  # clocks can be set back
        measured = {"acquire_ms": run.acquire_ms, "bootstrap_ms": run.bootstrap_ms}
    else:
        before_ms = (run.acquire_ms or 0) + (run.bootstrap_ms or 0)
        measured = {"restore_ms": max(0, milliseconds(now - run.created_at) - before_ms)}
    if lifecycle.measure(attempt, **measured):
        progress.tell(run, step, now)


def free_port(sandbox: Sandbox, game: Game) -> int:
    """The game's own port, unless another game that was staged in the sandbox listens there."""
    taken = {staged.port for slug, staged in sandbox.staged_games.items() if slug != game.slug and staged.pid}
    return game.port if game.port not in taken else max(taken) + 1


def another_port(game: Game) -> int:
    """Not the port that its manifest names: on trial is whether the game heeds the one that it is given, as it will
    have to beside others."""
    return game.port + 1 if game.port + 1 not in (AGENT_PORT, 65536) else game.port - 1


def _wait_for_page(sandbox: Sandbox, game: Game, port: int) -> None:
    """The page itself must come the way that the player's browser will ask for it. Raises DeployFailed."""
    agent = sandbox.agent()
    deadline = clock.monotonic() + PAGE_SECONDS
    while (status := agent.fetch(port, "/", timeout_seconds=5).status) >= 400:
        if clock.monotonic() > deadline:
            raise DeployFailed(f"{game.title} runs, but its page answers {status}.")
        clock.sleep(PAGE_POLL_SECONDS)
