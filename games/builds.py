"""Snapshots are built one at a time: source and dependencies in a sandbox, packed, tried out, kept."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

from django.conf import settings

from games.build_sandbox import workbench
from games.deploy import RESTORE_SCRIPT, build_from_source, say_nothing
from games.failures import DeployFailed, explanation
from games.models import Game, Snapshot, SnapshotState
from games.processes import GAMES_DIR, end, start, wait_until_it_answers
from games.snapshots import MOST_BYTES, note, prune, publish
from pools import clock, leases
from pools.cloud.errors import AgentError
from pools.cloud.sandbox_agent import SandboxAgent
from pools.models import Level
from pools.stopping import Stopping
from pools.tenure import LEASE_SECONDS, Tenure, TenureLost, kept

PACK_SCRIPT = (Path(__file__).parent / "sandbox" / "pack.py").read_text()
PACK_SECONDS = 60
RETRY_FIRST = timedelta(minutes=10)
RETRY_MOST = timedelta(hours=1)


class BuildFailed(Exception):
    """It could not be built; the message says why."""


class Busy(Exception):
    """Somebody else is building."""


def may_build_by_itself() -> bool:
    """Only where building creates nothing in an account that somebody pays for."""
    return bool(settings.CLOUD_IS_EMBEDDED)


def missing() -> list[Game]:
    """The games whose current source has no snapshot."""
    current = Snapshot.objects.filter(state=SnapshotState.CURRENT)
    built = set(current.values_list("game_id", "source_digest"))
    return [game for game in Game.objects.playable() if (game.pk, game.source_digest) not in built]


def due(now: datetime) -> list[Game]:
    """Those that are missing and did not fail just now: each failure doubles the wait for the next attempt."""
    return [game for game in missing() if _may_try(game, now)]


def _may_try(game: Game, now: datetime) -> bool:
    failed = game.snapshots.filter(state=SnapshotState.FAILED, source_digest=game.source_digest, sha256="")
    last = failed.order_by("-started_at").first()
    if last is None:
        return True
    wait: timedelta = min(RETRY_MOST, RETRY_FIRST * 2 ** (failed.count() - 1))
    return now >= last.started_at + wait


@contextmanager
def _alone() -> Iterator[Tenure]:
    """One build at a time, wherever it was started. Raises Busy."""
    try:
        with leases.hold("snapshots", LEASE_SECONDS) as lease, kept(lease.is_renewed) as tenure:
            # Whoever was building when we got the lease has died over it.
            Snapshot.objects.filter(state=SnapshotState.BUILDING).delete()
            yield tenure
    except (leases.LeaseHeld, TenureLost):
        raise Busy("Snapshots are being built already.") from None


def build(games: Iterable[Game], *, actor: str = "", first: int = 1, of: int | None = None) -> list[Snapshot]:
    """Build each; what fails is recorded and does not keep the others from being built. Raises Busy.

    `first` and `of` count for the log when the games are some of more.
    """
    games = list(games)
    built = []
    with _alone() as tenure:
        for number, game in enumerate(games, start=first):
            tenure.require()
            note(f"Snapshot of {game.slug}: building, {number} of {of or len(games)}", actor=actor)
            try:
                built.append(_build_one(game, tenure))
            except BuildFailed as error:
                note(f"Snapshot of {game.slug} could not be built: {error}", level=Level.WARNING, actor=actor)
            prune(game)
    return built


def _build_one(game: Game, tenure: Tenure) -> Snapshot:
    snapshot = Snapshot.objects.create(game=game, source_digest=game.source_digest, started_at=clock.now())
    try:
        with tempfile.TemporaryFile() as archive:
            with workbench(game.runtime, reason=f"build the snapshot of {game.slug}") as agent:
                _pack(agent, game, archive)
            tenure.require()
            publish(snapshot, archive, clock.now())
    except (TenureLost, Stopping):  # the next one to build begins anew
        raise
    except Exception as error:  # the row says it, whatever it was
        why = str(error) or type(error).__name__
        Snapshot.objects.filter(pk=snapshot.pk).update(state=SnapshotState.FAILED, error=why)
        raise BuildFailed(why) from error
    snapshot.refresh_from_db()
    return snapshot


def _pack(agent: SandboxAgent, game: Game, archive: IO[bytes]) -> None:
    try:
        build_from_source(agent, game, say_nothing)
        agent.write_file(f"{GAMES_DIR}/pack.py", PACK_SCRIPT)
        result = agent.run(f"python3 pack.py {game.slug} snapshot.tar.gz", cwd=GAMES_DIR, timeout_seconds=PACK_SECONDS)
        if result.exit_code != 0:
            raise BuildFailed(f"it could not be packed: {explanation(result.stderr.splitlines(), result.exit_code)}")
        _try_out(agent, game)
        size = agent.run("wc -c < snapshot.tar.gz", cwd=GAMES_DIR, timeout_seconds=PACK_SECONDS).stdout.strip()
        if size.isdecimal() and int(size) > MOST_BYTES:
            raise BuildFailed(f"it has {size} bytes, and sandboxes take {MOST_BYTES}")
        agent.read_file(f"{GAMES_DIR}/snapshot.tar.gz", archive, most_bytes=MOST_BYTES)
    except DeployFailed as error:
        raise BuildFailed(str(error)) from error
    except AgentError as error:
        raise BuildFailed(f"the builder's sandbox stopped answering: {error}") from error


def _try_out(agent: SandboxAgent, game: Game) -> None:
    """Unpack what was packed, as a sandbox will, and start it: a snapshot that does not run is not kept."""
    agent.write_file(f"{GAMES_DIR}/restore.py", RESTORE_SCRIPT)
    unpack = (
        f"import os, restore; os.mkdir('tried'); restore.unpack(open('snapshot.tar.gz', 'rb'), 'tried', {MOST_BYTES})"
    )
    result = agent.run(f"python3 -c {shlex.quote(unpack)}", cwd=GAMES_DIR, timeout_seconds=PACK_SECONDS)
    if result.exit_code != 0:
        raise BuildFailed(f"what was packed can't be unpacked: {explanation(result.stderr.splitlines())}")
    started = start(agent, game, game.port, "tried")
    try:
        wait_until_it_answers(agent, game, started, game.port)
    finally:
        end(agent, [started.pid])
