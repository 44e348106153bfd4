"""A look at a sandbox: idle, with what was staged in it; or in use, with the game that is played in it.

One request tells that a game is well. Only when it does not answer is more asked, to know what is dead: the game, or
the sandbox with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from uuid import UUID

from django.db import transaction

from pools import claims, clock
from pools.cloud.agent_transport import json_of
from pools.cloud.errors import AgentError, AgentUnavailable, SandboxEmptied
from pools.models import Fleet, Sandbox, State
from pools.occupants import Served
from pools.signals import service_stopped
from pools.staged import StagedGame
from pools.taken import SandboxTaken, require_free

AT_ONCE = 32
LOOKING_SECONDS = 6.0  # no look is begun after that; the next turn goes on with those that were left out
TIMEOUT_SECONDS = 3.0
UNANSWERED = frozenset({502, 503, 504})  # by the agent when nothing listens, or by the edge when there is no agent
GAMES_DIR = "/workspace/games"

WELL = {"health_failures": 0, "unwell_since": None, "trouble": "", "trouble_code": ""}

Seen = tuple[Sandbox, AgentError | None]


class GameStopped(AgentError):
    """The agent answers, and says that nothing listens where the game was."""

    code = "game_stopped"


def look_at_all(sandboxes: Sequence[Sandbox], served: Mapping[UUID, Served]) -> list[Seen]:
    """Look at them, many at once; what was wrong with each, or None. Those for which there was no time are left out."""
    until = clock.monotonic() + LOOKING_SECONDS

    def look(sandbox: Sandbox) -> list[Seen]:
        if clock.monotonic() > until:
            return []
        try:
            if sandbox.state == State.READY:
                look_at_idle(sandbox)
            elif sandbox.pk in served:
                look_at_game(sandbox, served[sandbox.pk])
            else:
                return []
        except AgentError as error:
            return [(sandbox, error)]
        return [(sandbox, None)]

    if len(sandboxes) <= 1:
        return [seen for sandbox in sandboxes for seen in look(sandbox)]
    with ThreadPoolExecutor(min(AT_ONCE, len(sandboxes))) as threads:
        return [seen for answer in threads.map(look, sandboxes) for seen in answer]


def look_at_idle(sandbox: Sandbox) -> None:
    """Its agent answers and takes our token, what was started in it still runs, and what was only unpacked is still
    there: a container that was restarted has lost both (SandboxEmptied). Nobody plays in it (SandboxTaken). Raises
    AgentError."""
    agent = sandbox.agent()
    processes = agent.look(TIMEOUT_SECONDS)
    require_free(processes)
    running = {process.pid for process in processes if process.is_running}
    games = sandbox.staged_games
    started = {game.pid for game in games.values() if game.pid}
    if started:
        if not started <= running:
            raise SandboxEmptied("A game that was started in it has ended; the sandbox may have been restarted.")
    elif games and not folders(games.items()) <= agent.names(GAMES_DIR, TIMEOUT_SECONDS):
        raise SandboxEmptied("The files that were put into it are gone; the sandbox was restarted.")


def folders(games: Iterable[tuple[str, StagedGame]]) -> set[str]:
    """Return the folders of staged games, below GAMES_DIR."""
    return {(game.dir or slug).removeprefix("games/") for slug, game in games}


def look_at_game(sandbox: Sandbox, served: Served) -> None:
    """The game answers on its port, whatever it says: how well it plays is not judged here. Raises AgentError."""
    agent = sandbox.agent()
    try:
        answer = agent.fetch(served.port, served.path, TIMEOUT_SECONDS)
    except AgentUnavailable:
        agent.health(TIMEOUT_SECONDS)  # a game that takes its time looks like a sandbox that does
        return
    if answer.status in UNANSWERED:
        agent.health(TIMEOUT_SECONDS)
        # The agent's own word for a port where nothing listens; else the game's, or the edge's of a moment ago.
        if answer.status == 502 and isinstance(json_of(answer.body), dict):
            raise GameStopped("Its agent answers, and nothing listens where the game was.")


def note(seen: Sequence[Seen], now: datetime) -> None:
    """Write what was seen into the rows, where they are still in the state in which they were looked at. A game that is
    seen stopped for the second time is told to whom it is of use."""
    well = [sandbox for sandbox, trouble in seen if trouble is None]
    for state in (State.READY, State.IN_USE):
        same = [sandbox.pk for sandbox in well if sandbox.state == state]
        Sandbox.objects.filter(pk__in=same, state=state).update(health_checked_at=now, **WELL)
    for sandbox, trouble in seen:
        if trouble is not None:
            _note_trouble(sandbox, trouble, now)


def _note_trouble(sandbox: Sandbox, trouble: AgentError, now: datetime) -> None:
    if isinstance(trouble, SandboxTaken):
        claims.leave_alone(sandbox.pk, trouble.run, now, frm=[State.READY])
        return
    same = Sandbox.objects.filter(pk=sandbox.pk, state=sandbox.state)
    fields = {
        "health_checked_at": now,
        "health_failures": sandbox.health_failures + 1,
        "unwell_since": sandbox.unwell_since or now,
        "trouble": str(trouble),
        "trouble_code": trouble.code,
    }
    if not isinstance(trouble, GameStopped):
        same.update(**fields)
        return
    with transaction.atomic():
        Fleet.lock()  # first, because whoever hears of it may end a run
        if same.update(**fields) and sandbox.health_failures:
            service_stopped.send(sender=Sandbox, sandbox=sandbox, trouble=str(trouble), now=now)
