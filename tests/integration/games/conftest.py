from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from games import builds
from games.models import Game, Snapshot, SnapshotState
from pools.models import Pool, Sandbox
from runs.clients import Client
from runs.launching.launch import launch
from runs.models import Run
from tests.fixtures.fleet import FleetUnderTest
from tests.fixtures.waiting import until
from tests.fixtures.web import Web
from tests.fixtures.worker import Worker


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is slow for some seconds makes no sandbox a dead one."""
    monkeypatch.setattr("runs.launching.handover.PROBE_TIMEOUT_SECONDS", 10)


@pytest.fixture
def downloads(web: Web, settings, sandbox_programs: Path) -> Web:
    """Snapshots are built beside the account, and downloaded from a real web server."""
    settings.PUBLIC_URL = web.url
    settings.LOCALCLOUD_DIR = sandbox_programs
    return web


BuildSnapshot = Callable[[Game], Snapshot]


@pytest.fixture
def build(downloads: Web, settings) -> BuildSnapshot:
    """`build(game)`: its snapshot, built beside whatever account the test has."""

    def build_one(game: Game) -> Snapshot:
        embedded, settings.CLOUD_IS_EMBEDDED = settings.CLOUD_IS_EMBEDDED, True
        try:
            assert builds.build([game]), game.snapshots.get(state=SnapshotState.FAILED).error
        finally:
            settings.CLOUD_IS_EMBEDDED = embedded
        return game.snapshots.get(state=SnapshotState.CURRENT)

    return build_one


class Site:
    """A fleet with real sandboxes and the tasks that work on it: warm a pool, launch games, see what comes of it."""

    def __init__(self, fleet: FleetUnderTest, worker: Worker) -> None:
        self.fleet, self.worker = fleet, worker

    def turn(self) -> list[str]:
        self.fleet.turn()
        return self.worker.work()

    def warm(self, pool: Pool, count: int = 1) -> list[Sandbox]:
        """Let the pool fill up to so many; its ready sandboxes, the oldest first."""
        Pool.objects.filter(pk=pool.pk).update(target_ready=count, max_ready=count, max_concurrent_creates=count)
        self.fleet.acquire(pool)  # demand
        ready = Sandbox.objects.claimable(pool)

        def is_warm() -> bool:
            self.turn()
            return len(ready.all()) == count

        until(is_warm, f"{count} warm sandboxes", seconds=60)
        return list(ready.all())

    def launch(self, game: str, mode: str = "warm", **options) -> Run:
        return launch(game=game, mode=mode, client=Client("ada"), **options)

    def play(self, game: str, mode: str = "warm", **options) -> Run:
        """Launch it and let everybody work until it is running."""
        run = self.launch(game, mode, **options)

        def is_settled() -> bool:
            self.turn()
            run.refresh_from_db()
            return run.state in ("running", "failed", "ended")

        until(is_settled, "the run is running", seconds=60)
        assert run.state == "running", run.end_reason
        return run

    def page(self, run: Run) -> str:
        """The game's page, as its sandbox gives it to the proxy."""
        return run.sandbox.agent().fetch(run.port, "/").body.decode()

    def log(self, run: Run) -> list[str]:
        return list(run.events.order_by("seq").values_list("message", flat=True))


@pytest.fixture
def site(real_fleet: FleetUnderTest, worker: Worker) -> Site:
    return Site(real_fleet, worker)
