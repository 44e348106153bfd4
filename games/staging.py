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
from django_q.tasks import async_task

from games.deploy import RESTORE_SCRIPT, NotRestored, Unpacked, restore
from games.failures import DeployFailed
from games.models import Game, Snapshot, SnapshotState
from games.processes import (
    GAMES_DIR,
    Started,
    end,
    end_all,
    end_command,
    require_running,
    start,
    wait_until_it_answers,
    warm_its_page,
)
from games.snapshots import SnapshotUnavailable, current_snapshot
from pools import claims, clock, journal, leases, stopping, taken
from pools.cloud.errors import AgentError
from pools.cloud.sandbox_agent import SandboxAgent
from pools.models import Fleet, Lease, Level, Sandbox, Stage, State
from pools.reasons import LogKind
from pools.staged import StagedGame
from pools.staged import write as write_staged
from pools.tenure import LEASE_SECONDS, Tenure, TenureLost, kept
from pools.traces import span

PORTS = range(5000, 6000)  # staged side by side, each game gets one of its own


def stage(sandbox_id: UUID) -> None:
    """Stage what there is to stage, then call the sandbox ready. A game that can't be staged is left out."""
    with _alone(sandbox_id) as hold:
        sandbox = Sandbox.objects.filter(pk=sandbox_id, state=State.STAGING).select_related("pool").first()
        if hold is None or sandbox is None or sandbox.pool is None:
            return
        try:
            with sandbox.is_subject(), span("stage", pool=sandbox.pool.name):
                staged = _stage_from_the_start(sandbox, hold, starts=sandbox.pool.stage == Stage.STARTED)
        except TenureLost:
            _drop(sandbox)
            return
        except taken.SandboxTaken as found:
            claims.leave_alone(sandbox.id, found.run, clock.now(), frm=[State.STAGING])
            return
        except AgentError as error:
            # It stays in STAGING; the planner asks again or gives it up.
            message = f"staging failed: {error}"
            journal.record(LogKind.TROUBLE, message, code=error.code, sandbox=sandbox, level=Level.WARNING)
            return
        if not _finish(sandbox, hold, staged):
            return
        sandbox.refresh_from_db()
        if outdated(sandbox):  # something was published meanwhile
            async_task("games.tasks.restage", task_name="restage", group="stage")


@transaction.atomic
def _finish(sandbox: Sandbox, hold: Hold, staged: Mapping[str, StagedGame]) -> bool:
    """It is ready with these. False when somebody else has begun to stage it meanwhile, or it is not staging."""
    Fleet.lock()
    if not hold.is_mine():
        _drop(sandbox)
        return False
    return claims.finish_staging(sandbox.id, staged, clock.now())


def _drop(sandbox: Sandbox) -> None:
    message = "a worker that was held up came too late with what it staged"
    journal.record(LogKind.STAGE, message, sandbox=sandbox)


def _stage_from_the_start(sandbox: Sandbox, hold: Hold, *, starts: bool) -> dict[str, StagedGame]:
    games = _games_with_snapshots(sandbox.runtime)
    if not games:
        return {}
    agent = sandbox.agent()
    taken.require_free(agent.processes())
    hold.require()
    end_all(agent)  # an attempt before this one may have been cut off
    ports = dict(zip(games, PORTS, strict=False))
    return _stage_games(agent, sandbox, ports, hold, starts=starts)


def restage() -> None:
    """Bring every warm sandbox that holds other snapshots than the current up to date, one after the other. Raises
    Stopping between two of them."""
    for sandbox in Sandbox.objects.filter(state=State.READY, pool__isnull=False).select_related("pool"):
        if outdated(sandbox):
            stopping.require_time()
            with sandbox.is_subject(), span("restage"), _alone(sandbox.id) as hold:
                if hold is not None:
                    _restage_one(sandbox.id, hold)


def outdated(sandbox: Sandbox) -> list[Game]:
    """The games that are staged in this warm sandbox from another snapshot than the current one, or not at all."""
    if sandbox.pool is None or sandbox.pool.stage == Stage.NONE:
        return []
    current = Snapshot.objects.filter(state=SnapshotState.CURRENT, game__in=_games_with_snapshots(sandbox.runtime))
    hashes = {slug: staged.sha256 for slug, staged in sandbox.staged_games.items()}
    wanted = current.select_related("game").order_by("game__position", "game__slug")
    return [snapshot.game for snapshot in wanted if hashes.get(snapshot.game.slug) != snapshot.sha256]


def _restage_one(sandbox_id: UUID, hold: Hold) -> None:
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
        taken.require_free(agent.processes())
        starts = sandbox.pool.stage == Stage.STARTED
        fresh = _stage_games(agent, sandbox, ports, hold, starts=starts, beside=True)
        if not fresh:
            return
        done = _tell(sandbox, hold, before | fresh, f"brought up to date: {', '.join(fresh)}")
        _end_all(agent, [before[slug] for slug in fresh if slug in before] if done else fresh.values())
    except TenureLost:
        _drop(sandbox)
    except taken.SandboxTaken as found:
        claims.leave_alone(sandbox.id, found.run, clock.now(), frm=[State.READY])
    except AgentError as error:
        # The fleet's looks at idle sandboxes decide what becomes of it.
        message = f"could not be brought up to date: {error}"
        journal.record(LogKind.TROUBLE, message, code=error.code, sandbox=sandbox, level=Level.WARNING)


