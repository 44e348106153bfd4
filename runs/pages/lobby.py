"""The lobby: all games, how soon each would start, and what goes on.

Almost all of it is the same for everybody and rendered once a second. A visitor's own are their runs and the forms.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from itertools import chain, islice, repeat
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.cache import get_conditional_response
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_safe

from games.models import Game
from pools import clock, fleet_log
from pools.census import UNSEEN, Census
from pools.models import ON_THE_WAY, State
from pools.shared import Shared
from runs.launching.outlook import Speed
from runs.models import ACTIVE, OVER, Run, RunState
from runs.pages import statistics
from runs.pages.answers import active_of, fresh
from runs.pages.forms import new_key
from runs.pages.now import look
from runs.pages.race import race
from runs.visitors import known_visitor, visitor_of

LOG_LINES = 40
RUNS_SHOWN = 8
MINE_SHOWN = 4
TILES_SHOWN = 12
TILE_ICONS = {"ready": "bolt", "in_use": "play"}
STATS_WINDOW = timedelta(days=7)


@require_safe
@fresh
def lobby(request: HttpRequest) -> HttpResponse:
    """All games, how soon each would start, and what goes on."""
    visitor_of(request)  # before a form is sent: two clicks of one visitor must be one visitor's
    return render(request, "lobby/page.html", lobby_now(request))


@require_safe
@fresh
def lobby_live(request: HttpRequest) -> HttpResponse:
    """The parts of the lobby that change and are the same for everybody, for its script."""
    live = LIVE.get()
    answer = HttpResponse(live.body, headers={"ETag": live.etag})
    return get_conditional_response(request, etag=live.etag, response=answer) or answer


@require_safe
@fresh
def lobby_mine(request: HttpRequest) -> HttpResponse:
    """The visitor's own runs, for the lobby's script."""
    visitor = known_visitor(request)
    mine = newest_by_game(visitor)
    context = {
        "mine": runs_of(visitor),
        "on": [(game, mine.get(game.pk)) for game in LIVE.get().games],
        "now": clock.now(),
    }
    return render(request, "lobby/mine_live.html", context)


@dataclass(frozen=True, slots=True)
class Live:
    """What changes in the lobby, rendered for everybody."""

    games: Sequence[Game]
    speeds: Mapping[str, Speed]
    speed_parts: Mapping[str, SafeString]
    pool: SafeString
    launches_left: SafeString
    runs: SafeString
    made_at: float  # before anything was looked up, on the clock of `monotonic`
    body: bytes  # all of it
    version: str  # the same for the same body
    message: str  # the body as sockets send it

    @property
    def etag(self) -> str:
        return f'"{self.version}"'


def _live() -> Live:
    made_at = clock.monotonic()
    now = look()  # not what is kept, which would be kept twice as long
    context = {
        "launches_left": now.launches_left,
        "launches_an_hour": settings.MAX_RUNS_PER_HOUR,
        "active": newest(ACTIVE),
        "over": newest(OVER),
        "race": race(statistics.launch_times(clock.now() - STATS_WINDOW)),
        **tiles(now.there_are),
    }
    soon = {
        game.slug: render_to_string("game/speed.html", {"game": game, "speed": now.speeds[game.slug]})
        for game in now.games
    }
    pool, left, runs = (render_to_string(f"lobby/{part}.html", context) for part in ("pool", "launches_left", "runs"))
    html = "".join((pool, left, *soon.values(), runs))
    body = html.encode()
    version = sha256(body).hexdigest()[:16]
    message = json.dumps({"kind": "parts", "version": version, "html": html}, ensure_ascii=False)
    return Live(now.games, now.speeds, soon, pool, left, runs, made_at, body, version, message)


LIVE = Shared(_live)


@dataclass(frozen=True, slots=True)
class Log:
    """The end of the orchestrator log, and the number of its last line."""

    lines: SafeString
    after: int


def _log() -> Log:
    events = fleet_log.latest(LOG_LINES)
    lines = "".join(render_to_string("site/log_line.html", {"event": event}) for event in events)
    return Log(mark_safe(lines), events[-1].seq if events else 0)  # noqa: S308  each is a template's


LOG = Shared(_log)


@dataclass(frozen=True, slots=True)
class Card:
    game: Game
    speed: Speed
    speed_part: SafeString
    key: str
    mine: Run | None  # what its visitor plays of it


def lobby_now(request: HttpRequest) -> dict[str, Any]:
    live, visitor = LIVE.get(), known_visitor(request)
    mine = newest_by_game(visitor)
    return {
        "cards": [
            Card(game, live.speeds[game.slug], live.speed_parts[game.slug], new_key(), mine.get(game.pk))
            for game in live.games
        ],
        "live": live,
        "log": LOG.get(),
        "mine": runs_of(visitor),
        "now": clock.now(),
    }


def newest_by_game(visitor: str | None) -> dict[int, Run]:
    """What the visitor plays, the newest of each game by its id."""
    return {run.game_id: run for run in reversed(active_of(visitor))}


def runs_of(visitor: str | None) -> list[Run]:
    """The visitor's newest runs."""
    if visitor is None:
        return []
    return list(Run.objects.filter(visitor=visitor).select_related("game").order_by("-created_at")[:MINE_SHOWN])


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
    free = ("free", there_are.places.free)
    shown = chain.from_iterable(repeat(kind, times) for kind, times in (*counts.items(), free))
    return {
        "tiles": [{"kind": kind, "icon": TILE_ICONS.get(kind, "")} for kind in islice(shown, TILES_SHOWN)],
        "counts": counts,
    }
