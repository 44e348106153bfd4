from __future__ import annotations

import pytest

from games.models import Game
from tests.integration.pools.conftest import clock, paper_fleet, pool, real_fleet

__all__ = ["clock", "game", "paper_fleet", "pool", "real_fleet"]


@pytest.fixture
def game(transactional_db) -> Game:
    """A Python game without a snapshot; on paper, every command in a sandbox succeeds."""
    return Game.objects.create(
        slug="snake", title="Snake", runtime="python", run_command="python3 server.py", snapshot_name="snake-python",
        repository_url="file:///nowhere", source_digest="0" * 64,
    )  # fmt: skip
