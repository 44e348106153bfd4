"""The pages that players use. Each looks things up and says them; launching, ending and limits are known elsewhere."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_POST, require_safe

from games.models import Game
from pools import fleet_log
from pools.models import Pool, Sandbox, State
from runs import charts, lifecycle, progress, statistics
from runs.forms import LaunchForm, new_key
from runs.launch import Maintenance, launch
from runs.limits import LaunchRefused, launches_left
from runs.models import OVER, STARTING, LaunchMode, Run, RunEvent, RunState
from runs.phases import ACTIVE, phases
from runs.visitors import known_visitor, visitor_of
from runs.waiting import Speed, about, ahead_of, retry_text, speeds, usual_seconds

LOG_LINES = 40
RUN_LOG_LINES = 400
RUN_LOG_CHARACTERS = 30_000  # with these a page stays below 150 KB
RUNS_SHOWN = 8
TILES_SHOWN = 12
TILE_ICONS = {"ready": "bolt", "in_use": "play"}
STATS_WINDOW = timedelta(days=7)
TIMELINE_WINDOW = timedelta(hours=6)

# Kept by browsers for the back button only.
fresh = cache_control(private=True, no_cache=True)


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
    runs = Run.objects.select_related("game")
    return {
        "cards": [Card(game, soon[game.slug], new_key()) for game in games],
        "launches_left": left,
        "launches_an_hour": settings.MAX_RUNS_PER_HOUR,
        "active": list(runs.active().order_by("-created_at")[:RUNS_SHOWN]),
        "over": list(runs.filter(state__in=OVER).order_by("-created_at")[:RUNS_SHOWN]),
        "visitor": known_visitor(request),
        "race": race(statistics.launch_times(now - STATS_WINDOW)),
        **tiles(),
    }


def tiles() -> dict[str, Any]:
    """Every sandbox that exists as one tile: ready, on its way, in use; and the places that are free."""
    kinds = {State.READY: "ready", State.IN_USE: "in_use", State.DELETING: "leaving"}
    states = Sandbox.objects.existing().values_list("state", flat=True)
    found = [kinds.get(State(state), "creating") for state in states]
    found.sort(key=["ready", "creating", "in_use", "leaving"].index)
    free = min(TILES_SHOWN, max(0, settings.MAX_TOTAL_SANDBOXES - len(found)))
    return {
        "tiles": [
            {"kind": kind, "icon": TILE_ICONS.get(kind, "")} for kind in [*found, *["free"] * free][:TILES_SHOWN]
        ],
        "counts": {kind: found.count(kind) for kind in ("ready", "creating", "in_use", "leaving")},
    }


@dataclass(frozen=True, slots=True)
class Lane:
    key: str
    title: str
    ms: int
    share: float  # of the slowest, in percent


def race(times: Sequence[statistics.Distribution]) -> list[Lane]:
    """The median launch, warm and cold; none before both have been seen."""
    warm = next((each.p50_ms for each in times if each.key in ("staged", "warm")), None)
    cold = next((each.p50_ms for each in times if each.key in ("fallback", "cold")), None)
    if warm is None or cold is None:
        return []
    slowest = max(warm, cold, 1)
    lanes = [("warm", "A warm start", warm), ("cold", "A cold start", cold)]
    return [Lane(key, title, ms, round(max(1.5, 100 * ms / slowest), 1)) for key, title, ms in lanes]


@fresh
def game(request: HttpRequest, slug: str) -> HttpResponse:
    """What it is and how to play it; a POST launches it."""
    found = get_object_or_404(Game.objects.playable(), slug=slug)
    visitor = visitor_of(request)  # as in the lobby
    if request.method != "POST":
        return game_page(request, found, LaunchForm(initial={"key": new_key()}))
    form = LaunchForm(request.POST)
    if not form.is_valid():
        return game_page(request, found, form, status=422)
    try:
        run = launch(
            game=found.slug,
            mode=LaunchMode(form.cleaned_data["mode"]),
            use_snapshot=form.cleaned_data["start_from"] == "snapshot",
            visitor=visitor,
            # With the choices: gone back and chosen otherwise is another wish, not the same one again.
            idempotency_key="{key}:{mode}:{start_from}".format_map(form.cleaned_data),
        )
    except LaunchRefused as refused:
        return refusal(request, found, form, refused)
    return see_other(run)


def game_page(request: HttpRequest, found: Game, form: LaunchForm, status: int = 200, **context: Any) -> HttpResponse:
    now = timezone.now()
    left = launches_left(now)
    context |= {
        "game": found,
        "form": form,
        "key": form["key"].value() or new_key(),
        "mode": form["mode"].value(),
        "start_from": form["start_from"].value(),
        "speed": speeds([found], now)[found.slug],
        "launches_left": left,
        "launches_an_hour": settings.MAX_RUNS_PER_HOUR,
        "lifetime": lifetime(),
        "has_pool": Pool.objects.filter(runtime=found.runtime).exists(),
        "mine": Run.objects.active().filter(game=found, visitor=known_visitor(request)).order_by("-created_at").first(),
    }
    return render(request, "game/page.html", context, status=status)


def lifetime() -> str:
    least, most = settings.SANDBOX_MIN_LIFETIME_MINUTES, settings.SANDBOX_MAX_LIFETIME_MINUTES
    return f"{least} minutes" if least == most else f"{least} to {most} minutes"


def refusal(request: HttpRequest, found: Game, form: LaunchForm, refused: LaunchRefused) -> HttpResponse:
    """The game's page again, with why not and when to come back; its form may be sent again as it is."""
    seconds = refused.retry_after_seconds
    status = 503 if isinstance(refused, Maintenance) else 429
    retry = retry_text(seconds) if seconds else ""
    response = game_page(request, found, form, status=status, refused=str(refused), retry=retry)
    if seconds:
        response.headers["Retry-After"] = str(seconds)
    return response


