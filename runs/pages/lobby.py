"""The lobby: all games, how soon each would start, and what goes on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from games.models import Game
from pools import fleet_log
from pools.models import Fleet, Sandbox, State
from runs.launching.outlook import Speed, speeds
from runs.limits import launches_left
from runs.models import OVER, Run
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
    soon = speeds(games, now)
    return {
        "cards": [Card(game, soon[game.slug], new_key()) for game in games],
        "launches_left": left,
        "launches_an_hour": settings.MAX_RUNS_PER_HOUR,
        "active": list(Run.objects.active().select_related("game").order_by("-created_at")[:RUNS_SHOWN]),
        "over": newest_over(),
        "visitor": known_visitor(request),
        "race": race(statistics.launch_times(now - STATS_WINDOW)),
        **tiles(),
    }


def _kind(sandbox: Sandbox, started_at: datetime | None) -> str:
    """What it is to players. One that is not known to be well is not ready yet, or not any more."""
    if sandbox.state == State.READY:
        return "ready" if sandbox.is_known_well(started_at) else "creating"
    return {State.IN_USE: "in_use", State.DELETING: "leaving"}.get(State(sandbox.state), "creating")


def newest_over() -> list[Run]:
    """The last ones that are over. Each state by itself, in the order of its index: together, all would be sorted."""
    runs = Run.objects.select_related("game").order_by("-created_at")
    found = [run for state in OVER for run in runs.filter(state=state)[:RUNS_SHOWN]]
    return sorted(found, key=lambda run: run.created_at, reverse=True)[:RUNS_SHOWN]


def tiles() -> dict[str, Any]:
    """Every sandbox that exists as one tile: ready, on its way, in use; and the places that are free."""
    started_at = Fleet.get().started_at
    existing = Sandbox.objects.existing().only("state", "health_failures", "health_checked_at", "healthy_at")
    found = [_kind(sandbox, started_at) for sandbox in existing]
    found.sort(key=["ready", "creating", "in_use", "leaving"].index)
    free = min(TILES_SHOWN, max(0, settings.MAX_TOTAL_SANDBOXES - len(found)))
    return {
        "tiles": [
            {"kind": kind, "icon": TILE_ICONS.get(kind, "")} for kind in [*found, *["free"] * free][:TILES_SHOWN]
        ],
        "counts": {kind: found.count(kind) for kind in ("ready", "creating", "in_use", "leaving")},
    }
