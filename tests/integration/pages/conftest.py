"""Games, runs and sandboxes as rows, for pages that only look at them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from games.models import Game
from pools.models import Pool, Sandbox, State
from runs.models import Run, RunState
from runs.visitors import SESSION_KEY, visitor_of

COVER = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 5"><rect width="8" height="5"/></svg>'


@pytest.fixture
def snake(db: None) -> Game:
    return Game.objects.create(
        slug="snake",
        title="Snake",
        tagline="Eat and grow.",
        description="The classic.",
        how_to_play="Arrow keys.",
        runtime="python",
        run_command="python server.py",
        snapshot_name="snake-python",
        cover=COVER,
    )


@pytest.fixture
def pool(db: None) -> Pool:
    return Pool.objects.create(name="python", runtime="python", image="a/b:c", region="syd", size="apps-s-1vcpu-1gb")


@pytest.fixture
def make_sandbox(pool: Pool) -> Callable[..., Sandbox]:
    """A sandbox of the pool in a state, with the timestamps that the state needs."""

    def make(state: State = State.READY, **fields: Any) -> Sandbox:
        now = timezone.now()
        fields = {
            "pool": pool,
            "runtime": "python",
            "origin": "pool",
            "requested_at": now - timedelta(minutes=1),
        } | fields
        if state == State.READY:
            fields.setdefault("ready_at", now)
        if state == State.IN_USE:
            fields.setdefault("acquired_at", now)
        count = Sandbox.objects.count()
        return Sandbox.objects.create(
            name=f"sandbox-{count:08x}", state=state, create_code="demand", create_reason="a test wants it",
            image=pool.image, region=pool.region, size=pool.size, **fields,
        )  # fmt: skip

    return make


@pytest.fixture
def player(client: Client, db: None) -> Client:
    """A visitor who has been here before."""
    session = client.session
    session[SESSION_KEY] = "somebody"
    session.save()
    return client


@pytest.fixture
def players_name(player: Client, rf: Any) -> str:
    request = rf.get("/")
    request.session = player.session
    return visitor_of(request)


@pytest.fixture
def make_run(snake: Game, players_name: str) -> Callable[..., Run]:
    """A run of the player's, or of somebody else's with `visitor`."""

    def make(state: RunState = RunState.RUNNING, **fields: Any) -> Run:
        now = timezone.now()
        fields = {
            "game": snake,
            "mode": "warm",
            "served_by": "pool",
            "visitor": players_name,
            "created_at": now,
        } | fields
        if state in (RunState.ENDED, RunState.FAILED):
            fields = {"end_code": "time_up", "end_reason": "Its time was up.", "ended_at": now} | fields
        if state in (RunState.RUNNING, RunState.ENDED):
            measured = {"acquire_ms": 30, "bootstrap_ms": 0, "restore_ms": 0, "start_ms": 41, "total_ms": 71}
            fields = {"ready_at": now, "acquired_at": now, "deployed_from": "staged", **measured} | fields
        if state == RunState.RUNNING:
            fields.setdefault("expires_at", now + timedelta(minutes=5))
        return Run.objects.create(state=state, **fields)

    return make
