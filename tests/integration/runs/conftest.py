from __future__ import annotations

import pytest
from django.utils import timezone

from games.models import Game, Snapshot
from pools.models import Pool, Sandbox, State
from runs.clients import Client
from runs.launching.launch import launch
from runs.models import Run, RunState


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is slow for some seconds makes no sandbox a dead one."""
    monkeypatch.setattr("runs.launching.handover.PROBE_TIMEOUT_SECONDS", 10)


@pytest.fixture
def game(transactional_db) -> Game:
    """A Python game without a snapshot; on paper, every command in a sandbox succeeds."""
    return Game.objects.create(
        slug="snake", title="Snake", runtime="python", run_command="python3 server.py", snapshot_name="snake-python",
        repository_url="file:///nowhere", source_digest="0" * 64,
    )  # fmt: skip


@pytest.fixture
def staged(paper_fleet, pool, game, worker) -> Sandbox:
    """A warm sandbox in which Snake runs already."""
    snapshot = Snapshot.objects.create(
        game=game, state="current", sha256="a" * 64, source_digest=game.source_digest, started_at=timezone.now()
    )
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    entry = {"snake": {"sha256": snapshot.sha256, "port": 5000, "pid": 1}}
    Sandbox.objects.filter(state=State.READY).update(staged=entry)
    return Sandbox.objects.get(state=State.READY)


@pytest.fixture
def deploying(paper_fleet, pool, game) -> Run:
    """A run whose game is to be deployed into its warm sandbox."""
    Pool.objects.update(target_ready=2, max_ready=2)
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    run = launch(game="snake", mode="warm", client=Client("ada"))
    assert run.state == RunState.DEPLOYING
    return run