@require_safe
@fresh
def game_live(request: HttpRequest, slug: str) -> HttpResponse:
    """The parts of a game's page that change, for its script."""
    found = get_object_or_404(Game.objects.playable(), slug=slug)
    now = timezone.now()
    left = launches_left(now)
    context = {
        "game": found,
        "speed": speeds([found], now)[slug],
        "launches_left": left,
        "launches_an_hour": settings.MAX_RUNS_PER_HOUR,
    }
    return render(request, "game/live.html", context)


@require_safe
@fresh
def run(request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
    """One launch: its steps and log, and the game. Who has the link may look; its visitor may act."""
    found = get_object_or_404(Run.objects.select_related("game"), pk=run_id)
    events = last_events(found)
    context = run_now(request, found) | {
        "events": events,
        "after": events[-1].seq if events else 0,
        "earlier": events[0].seq - 1 if events else 0,
        "events_url": f"/api/runs/{found.id}/events?after=0",
        "key": new_key(),
    }
    context["is_operator"] = not context["is_mine"] and request.user.has_perms(["pools.operate_fleet", "runs.view_run"])
    return render(request, "run/page.html", context)


def last_events(found: Run) -> list[RunEvent]:
    """The end of its log, as much as a page can hold, oldest first."""
    newest = list(found.events.order_by("-seq")[:RUN_LOG_LINES])
    characters = accumulate(len(event.message) for event in newest)
    fitting = sum(1 for count in characters if count <= RUN_LOG_CHARACTERS)
    return newest[:fitting][::-1]


@require_safe
@fresh
def run_live(request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
    """The parts of a run's page that change, for its script."""
    found = get_object_or_404(Run.objects.select_related("game"), pk=run_id)
    return render(request, "run/live.html", run_now(request, found))


def run_now(request: HttpRequest, found: Run) -> dict[str, Any]:
    now = timezone.now()
    steps = phases(found)
    context: dict[str, Any] = {
        "run": found,
        "game": found.game,
        "phases": steps,
        "current": next((step for step in steps if step.state == ACTIVE), None),
        "is_starting": found.state in STARTING,
        "is_running": found.state == RunState.RUNNING,
        "is_mine": found.visitor == known_visitor(request),
        "extensions_left": max(0, settings.MAX_EXTENSIONS - found.extensions),
        "elapsed_seconds": max(0, round((now - found.created_at).total_seconds())),
    }
    if found.state in STARTING:
        told = progress.latest(found)
        context |= {"ahead": ahead_of(found), "usual": about(usual_seconds(found))}
        if told:
            context |= {"percent": round(100 * told["share"]), "left": about(told["left_seconds"])}
    if found.expires_at:
        context["left_seconds"] = max(0, round((found.expires_at - now).total_seconds()))
        context["refresh_seconds"] = context["left_seconds"] + 2
    if found.ended_at and found.ready_at:
        context["played_seconds"] = (found.ended_at - found.ready_at).total_seconds()
    return context


@require_POST
def end_run(request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
    found = own_run(request, run_id)
    lifecycle.end(found.id, "Ended by the player.", timezone.now())
    return see_other(found)


@require_POST
def extend_run(request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
    found = own_run(request, run_id)
    is_extended = lifecycle.extend(found.id, timezone.now())
    if request.accepts("text/html"):
        if is_extended:
            messages.success(request, "You have more time.")
        else:
            messages.warning(request, "More time is not to be had for this one.")
        return see_other(found)
    return HttpResponse(status=204 if is_extended else 409)  # the page's script, which keeps the game that is on


def own_run(request: HttpRequest, run_id: uuid.UUID) -> Run:
    """The visitor's own; operators act in the admin, which asks them why. Raises Http404 and PermissionDenied."""
    found = get_object_or_404(Run, pk=run_id)
    if found.visitor != known_visitor(request):
        raise PermissionDenied
    return found


def see_other(found: Run) -> HttpResponse:
    """303: the browser asks for the page with GET, and a reload never sends the form again."""
    response = redirect(found)
    response.status_code = 303
    return response


@require_safe
@fresh
def stats(request: HttpRequest) -> HttpResponse:
    """What a warm pool buys, and what it costs."""
    now = timezone.now()
    times = statistics.launch_times(now - STATS_WINDOW)
    since = now - TIMELINE_WINDOW
    context = {
        "times": times,
        "histogram": charts.histogram(times) if times else None,
        "hits": statistics.hit_rate(now - STATS_WINDOW),
        "cost": statistics.idle_cost(now - timedelta(days=1), now),
        "histories": [charts.PoolChart.of(history) for history in statistics.pool_histories(since, now)],
        "race": race(times),
    }
    return render(request, "stats/page.html", context)
