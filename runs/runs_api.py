"""Runs over HTTP: all of them page by page, one with its history and cost, more time for it and its end."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from ninja import Query, Router

from games.models import Game
from pools import clock, journal
from pools.described import REASON_CODES, described
from pools.keyset import along_index, page
from pools.prices import shown_usd, usd_per_hour
from pools.problems import Problem
from pools.reasons import LogKind
from runs import lifecycle
from runs.api import ACT_ON_RUN, ON_RUN, acted_on, end, find_run, run_out, single_out
from runs.labels import all_of
from runs.models import Run, RunState
from runs.rights import whose_runs_are_shown_to
from runs.schemas import NO_REASON, ActIn, RunDetailsOut, RunOut, RunsAsked, RunsOut, WaitAsked
from runs.transitions import transitions

router = Router(tags=["runs"])
NO_GAME = 0  # no row has this key


@router.get(
    "/runs",
    response=RunsOut,
    summary="The runs, newest first",
    openapi_extra=described(
        *("invalid", "bad_cursor"),
        links={
            200: [
                ("list_runs", {"cursor": "$response.body#/next_cursor"}),
                ("get_run", {"run_id": "$response.body#/runs/0/run_id"}),
            ]
        },
    ),
)
def list_runs(request: HttpRequest, asked: Query[RunsAsked]) -> dict[str, Any]:
    """One's own: those launched from the same browser, or by programs from the same address. Operators get all. A page
    that looked at many runs and found few has a next one all the same: go by `has_more`."""
    runs = Run.objects.select_related("game", "sandbox")
    if asked.created_after is not None:
        runs = runs.filter(created_at__gt=asked.created_after)
    if asked.created_before is not None:
        runs = runs.filter(created_at__lt=asked.created_before)
    visitor = whose_runs_are_shown_to(request)
    wanted: dict[str, Any] = {} if visitor is None else {"visitor": visitor}
    if asked.state is not None:
        wanted["state"] = asked.state
    if asked.game is not None:
        wanted["game"] = Game.objects.filter(slug=asked.game).values_list("pk", flat=True).first() or NO_GAME
    if asked.mode is not None:
        wanted["mode"] = asked.mode
    led, rest = along_index(runs, wanted, indexed=("visitor", "state", "game"))
    found = page(led, rest & all_of(asked.label), asked, at="created_at")
    now = clock.now()
    return {"runs": [run_out(run, now) for run in found.rows]} | found.about()


@router.get(
    "/runs/{uuid:run_id}",
    response=RunDetailsOut,
    summary="A run, what happened to it, and what it has cost",
    openapi_extra=described("no_such_run", "invalid", links={200: ON_RUN}),
)
def get_run(request: HttpRequest, run_id: UUID, asked: Query[WaitAsked]) -> dict[str, Any]:
    """With `wait_for`, the answer comes when the run is there, or after `timeout` with how it stands then."""
    run, now = find_run(run_id), clock.now()
    told = {"transitions": [each._asdict() for each in transitions(run)], "cost": cost_of(run, now)}
    return single_out(run, now) | told


def cost_of(run: Run, now: datetime) -> dict[str, float]:
    sandbox = run.sandbox
    if sandbox is None or sandbox.accepted_at is None:
        return {"usd": 0.0, "usd_per_hour": 0.0}
    an_hour = usd_per_hour(sandbox.size) if sandbox.deleted_at is None else 0
    return {
        "usd": shown_usd(sandbox.cost_usd(now)),
        "usd_per_hour": shown_usd(an_hour),
    }


@router.post(
    "/runs/{uuid:run_id}/extend",
    response=RunOut,
    summary="Give a run more time",
    openapi_extra=described(
        *("not_yours", "no_such_run", "not_running", "no_more_time", *REASON_CODES), is_on_run=True
    ),
)
def extend_run(request: HttpRequest, run_id: UUID, body: ActIn = NO_REASON) -> dict[str, Any]:
    """For whom may end it. Each time adds SANDBOX_MIN_LIFETIME_MINUTES, up to MAX_EXTENSIONS times."""
    run, actor, why = acted_on(request, run_id, body.reason)
    with transaction.atomic():
        is_extended = lifecycle.extend(run.id, clock.now(), by=actor)
        if is_extended and why:
            message = f"run {run.short_id} extended; an operator: {why}"
            journal.record(LogKind.EXTEND, message, run_id=run.id, actor=actor)
    run = find_run(run_id)
    if not is_extended:
        raise no_more_time(run)
    return run_out(run, clock.now())


def no_more_time(run: Run) -> Problem:
    """Why a run was not extended."""
    if run.state == RunState.RUNNING and run.extensions >= settings.MAX_EXTENSIONS:
        detail = f"It was extended {run.extensions} times, as often as it may be."
        return Problem(409, detail, code="no_more_time")
    is_due = run.state == RunState.RUNNING
    return Problem(409, "Its time is up." if is_due else f"It is {run.state}, not running.", code="not_running")


@router.post(
    "/runs/{uuid:run_id}/end",
    response=RunOut,
    summary="End a run; its sandbox goes with it",
    openapi_extra=ACT_ON_RUN,
)
def end_run(request: HttpRequest, run_id: UUID, body: ActIn = NO_REASON) -> dict[str, Any]:
    """As `DELETE /api/sandbox/{run_id}`, for clients that send no DELETE. Ending it again changes nothing."""
    return run_out(end(request, run_id, body.reason), clock.now())
