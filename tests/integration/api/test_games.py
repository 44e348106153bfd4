"""GET /api/games: what can be played, and whether it is ready now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from games.models import Game
from pools.models import Fleet, Sandbox, State

pytestmark = pytest.mark.django_db


def snake_in(client: Client) -> dict[str, Any]:
    [game] = client.get("/api/games").json()
    return game


def test_a_game_says_what_it_is_and_where_its_source_is(client: Client, snake: Game, settings: Any):
    told = snake_in(client)
    assert (told["description"], told["how_to_play"]) == ("The classic.", "Arrow keys.")
    assert told["source_url"] == f"{settings.PUBLIC_URL}/source/snake.git"


def test_it_is_ready_now_where_it_runs_in_a_ready_sandbox(
    client: Client, snake: Game, make_sandbox: Callable[..., Sandbox]
):
    Fleet.get()
    Fleet.objects.update(started_at=timezone.now() - timedelta(minutes=5))
    assert snake_in(client)["ready_now"] is False
    staged = {"snake": {"started": True}}
    make_sandbox(State.READY, staged=staged, health_checked_at=timezone.now())
    assert snake_in(client)["ready_now"] is True


def test_methods_are_told(client: Client, snake: Game):
    assert client.head("/api/games").status_code == 200
    assert client.options("/api/games")["Allow"] == "GET, HEAD, OPTIONS"
