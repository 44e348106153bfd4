"""Snapshots: a game with its dependencies, packed once in a sandbox of its runtime, kept by the hash of its bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import PurePosixPath
from typing import IO

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.db import transaction

from games import downloads
from games.models import Game, Snapshot, SnapshotState
from pools import journal
from pools.cloud.bounded import TooLarge
from pools.models import Level
from pools.reasons import LogKind

OLD_KEPT = 2  # runs that began a moment ago may still download the one before
FAILED_KEPT = 5
MOST_BYTES = 256 * 1024**2  # what restore.py takes
READ_BYTES = 1024 * 1024


class SnapshotUnavailable(Exception):
    """There is no snapshot to deploy from now; the message says why."""


class Superseded(Exception):
    """Whoever built this was held up, and somebody else has begun anew."""


def storage() -> Storage:
    return storages["snapshots"]


def current_snapshot(game: Game) -> Snapshot:
    """The snapshot of the game as it is now. Raises SnapshotUnavailable."""
    snapshot = game.snapshots.filter(state=SnapshotState.CURRENT).first()
    if snapshot is not None and snapshot.source_digest == game.source_digest:
        return snapshot
    if game.snapshots.filter(state=SnapshotState.BUILDING).exists():
        raise SnapshotUnavailable("it is being built")
    raise SnapshotUnavailable("none was built yet" if snapshot is None else "the game has changed since it was built")


def download_url(snapshot: Snapshot) -> str:
    """Return an address for a sandbox's download, good for a while. Raises SnapshotUnavailable when storage fails."""
    store = storage()
    if isinstance(store, FileSystemStorage):
        return downloads.signed_url(snapshot.storage_key)
    try:
        return store.url(snapshot.storage_key)
    except Exception as error:  # each storage has errors of its own
        raise SnapshotUnavailable(f"the storage can't be reached ({type(error).__name__})") from error


def publish(snapshot: Snapshot, archive: IO[bytes], now: datetime) -> None:
    """Keep the archive's bytes under their hash, then make them current. Raises what the storage raises; Superseded."""
    game = snapshot.game
    size = archive.seek(0, os.SEEK_END)
    archive.seek(0)
    sha256 = _sha256(iter(lambda: archive.read(READ_BYTES), b""))
    key = f"{game.snapshot_name}/{sha256}.tar.gz"
    store = storage()
    if _hash_of(key) != sha256:
        if store.exists(key):
            store.delete(key)  # damaged
        archive.seek(0)
        saved = store.save(key, File(archive, name=key))
        if PurePosixPath(saved) != PurePosixPath(key):  # somebody else saved the same bytes at this moment
            store.delete(saved)
    fields = {"sha256": sha256, "storage_key": key, "size_bytes": size, "built_at": now, "progress": ""}
    with transaction.atomic():
        building = Snapshot.objects.select_for_update().filter(pk=snapshot.pk, state=SnapshotState.BUILDING)
        if building.first() is None:
            raise Superseded("another one has taken over, and builds it")
        earlier = game.snapshots.filter(state=SnapshotState.CURRENT).first()
        game.snapshots.filter(storage_key=key).delete()  # one row for each file
        game.snapshots.filter(state=SnapshotState.CURRENT).update(state=SnapshotState.OLD)
        game.snapshots.filter(state=SnapshotState.FAILED, source_digest=snapshot.source_digest).delete()
        Snapshot.objects.filter(pk=snapshot.pk).update(state=SnapshotState.CURRENT, **fields)
        how = "unchanged" if earlier is not None and earlier.sha256 == sha256 else "ready"
        note(f"Snapshot of {game.slug} is {how}: {size / 1024:.0f} KiB, {sha256[:12]}")


def take_back(game: Game) -> bool:
    """Make the snapshot current that was built of the game's source as it is now, if it is kept. Whether one is
    current. Raises what the storage raises."""
    built = game.snapshots.filter(source_digest=game.source_digest)
    kept = built.filter(state=SnapshotState.OLD).order_by("-built_at").first()
    if kept is None or not storage().exists(kept.storage_key):
        return built.filter(state=SnapshotState.CURRENT).exists()
    with transaction.atomic():
        game.snapshots.filter(state=SnapshotState.CURRENT).update(state=SnapshotState.OLD)
        return built.filter(pk=kept.pk, state=SnapshotState.OLD).update(state=SnapshotState.CURRENT) == 1


def check(snapshot: Snapshot) -> bool:
    """Whether the storage still holds the bytes that were built. What is missing or damaged is no longer current, and
    is built again; a storage that can't be reached proves nothing. False when it is damaged."""
    try:
        found = _hash_of(snapshot.storage_key)
    except Exception as error:
        note(f"Snapshot of {snapshot.game.slug}: its storage can't be reached ({error})", level=Level.WARNING)
        return True
    if found == snapshot.sha256:
        return True
    why = "its file is missing in the storage" if not found else "its file was damaged in the storage"
    with transaction.atomic():
        current = Snapshot.objects.filter(pk=snapshot.pk, state=SnapshotState.CURRENT)
        if current.update(state=SnapshotState.FAILED, error=why):
            note(f"Snapshot of {snapshot.game.slug} can't be used any more: {why}", level=Level.WARNING)
    return False


def _hash_of(key: str) -> str:
    """The hash of what lies there; empty when nothing does, or more than any snapshot has. Raises what the storage
    raises when it can't tell."""
    try:
        return _sha256(pieces_of(key, MOST_BYTES))
    except (FileNotFoundError, TooLarge):
        return ""


def pieces_of(key: str, most_bytes: int) -> Iterator[bytes]:
    """What lies there. Raises FileNotFoundError when nothing does, TooLarge, and what the storage raises."""
    store = storage()
    # Of a storage on the network, whose library is loaded only where it is used.
    if pieces := getattr(store, "pieces", None):
        yield from pieces(key, most_bytes)
        return
    with store.open(key) as file:
        yield from file.chunks(READ_BYTES)


def _sha256(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def prune(game: Game) -> int:
    """Delete what nobody needs: old snapshots but the last few, with their files; how many went. What the storage does
    not delete now is left for the next time."""
    old = game.snapshots.filter(state=SnapshotState.OLD).order_by("-built_at")[OLD_KEPT:]
    failed = game.snapshots.filter(state=SnapshotState.FAILED).order_by("-started_at")[FAILED_KEPT:]
    pruned = 0
    for snapshot in [*old, *failed]:
        try:
            if snapshot.storage_key:
                storage().delete(snapshot.storage_key)
        except Exception as error:  # each storage has errors of its own
            note(f"Old snapshots of {game.slug} can't be deleted now: {error}", level=Level.WARNING)
            break
        snapshot.delete()
        pruned += 1
    return pruned


def note(message: str, *, level: Level = Level.INFO, actor: str = "") -> None:
    """A line about snapshots in the orchestrator log."""
    journal.record(LogKind.SNAPSHOT, message, level=level, actor=actor)
