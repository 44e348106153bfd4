"""The lobby: all games, how soon each would start, and what goes on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, islice, repeat
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from games.models import Game
from pools import fleet_log
from pools.census import UNSEEN, Census, census
from pools.models import ON_THE_WAY, State
from runs.launching.outlook import Speed, speeds
from runs.limits import launches_left
from runs.models import ACTIVE, OVER, Run, RunState
from runs.pages import statistics
from runs.pages.answers import fresh
from runs.pages.forms import new_key
from runs.pages.race import race
from runs.visitors import known_visitor, visitor_of

LOG_LINES = 40
RUNS_SHOWN = 8
TILES_SHOWN = 12
TILE_ICONS = {"ready": "bolt", "in_use": "play"}
STATS_WINDOW = timedelta(days=7)


@require_safe
@fresh
def lobby(request: HttpRequest) -> HttpResponse:
    """All games, how soon each would start, and what goes on."""
    visitor_of(request)  # before a form is sent: two clicks of one visitor must be one visitor's
    events = fleet_log.latest(LOG_LINES)
    context = lobby_now(request) | {"events": events, "after": events[-1].seq if events else 0}
    return render(request, "lobby/page.html", context)


@require_safe
@fresh
def lobby_live(request: HttpRequest) -> HttpResponse:
    """The parts of the lobby that change, for its script."""
    return render(request, "lobby/live.html", lobby_now(request))


@dataclass(frozen=True, slots=True)
class Card:
    game: Game
    speed: Speed
    key: str


def lobby_now(request: HttpRequest) -> dict[str, Any]:
    now = timezone.now()
    games = list(Game.objects.playable())
    left = launches_left(now)
    there_are = census()
    soon = speeds(games, now, there_are)
    return {
        "cards": [Card(game, soon[game.slug], new_key()) for game in games],
        "launches_left": left,
        "launches_an_hour": settings.MAX_RUNS_PER_HOUR,
        "active": newest(ACTIVE),
        "over": newest(OVER),
        "visitor": known_visitor(request),
        "race": race(statistics.launch_times(now - STATS_WINDOW)),
        **tiles(there_are),
    }


def newest(states: Iterable[RunState]) -> list[Run]:
    """The last ones in these states. Each state by itself, in the order of its index: together, all would be sorted."""
    runs = Run.objects.select_related("game").order_by("-created_at")
    found = [run for state in states for run in runs.filter(state=state)[:RUNS_SHOWN]]
    return sorted(found, key=lambda run: run.created_at, reverse=True)[:RUNS_SHOWN]


def tiles(there_are: Census) -> dict[str, Any]:
    """The sandboxes that exist as tiles, the first of them: ready, on its way, in use; and the places that are free."""
    number = there_are.all
    counts = {
        "ready": number[State.READY],
        # One that is not known to be well is not ready yet, or not any more.
        "creating": sum(number[state] for state in ON_THE_WAY) + number[UNSEEN],
        "in_use": number[State.IN_USE],
        "leaving": number[State.DELETING],
    }
    free = max(0, settings.MAX_TOTAL_SANDBOXES - there_are.total)
    shown = chain.from_iterable(repeat(kind, times) for kind, times in (*counts.items(), ("free", free)))
    return {
        "tiles": [{"kind": kind, "icon": TILE_ICONS.get(kind, "")} for kind in islice(shown, TILES_SHOWN)],
        "counts": counts,
    }