@transaction.atomic
def _tell(sandbox: Sandbox, hold: Hold, staged: dict[str, StagedGame], message: str) -> bool:
    """From now on it serves from these. False when somebody has taken it meanwhile."""
    Fleet.lock()  # first, because a launch that makes room writes to the log before it takes an idle one
    if not hold.is_mine():
        return False
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
    agent: SandboxAgent,
    sandbox: Sandbox,
    ports: Mapping[Game, int],
    hold: Hold,
    *,
    starts: bool,
    beside: bool = False,
) -> dict[str, StagedGame]:
    """Restore and start these, each on its port: what is staged then. Raises AgentError, TenureLost.

    `beside`: in folders that no game is served from, because somebody may play in the sandbox any moment.
    """
    agent.write_file(f"{GAMES_DIR}/restore.py", RESTORE_SCRIPT)
    staged: dict[str, StagedGame] = {}
    started: dict[str, Started] = {}
    for game, port in ports.items():
        folder = f"{game.slug}@{secrets.token_hex(4)}" if beside else game.slug
        try:
            files = restore(agent, game, folder=folder)
        except NotRestored as error:
            _warn(sandbox, f"{game.slug} is not staged: {error}")
            continue
        hold.require()
        # All start at once; then each is waited for.
        if starts:
            started[game.slug] = start(agent, game, port, files.folder)
        pid = started[game.slug].pid if starts else None
        staged[game.slug] = StagedGame(files.sha256, f"games/{files.folder}", port, pid)
    for game, port in ports.items():
        if game.slug not in started:
            continue
        entry, process = staged[game.slug], started[game.slug]
        try:
            wait_until_it_answers(agent, game, process, port)
            warm_its_page(agent, game, port)
            require_running(agent, game, process.pid)  # looks at the idle sandbox go by this process
            staged[game.slug] = replace(entry, started=True)
        except DeployFailed as error:
            hold.require()
            _warn(sandbox, f"{game.slug} is staged and does not start: {error}")
            end(agent, [process.pid])
            staged[game.slug] = replace(entry, pid=None)
    return staged


def _warn(sandbox: Sandbox, message: str) -> None:
    journal.record(LogKind.STAGE, message, sandbox=sandbox, level=Level.WARNING)


class Hold:
    """The right to stage in one sandbox: a lease, whose holder is the token that `is_mine` compares."""

    def __init__(self, held: leases.Held, tenure: Tenure) -> None:
        self._held, self._tenure = held, tenure

    def require(self) -> None:
        """Raises TenureLost when somebody else may stage in it by now."""
        self._tenure.require()

    def is_mine(self) -> bool:
        """Whether nobody has taken over. Inside a transaction nobody can until its end."""
        return Lease.objects.select_for_update().filter(name=self._held.name, holder=self._held.holder).exists()


@contextmanager
def _alone(sandbox_id: UUID) -> Iterator[Hold | None]:
    """The right to stage in that sandbox, kept while the block runs; None when somebody living has it."""
    try:
        held = leases.take(claims.staging_lease(sandbox_id), LEASE_SECONDS)
    except leases.LeaseHeld:
        yield None
        return
    try:
        with kept(held.is_renewed) as tenure:
            yield Hold(held, tenure)
    finally:
        Lease.objects.filter(name=held.name, holder=held.holder).delete()


def _end_all(agent: SandboxAgent, entries: Iterable[StagedGame]) -> None:
    end(agent, (entry.pid for entry in entries if entry.pid))


def staged_files(sandbox: Sandbox, game: Game) -> Unpacked | None:
    """Return where this sandbox has the files of the game's current snapshot; None when it has not."""
    entry = sandbox.staged_games.get(game.slug)
    try:
        if entry is None or entry.sha256 != (game.current_sha256 or current_snapshot(game).sha256):
            return None
    except SnapshotUnavailable:
        return None
    return Unpacked((entry.dir or game.slug).removeprefix("games/"), entry.sha256)


def staged_port(sandbox: Sandbox, game: Game) -> int | None:
    """The port on which the game runs in this sandbox already, from its current snapshot; None when it does not."""
    entry = sandbox.staged_games.get(game.slug)
    return entry.port if entry is not None and entry.pid and staged_files(sandbox, game) else None


def end_others(sandbox: Sandbox, game: Game, run_id: UUID) -> None:
    """The sandbox serves one run now, and is to remember it: the other games that were staged in it are ended. Raises
    AgentError."""
    others = (entry.pid for slug, entry in sandbox.staged_games.items() if slug != game.slug)
    sandbox.agent().start(taken.marked(end_command(pid for pid in others if pid), run_id))
