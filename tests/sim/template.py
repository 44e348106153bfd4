"""The database that every simulated installation begins with: migrated, with three games and two pools."""

from __future__ import annotations

import sqlite3

from django.core.management import call_command

from games.models import Game, Snapshot, SnapshotState
from pools.models import Fleet, Pool, Runtime, Stage
from tests.sim.database import store
from tests.sim.kernel import BEGIN

GAMES = (("snake", Runtime.PYTHON), ("memory", Runtime.PYTHON), ("tic-tac-toe", Runtime.NODE))
INSTALLATION = "5" * 32


def build() -> sqlite3.Connection:
    """Make it, in the shared connection, and return a copy."""
    call_command("migrate", interactive=False, verbosity=0)
    for position, (slug, runtime) in enumerate(GAMES):
        game = Game.objects.create(
            slug=slug,
            title=slug.title(),
            runtime=runtime,
            install_command="install",
            run_command=f"run {slug}",
            health_path="/api/health",
            snapshot_name=f"{slug}-{runtime}",
            repository_url=f"https://code.example.com/{slug}.git",
            source_digest=slug.ljust(64, "0"),
            position=position,
        )
        Snapshot.objects.create(
            game=game,
            state=SnapshotState.CURRENT,
            source_digest=game.source_digest,
            sha256=f"{position + 1}" * 64,
            storage_key=f"{slug}.tar.gz",
            size_bytes=1000,
            started_at=BEGIN,
            built_at=BEGIN,
        )
    for runtime, target, stage in ((Runtime.PYTHON, 2, Stage.STARTED), (Runtime.NODE, 1, Stage.FILES)):
        Pool.objects.create(
            name=str(runtime),
            runtime=runtime,
            image=f"example/sandbox-{runtime}:1",
            region="syd",
            size="apps-s-1vcpu-1gb",
            target_ready=target,
            max_ready=target + 2,
            max_concurrent_creates=2,
            stage=stage,
        )
    Fleet.get()
    Fleet.objects.update(installation=INSTALLATION)
    return store.copied()
