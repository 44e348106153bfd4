"""Snapshots: a game with its dependencies, built once in a sandbox of its runtime, kept by the hash of its bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.db import IntegrityError, transaction
from django.utils import timezone

from games import downloads
from games.models import Game, Snapshot, SnapshotState
from pools import journal
from pools.cloud.errors import AgentError
from pools.models import Level, Pool
from pools.nudge import nudge

PACK_SCRIPT = (Path(__file__).parent / "sandbox" / "pack.py").read_text()
PACK_SECONDS = 120
STALE_SECONDS = 900  # a build that old was cut off
OLD_KEPT = 2  # runs that began a moment ago may still download the one before


class SnapshotUnavailable(Exception):
    """There is no snapshot to deploy from now; the message says why."""


class SnapshotFailed(Exception):
    """It could not be built; the message says why."""


def storage() -> Storage:
    return storages["snapshots"]


def current_snapshot(game: Game) -> Snapshot:
    """The snapshot of the game as it is now. Raises SnapshotUnavailable."""
    snapshot = game.snapshots.filter(state=SnapshotState.CURRENT).first()
    if snapshot is None:
        building = game.snapshots.filter(state=SnapshotState.BUILDING).exists()
        raise SnapshotUnavailable("it is being built" if building else "none was built yet")
    if snapshot.source_digest != game.source_digest:
        raise SnapshotUnavailable("the game has changed since it was built")
    return snapshot


def download_url(snapshot: Snapshot) -> str:
    """Where a sandbox can download it, for a while. Raises SnapshotUnavailable when the storage can't be reached."""
    store = storage()
    if isinstance(store, FileSystemStorage):
        return downloads.signed_url(snapshot.storage_key)
    try:
        return store.url(snapshot.storage_key)
    except Exception as error:
        raise SnapshotUnavailable(f"the storage can't be reached ({type(error).__name__})") from error


def missing() -> list[Game]:
    """The games whose current source has no snapshot."""
    return [game for game in Game.objects.playable() if not _has_current(game)]


def _has_current(game: Game) -> bool:
    return game.snapshots.filter(state=SnapshotState.CURRENT, source_digest=game.source_digest).exists()


def build(games: Iterable[Game], *, actor: str = "") -> list[Snapshot]:
    """Build each in a sandbox of its runtime; what fails is recorded and does not keep the others from being built."""
    games = list(games)
    before = {game.slug: _current_hash(game) for game in games}
    built = []
    for number, game in enumerate(games, start=1):
        _say(f"snapshot of {game.slug}: building, {number} of {len(games)}", actor=actor)
        try:
            built.append(build_one(game))
        except SnapshotFailed as error:
            _say(f"snapshot of {game.slug} failed: {error}", level=Level.WARNING, actor=actor)
    _restage({game.runtime for game in games if _current_hash(game) != before[game.slug]})
    return built


def _current_hash(game: Game) -> str:
    current = game.snapshots.filter(state=SnapshotState.CURRENT).first()
    return current.sha256 if current else ""


@transaction.atomic
def _restage(runtimes: set[str]) -> None:
    """Warm sandboxes that hold other snapshots than the current are replaced, one by one."""
    pools = Pool.objects.filter(runtime__in=runtimes).exclude(stage="none")
    if pools.update(recycle_before=timezone.now()):
        nudge()


def build_one(game: Game) -> Snapshot:
    """Build, keep and publish one. Raises SnapshotFailed, also when somebody else is building it."""
    from games.workbench import workbench

    now = timezone.now()
    stale = now - timedelta(seconds=STALE_SECONDS)
    game.snapshots.filter(state=SnapshotState.BUILDING, started_at__lt=stale).update(
        state=SnapshotState.FAILED, error="the builder was stopped"
    )
    try:
        with transaction.atomic():
            snapshot = Snapshot.objects.create(game=game, source_digest=game.source_digest, started_at=now)
    except IntegrityError:
        raise SnapshotFailed("it is being built already") from None
    try:
        with workbench(game.runtime, reason=f"build the snapshot of {game.slug}") as agent:
            data = _packed(agent, game)
        _publish(snapshot, data, timezone.now())
    except Exception as error:
        Snapshot.objects.filter(pk=snapshot.pk).update(state=SnapshotState.FAILED, error=str(error))
        raise SnapshotFailed(str(error)) from error
    snapshot.refresh_from_db()
    return snapshot


def _packed(agent: object, game: Game) -> bytes:
    from games.deploy import GAMES_DIR, DeployFailed, build_from_source
    from pools.cloud.sandbox_agent import SandboxAgent

    assert isinstance(agent, SandboxAgent)  # noqa: S101  what a workbench gives
    try:
        build_from_source(agent, game, lambda message, level="info": None)
        agent.write_file(f"{GAMES_DIR}/pack.py", PACK_SCRIPT)
        result = agent.run(f"python3 pack.py {game.slug} snapshot.tar.gz", cwd=GAMES_DIR, timeout_seconds=PACK_SECONDS)
        if result.exit_code != 0:
            raise SnapshotFailed(f"it could not be packed: {result.stderr.strip()[-300:]}")
        return agent.read_file(f"{GAMES_DIR}/snapshot.tar.gz")
    except DeployFailed as error:
        raise SnapshotFailed(str(error)) from error
    except AgentError as error:
        raise SnapshotFailed(f"the builder's sandbox stopped answering: {error}") from error


def _publish(snapshot: Snapshot, data: bytes, now: datetime) -> None:
    """Keep the bytes under their hash, then make them current."""
    game = snapshot.game
    sha256 = hashlib.sha256(data).hexdigest()
    key = f"{game.snapshot_name}/{sha256}.tar.gz"
    store = storage()
    if store.exists(key):
        store.delete(key)  # the same bytes, unless somebody damaged them
    key = store.save(key, ContentFile(data))
    with transaction.atomic():
        game.snapshots.filter(state=SnapshotState.CURRENT).update(state=SnapshotState.OLD)
        Snapshot.objects.filter(pk=snapshot.pk).update(
            state=SnapshotState.CURRENT, sha256=sha256, storage_key=key, size_bytes=len(data), built_at=now
        )
        _say(f"snapshot of {game.slug} is ready: {len(data) // 1024} KiB, {sha256[:12]}")
    prune(game)


def prune(game: Game) -> int:
    """Delete the files of old snapshots but the last few; how many went."""
    keep = set(game.snapshots.filter(state=SnapshotState.CURRENT).values_list("storage_key", flat=True))
    pruned = 0
    for old in game.snapshots.filter(state=SnapshotState.OLD).order_by("-built_at")[OLD_KEPT:]:
        if old.storage_key not in keep:
            storage().delete(old.storage_key)
        old.delete()
        pruned += 1
    return pruned


def _say(message: str, *, level: Level = Level.INFO, actor: str = "") -> None:
    journal.record("snapshot", message, level=level, actor=actor)


def may_build_by_itself() -> bool:
    """Only where building creates nothing in an account that somebody pays for."""
    return bool(settings.CLOUD_IS_EMBEDDED)
