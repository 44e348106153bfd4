"""What is played, what is over, how it went and what is left: the addresses of the first demo's page."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import P, QueryEx, Router

from pools import clock
from pools.described import described
from pools.prices import shown_usd
from runs import overview
from runs.api import run_out
from runs.clients import Client, Use, spent_usd, uses
from runs.models import Run
from runs.rights import whose_runs_are_shown_to
from runs.schemas import HistoryOut, LimitsOut, OverviewOut, StatisticsOut
from runs.visitors import client_of

router = Router(tags=["runs"])
MOST_OVER = 20

Limit = QueryEx[int, P(ge=1, le=MOST_OVER, description="Runs at the most")]


@router.get(
    "/status",
    response=OverviewOut,
    summary="What is played, and against which limits",
    openapi_extra=described(links={200: [("get_run", {"run_id": "$response.body#/active/0/run_id"})]}),
)
def get_status(request: HttpRequest) -> dict[str, Any]:
    """The caller's own runs; all of them where anyone may end them (`ANYONE_MAY_END_RUNS`), and for operators. The
    numbers are of everybody's."""
    now, standing = clock.now(), overview.STANDING.get()
    active = [run_out(run, now) for run in overview.playing(whose_runs_are_shown_to(request))]
    return {"active": active, "active_counts": standing.active, "pool": standing.pool, "rate": standing.rate}


@router.get("/history", response=HistoryOut, summary="The runs that ended last", openapi_extra=described("invalid"))
def get_history(request: HttpRequest, limit: Limit = 10) -> dict[str, Any]:
    """Whose runs, is as with `/api/status`."""
    deleted = [_deleted(run) for run in overview.over(whose_runs_are_shown_to(request), limit)]
    return {"deleted": deleted, "count": len(deleted)}


def _deleted(run: Run) -> dict[str, Any]:
    out = run_out(run, run.ended_at or run.created_at)
    return out | {"deleted_at": run.ended_at or run.created_at, "reason": run.end_reason}


@router.get(
    "/stats",
    response=StatisticsOut,
    summary="How the launches of the last seven days went",
    openapi_extra=described(),
)
def get_statistics(request: HttpRequest) -> dict[str, Any]:
    return overview.STATISTICS.get()


@router.get("/limits", response=LimitsOut, summary="How many launches are left", openapi_extra=described())
def get_limits(request: HttpRequest) -> dict[str, Any]:
    """Of all launches together, and of the caller's own: `yours` has every limit that a launch of theirs meets."""
    standing, client, now = overview.STANDING.get(), client_of(request), clock.now()
    return {
        "active": standing.active,
        "rate": standing.rate,
        "limits": overview.most(),
        "yours": [_use(use) for use in uses(client, now)],
        "usd_a_day": _usd_a_day(client, now),
    }


def _use(use: Use) -> dict[str, Any]:
    return {
        "limit": use.limit.name,
        "most": use.limit.most,
        "used": use.used,
        "remaining": use.remaining,
        "window_seconds": use.limit.seconds,
        "reset_in_seconds": use.reset_seconds,
    }


def _usd_a_day(client: Client, now: datetime) -> dict[str, float] | None:
    if client.key is None or client.key.most_usd_a_day is None:
        return None
    return {"most": float(client.key.most_usd_a_day), "used": shown_usd(spent_usd(client, now))}
