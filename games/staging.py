"""While a sandbox warms up it gets the games of its runtime: their files, and their processes started and checked."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from django.utils import timezone

from games.deploy import (
    GAMES_DIR,
    RESTORE_SCRIPT,
    DeployFailed,
    end_process,
    restore,
    start,
    wait_until_it_answers,
)
from games.models import Game
from games.snapshots import SnapshotUnavailable, current_snapshot
from pools import claims, journal
from pools.cloud.account import agent_of
from pools.cloud.errors import AgentError
from pools.cloud.sandbox_agent import SandboxAgent
from pools.models import Level, Sandbox, Stage, State

logger = logging.getLogger(__name__)
FIRST_PORT = 5000  # staged side by side, each game gets a port of its own


def stage(sandbox_id: UUID) -> None:
    """Stage what there is to stage, then call the sandbox ready. A game that can't be staged is left out."""
    sandbox = Sandbox.objects.filter(pk=sandbox_id, state=State.STAGING).select_related("pool").first()
    if sandbox is None or sandbox.pool is None:
        return
    agent = agent_of(sandbox)
    staged: dict[str, Any] = {}
    try:
        for process in agent.processes():  # an attempt before this one may have been cut off
            if process.is_running:
                end_process(agent, process.pid)
        agent.write_file(f"{GAMES_DIR}/restore.py", RESTORE_SCRIPT)
        games = Game.objects.playable().filter(runtime=sandbox.runtime)
        for port, game in enumerate(games, start=FIRST_PORT):
            entry = _stage_one(agent, game, port, start_it=sandbox.pool.stage == Stage.STARTED)
            if entry is not None:
                staged[game.slug] = entry
    except AgentError as error:
        # It stays in STAGING; the planner asks again or gives it up.
        journal.record("trouble", f"staging failed: {error}", sandbox=sandbox, level=Level.WARNING)
        return
    claims.finish_staging(sandbox.id, staged, timezone.now())


def _stage_one(agent: SandboxAgent, game: Game, port: int, *, start_it: bool) -> dict[str, Any] | None:
    try:
        current_snapshot(game)
    except SnapshotUnavailable as error:
        logger.info("%s is not staged: %s", game.slug, error)
        return None
    sha256 = restore(agent, game, _log)
    if not sha256:
        return None
    entry: dict[str, Any] = {"sha256": sha256, "port": port, "pid": None, "started": False}
    if start_it:
        entry["pid"] = start(agent, game, port)
        try:
            wait_until_it_answers(agent, game, entry["pid"], port)
        except DeployFailed as error:
            logger.warning("%s is staged, but does not start: %s", game.slug, error)
            end_process(agent, entry["pid"])
            entry["pid"] = None
        entry["started"] = entry["pid"] is not None
    return entry


def _log(message: str, level: str = "info") -> None:
    logger.log(logging.WARNING if level == "warning" else logging.DEBUG, "%s", message)


def staged_port(sandbox: Sandbox, game: Game) -> int | None:
    """The port on which the game runs in this sandbox already, from its current snapshot; None when it does not."""
    entry = sandbox.staged.get(game.slug)
    if not entry or not entry.get("pid"):
        return None
    try:
        is_current = entry["sha256"] == current_snapshot(game).sha256
    except SnapshotUnavailable:
        return None
    return int(entry["port"]) if is_current else None


def end_others(sandbox: Sandbox, game: Game) -> None:
    """The sandbox serves one game now: the others that were staged in it are ended. Raises AgentError."""
    agent = agent_of(sandbox)
    for slug, entry in sandbox.staged.items():
        if slug != game.slug and entry.get("pid"):
            end_process(agent, entry["pid"])
