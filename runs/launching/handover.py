"""A claimed sandbox must answer before it counts: the staged game in it is played, a dead one is replaced."""

from __future__ import annotations

import logging
from datetime import datetime
from uuid import UUID

from django.db import DatabaseError, transaction
from django_q.tasks import async_task

from games.staging import staged_port
from pools import clock, journal
from pools.cloud.errors import AgentError, AgentRefused, AgentUnavailable
from pools.cloud.sandbox_agent import SandboxAgent
from pools.models import Fleet, Sandbox
from pools.nudge import nudge
from pools.reasons import EndCode
from pools.taken import SandboxTaken, require_free
from pools.task_rows import TaskRows
from pools.together import settle
from pools.traces import span
from runs import lifecycle, lines
from runs.launching import turnstile
from runs.launching.acquire import go_on_without, open_pool, take_ready
from runs.lifecycle import Attempt, milliseconds
from runs.models import Run, RunState

logger = logging.getLogger(__name__)

PROBE_TIMEOUT_SECONDS = 2.0


def port_of_staged(run: Run) -> int | None:
    """Return the port where the run's game was started ahead of time, or None."""
    return staged_port(run.sandbox, run.game) if run.sandbox is not None and run.use_snapshot else None


def hand_over(run: Run, *, is_seen: bool = False) -> Run | None:
    """Ask the claimed sandbox, and where it is dead the next one, until one answers. `is_seen`: the fleet has looked at
    it since it started, so that nobody is in it.

    The run comes back RUNNING, where the game was staged and answers; DEPLOYING, where the sandbox is well and the game
    has yet to come into it; or ACQUIRING, where no other sandbox was ready. None when somebody else has taken it on
    meanwhile.
    """
    current: Run | None = run
    has_ended_once = False
    while current is not None and current.sandbox is not None and current.state == RunState.DEPLOYING:
        port = port_of_staged(current)
        began = clock.now()
        code: EndCode | None = EndCode.DEAD_AT_HAND_OVER
        taken_by: UUID | None = None
        try:
            with current.sandbox.is_subject(), span("hand over"):
                agent = current.sandbox.agent()
                if not is_seen:
                    require_free(agent.look(PROBE_TIMEOUT_SECONDS))
                if port is not None and _answers(agent, port):
                    return _play_staged(current, current.sandbox, port, began)
                running = {process.pid for process in agent.look(PROBE_TIMEOUT_SECONDS) if process.is_running}
            staged = current.sandbox.staged_games.get(current.game.slug)
            # The sandbox is well: a game that answers badly, or ends at the first request, would do so in the next one.
            if port is None or staged is None or staged.pid in running or has_ended_once:
                return current
            has_ended_once, trouble = True, "the game in it has ended"
        except AgentError as error:
            trouble = str(error)
            if isinstance(error, AgentRefused):
                code = EndCode.AGENT_REFUSED
            elif isinstance(error, AgentUnavailable):
                code = None
            taken_by = error.run if isinstance(error, SandboxTaken) else None
        current, is_seen = replace_dead(current, trouble, code, taken_by), False
    return current


def _answers(agent: SandboxAgent, port: int) -> bool:
    try:
        return agent.fetch(port, "/", PROBE_TIMEOUT_SECONDS).status < 400
    except AgentUnavailable:  # a game that hangs looks like a sandbox that does
        return False


def _play_staged(run: Run, sandbox: Sandbox, port: int, probed_at: datetime) -> Run | None:
    """The game that was started ahead of time is played. The mark in its sandbox, and the end of the others in it, can
    wait for a second.

    The pool can wait, too: a turn at this moment would take the processor from what the player waits for."""
    now = clock.now()
    try:
        with turnstile.launches.passed(is_back=True), transaction.atomic():
            async_task("games.tasks.end_other_games", str(sandbox.id), run.game.slug, broker=TaskRows())
            lifecycle.play_staged(run, port=port, start_ms=milliseconds(now - probed_at), now=now)
    except lifecycle.TooLate:
        lifecycle.drop(Attempt.of(run), "the game is ready", now)
        return None
    settle()
    try:
        nudge(is_urgent=False)  # in no transaction: the fleet's row is never locked after a run's
    except DatabaseError as error:  # it helps the pool alone, and a turn comes every minute
        logger.warning("No turn could be asked for after the launch of run %s: %s", run.short_id, error)
    return run


@transaction.atomic
def replace_dead(
    run: Run, trouble: str, code: EndCode | None = EndCode.DEAD_AT_HAND_OVER, taken_by: UUID | None = None
) -> Run | None:
    """The sandbox at hand was dead, without a `code` out of reach, or taken by an unknown run: part from it and claim
    the next, or go on as if none had been ready. None when somebody else was first."""
    Fleet.lock()
    now = clock.now()
    left = lifecycle.lose_sandbox(Attempt.of(run), trouble, now, code, taken_by)
    if left is None:
        return None
    pool = open_pool(left.game.runtime)
    if pool is None or not take_ready(left, pool, now):
        go_on_without(left, pool, now)
    nudge()
    if left.state == RunState.ACQUIRING:
        journal.write(lines.waiting(left, now))
    return left
