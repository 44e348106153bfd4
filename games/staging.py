"""While a sandbox warms up it gets the games of its runtime: their files, and their processes started and checked.

A warm sandbox whose snapshots have been replaced is brought up to date where it stands, beside what it serves from: the
new files and processes come first, then its row tells of them, then the old processes end. The pool never has one less.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django_q.tasks import async_task

from games.deploy import (
    GAMES_DIR,
    RESTORE_SCRIPT,
    DeployFailed,
    NotRestored,
    Unpacked,
    end_process,
    require_running,
    restore,
    start,
    wait_until_it_answers,
)
from games.models import Game, Snapshot, SnapshotState
from games.snapshots import SnapshotUnavailable, current_snapshot
from pools import claims, journal, leases
from pools.cloud.errors import AgentError
from pools.cloud.sandbox_agent import SandboxAgent
from pools.models import Fleet, Lease, Level, Sandbox, Stage, State
from pools.reasons import LogKind
from pools.staged import StagedGame
from pools.staged import write as write_staged

PORTS = range(5000, 6000)  # staged side by side, each game gets one of its own
LEASE_SECONDS = 300


def stage(sandbox_id: UUID) -> None:
    """Stage what there is to stage, then call the sandbox ready. A game that can't be staged is left out."""
    with _alone(sandbox_id) as is_mine:
        sandbox = Sandbox.objects.filter(pk=sandbox_id, state=State.STAGING).select_related("pool").first()
        if not is_mine or sandbox is None or sandbox.pool is None:
            return
        try:
            staged = _stage_from_the_start(sandbox, starts=sandbox.pool.stage == Stage.STARTED)
        except AgentError as error:
            # It stays in STAGING; the planner asks again or gives it up.
            message = f"staging failed: {error}"
            journal.record(LogKind.TROUBLE, message, code=error.code, sandbox=sandbox, level=Level.WARNING)
            return
        if claims.finish_staging(sandbox.id, staged, timezone.now()):
            sandbox.refresh_from_db()
            if outdated(sandbox):  # something was published meanwhile
                async_task("games.tasks.restage", task_name="restage", group="stage")


def _stage_from_the_start(sandbox: Sandbox, *, starts: bool) -> dict[str, StagedGame]:
    games = _games_with_snapshots(sandbox.runtime)
    if not games:
        return {}
    agent = sandbox.agent()
    for process in agent.processes():  # an attempt before this one may have been cut off
        if process.is_running:
            end_process(agent, process.pid)
    ports = dict(zip(games, PORTS, strict=False))
    return _stage_games(agent, sandbox, ports, starts=starts)


def restage() -> None:
    """Bring every warm sandbox that holds other snapshots than the current up to date, one after the other."""
    for sandbox in Sandbox.objects.filter(state=State.READY, pool__isnull=False).select_related("pool"):
        if outdated(sandbox):
            with _alone(sandbox.id) as is_mine:
                if is_mine:
                    _restage_one(sandbox.id)


def outdated(sandbox: Sandbox) -> list[Game]:
    """The games that are staged in this warm sandbox from another snapshot than the current one, or not at all."""
    if sandbox.pool is None or sandbox.pool.stage == Stage.NONE:
        return []
    current = Snapshot.objects.filter(state=SnapshotState.CURRENT, game__in=_games_with_snapshots(sandbox.runtime))
    hashes = {slug: staged.sha256 for slug, staged in sandbox.staged_games.items()}
    wanted = current.select_related("game").order_by("game__position", "game__slug")
    return [snapshot.game for snapshot in wanted if hashes.get(snapshot.game.slug) != snapshot.sha256]


def _restage_one(sandbox_id: UUID) -> None:
    sandbox = Sandbox.objects.filter(pk=sandbox_id, state=State.READY).select_related("pool").first()
    if sandbox is None or sandbox.pool is None:
        return
    before: dict[str, StagedGame] = sandbox.staged_games
    agent = sandbox.agent()
    # Not the next free ones: a process of an attempt that was cut off may hold one.
    free = sorted(set(PORTS) - {staged.port for staged in before.values()})
    games = outdated(sandbox)
    ports = dict(zip(games, secrets.SystemRandom().sample(free, len(games)), strict=True))
    try:
        fresh = _stage_games(agent, sandbox, ports, starts=sandbox.pool.stage == Stage.STARTED, beside=True)
        if not fresh:
            return
        done = _tell(sandbox, before | fresh, f"brought up to date: {', '.join(fresh)}")
        _end_all(agent, [before[slug] for slug in fresh if slug in before] if done else fresh.values())
    except AgentError as error:
        # The fleet's looks at idle sandboxes decide what becomes of it.
        message = f"could not be brought up to date: {error}"
        journal.record(LogKind.TROUBLE, message, code=error.code, sandbox=sandbox, level=Level.WARNING)


