"""One launch: its steps and log, and the game in its frame; more time for it, and its end."""

from __future__ import annotations

import uuid
from itertools import accumulate
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_POST, require_safe

from pools import clock
from runs import lifecycle
from runs.addresses import games_have_an_origin
from runs.launching import progress
from runs.launching.outlook import about, ahead_of, usual_seconds
from runs.launching.steps import ACTIVE, steps
from runs.models import STARTING, Run, RunEvent, RunState
from runs.pages.answers import fresh, see_other
from runs.pages.forms import new_key
from runs.reasons import RunEndCode
from runs.rights import is_operator, player, plays
from runs.visitors import known_visitor

RUN_LOG_LINES = 400
RUN_LOG_CHARACTERS = 30_000  # with these a page stays below 150 KB


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
    context["is_operator"] = not context["is_mine"] and is_operator(request)
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
    now = clock.now()
    way = steps(found)
    context: dict[str, Any] = {
        "run": found,
        "game": found.game,
        "steps": way,
        "current": next((step for step in way if step.state == ACTIVE), None),
        "is_starting": found.state in STARTING,
        "is_running": found.state == RunState.RUNNING,
        "is_mine": found.visitor == known_visitor(request),
        "plays": plays(request, found),
        "opens_alone": games_have_an_origin(),
        "more_minutes": settings.SANDBOX_MIN_LIFETIME_MINUTES,
        "extensions_left": max(0, settings.MAX_EXTENSIONS - found.extensions),
        "elapsed_seconds": max(0, round((now - found.created_at).total_seconds())),
    }
    if found.state in STARTING:
        told = progress.latest(found)
        context |= {"ahead": ahead_of(found), "usual": about(usual_seconds(found))}
        if told:
            context |= {"percent": round(100 * told["share"]), "left": progress.left(told["left_seconds"])}
    if found.expires_at:
        context["left_seconds"] = max(0, round((found.expires_at - now).total_seconds()))
        context["refresh_seconds"] = context["left_seconds"] + 2
    if found.ended_at and found.ready_at:
        context["played_seconds"] = (found.ended_at - found.ready_at).total_seconds()
    return context


@require_POST
def end_run(request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
    found = own_run(request, run_id)
    lifecycle.end(found.id, RunEndCode.ENDED_BY_PLAYER, "Ended by the player.", clock.now(), by=player(found))
    return see_other(found)


@require_POST
def extend_run(request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
    found = own_run(request, run_id)
    is_extended = lifecycle.extend(found.id, clock.now(), by=player(found))
    if request.accepts("text/html"):
        if is_extended:
            messages.success(request, "You have more time.")
        else:
            messages.warning(request, "This run can't get more time.")
        return see_other(found)
    return HttpResponse(status=204 if is_extended else 409)  # the page's script, which keeps the game that is on


def own_run(request: HttpRequest, run_id: uuid.UUID) -> Run:
    """The visitor's own; operators act in the admin, which asks them why. Raises Http404 and PermissionDenied."""
    found = get_object_or_404(Run, pk=run_id)
    if found.visitor != known_visitor(request):
        raise PermissionDenied
    return found
