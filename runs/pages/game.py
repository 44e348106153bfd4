"""A game: what it is, how to play it, and the form that launches it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from games.models import Game
from pools import clock
from pools.models import Pool
from runs.launching.launch import launch
from runs.launching.outlook import retry_text
from runs.limits import LaunchRefused
from runs.models import LaunchMode, Run
from runs.pages.answers import active_of, fresh, see_other
from runs.pages.forms import LaunchForm, new_key
from runs.pages.now import NOW
from runs.reasons import RefusalCode
from runs.rights import require_may_launch
from runs.visitors import client_of, known_visitor, visitor_of


@fresh
def game(request: HttpRequest, slug: str) -> HttpResponse:
    """Show the game and how to play it; a POST launches it."""
    found = get_object_or_404(Game.objects.playable(), slug=slug)
    visitor_of(request)  # as in the lobby: who has no number gets one
    if request.method != "POST":
        return game_page(request, found, LaunchForm(initial={"key": new_key()}))
    form = LaunchForm(request.POST)
    if not form.is_valid():
        return game_page(request, found, form, status=422)
    # With the choices: gone back and chosen otherwise is another wish, not the same one again.
    key = "{key}:{mode}:{start_from}".format_map(form.cleaned_data)
    on = theirs(known_visitor(request), found)
    if on and not form.cleaned_data["another"] and all(run.idempotency_key != key for run in on):
        return game_page(request, found, form, status=409)
    try:
        require_may_launch(request)
        run = launch(
            game=found.slug,
            mode=LaunchMode(form.cleaned_data["mode"]),
            use_snapshot=form.cleaned_data["start_from"] == "snapshot",
            client=client_of(request),
            idempotency_key=key,
        )
    except LaunchRefused as refused:
        return refusal(request, found, form, refused)
    return see_other(run)


def game_page(request: HttpRequest, found: Game, form: LaunchForm, status: int = 200, **context: Any) -> HttpResponse:
    now = NOW.get()
    context |= {
        "game": found,
        "form": form,
        "key": form["key"].value() or new_key(),
        "mode": form["mode"].value(),
        "start_from": form["start_from"].value(),
        "speed": now.speed(found),
        "launches_left": now.launches_left,
        "launches_an_hour": settings.MAX_RUNS_PER_HOUR,
        "lifetime": lifetime(),
        "has_pool": Pool.objects.filter(runtime=found.runtime).exists(),
        "mine": next(iter(theirs(known_visitor(request), found)), None),
        "now": clock.now(),
    }
    return render(request, "game/page.html", context, status=status)


def theirs(visitor: str | None, found: Game) -> list[Run]:
    """The visitor's runs of the game that are not over, the newest first."""
    return [run for run in active_of(visitor) if run.game_id == found.pk]


STATUSES = {RefusalCode.MAINTENANCE: 503, RefusalCode.KEY_NEEDED: 403}  # of refusals


def lifetime() -> str:
    least, most = settings.SANDBOX_MIN_LIFETIME_MINUTES, settings.SANDBOX_MAX_LIFETIME_MINUTES
    return f"{least} minutes" if least == most else f"{least} to {most} minutes"


def refusal(request: HttpRequest, found: Game, form: LaunchForm, refused: LaunchRefused) -> HttpResponse:
    """The game's page again, with why not and when to come back; its form may be sent again as it is."""
    seconds = refused.retry_after_seconds
    status = STATUSES.get(refused.code, 429)
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
    now = NOW.get()
    context = {
        "game": found,
        "speed": now.speed(found),
        "launches_left": now.launches_left,
        "launches_an_hour": settings.MAX_RUNS_PER_HOUR,
    }
    return render(request, "game/live.html", context)