@transaction.atomic
def _tell(sandbox: Sandbox, staged: dict[str, StagedGame], message: str) -> bool:
    """From now on it serves from these. False when somebody has taken it meanwhile."""
    Fleet.lock()  # first, because a launch that makes room writes to the log before it takes an idle one
    waiting = Sandbox.objects.select_for_update(of=("self",)).filter(pk=sandbox.pk, state=State.READY)
    if not waiting or not waiting.update(staged=write_staged(staged)):
        return False
    journal.record(LogKind.STAGE, message, sandbox=sandbox)
    return True


def _games_with_snapshots(runtime: str) -> list[Game]:
    found = []
    for game in Game.objects.playable().filter(runtime=runtime):
        try:
            current_snapshot(game)
        except SnapshotUnavailable:
            continue
        found.append(game)
    return found


def _stage_games(
    agent: SandboxAgent, sandbox: Sandbox, ports: Mapping[Game, int], *, starts: bool, beside: bool = False
) -> dict[str, StagedGame]:
    """Restore and start these, each on its port: what is staged then. Raises AgentError.

    `beside`: in folders that no game is served from, because somebody may play in the sandbox any moment.
    """
    agent.write_file(f"{GAMES_DIR}/restore.py", RESTORE_SCRIPT)
    staged: dict[str, StagedGame] = {}
    for game, port in ports.items():
        folder = f"{game.slug}@{secrets.token_hex(4)}" if beside else game.slug
        try:
            files = restore(agent, game, folder=folder)
        except NotRestored as error:
            _warn(sandbox, f"{game.slug} is not staged: {error}")
            continue
        # All start at once; then each is waited for.
        pid = start(agent, game, port, files.folder) if starts else None
        place = f"games/{files.folder}"
        staged[game.slug] = StagedGame(files.sha256, place, port, pid)
    for game, port in ports.items():
        entry = staged.get(game.slug)
        if entry is None or entry.pid is None:
            continue
        try:
            wait_until_it_answers(agent, game, entry.pid, port)
            require_running(agent, game, entry.pid)  # and it is this process that answers
            staged[game.slug] = replace(entry, started=True)
        except DeployFailed as error:
            _warn(sandbox, f"{game.slug} is staged and does not start: {error}")
            end_process(agent, entry.pid)
            staged[game.slug] = replace(entry, pid=None)
    return staged


def _warn(sandbox: Sandbox, message: str) -> None:
    journal.record(LogKind.STAGE, message, sandbox=sandbox, level=Level.WARNING)


@contextmanager
def _alone(sandbox_id: UUID) -> Iterator[bool]:
    """Whether this is the only one that stages in that sandbox."""
    name = f"stage {sandbox_id.hex}"
    try:
        held = leases.take(name, LEASE_SECONDS)
    except leases.LeaseHeld:
        yield False
        return
    try:
        yield True
    finally:
        Lease.objects.filter(name=name, holder=held.holder).delete()


def _end_all(agent: SandboxAgent, entries: Iterable[StagedGame]) -> None:
    for entry in entries:
        if entry.pid:
            end_process(agent, entry.pid)


def staged_files(sandbox: Sandbox, game: Game) -> Unpacked | None:
    """Return where this sandbox has the files of the game's current snapshot; None when it has not."""
    entry = sandbox.staged_games.get(game.slug)
    try:
        if entry is None or entry.sha256 != current_snapshot(game).sha256:
            return None
    except SnapshotUnavailable:
        return None
    return Unpacked((entry.dir or game.slug).removeprefix("games/"), entry.sha256)


def staged_port(sandbox: Sandbox, game: Game) -> int | None:
    """The port on which the game runs in this sandbox already, from its current snapshot; None when it does not."""
    entry = sandbox.staged_games.get(game.slug)
    return entry.port if entry is not None and entry.pid and staged_files(sandbox, game) else None


def end_others(sandbox: Sandbox, game: Game) -> None:
    """The sandbox serves one game now: the others that were staged in it are ended. Raises AgentError."""
    _end_all(sandbox.agent(), (entry for slug, entry in sandbox.staged_games.items() if slug != game.slug))
