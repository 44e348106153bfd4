"""The fleet as it was, over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest
from ninja import Query, Router, Schema
from pydantic import Field

from pools import clock
from pools.api_keys import Scope
from pools.callers import require
from pools.console.history_page import RowThen, rows_then
from pools.described import described
from pools.history import PoolThen, existing_at, fleet_then, kept_from, within_kept
from pools.keyset import Moment, PageAsked, PageOut, page
from pools.models import State
from pools.prices import shown_usd
from pools.schemas import example

router = Router(tags=["fleet"])


class FleetAsked(PageAsked):
    """Which moment, and which page of its sandboxes."""

    at: Moment | None = Field(None, description="The moment; without it, now. One that is not kept: the nearest")


class PoolThenOut(Schema):
    """A pool as it was."""

    model_config = example(
        {
            "name": "python",
            "mode": "active",
            "target_ready": 2,
            "min_ready": 0,
            "max_ready": 3,
            "counts": {"requested": 0, "creating": 1, "staging": 0, "ready": 1, "in_use": 3, "deleting": 0},
            "usd_per_hour": 0.0893,
        }
    )

    name: str = Field(description="Empty: the sandboxes that were in no pool")
    mode: str | None = None
    target_ready: int | None = None
    min_ready: int | None = None
    max_ready: int | None = None
    counts: dict[str, int] = Field(description="How many sandboxes were in each state")
    usd_per_hour: float


class AlarmThenOut(Schema):
    """An alarm that stood."""

    model_config = example({"code": "listing_fails", "pool": "", "until": None})

    code: str
    pool: str = Field(description="Empty for the whole fleet")
    since: datetime
    until: datetime | None = Field(description="null while it stands")


class FindingOut(Schema):
    """What was found of a sandbox, or of an app that was none of ours."""

    model_config = example(
        {"code": "unwell", "name": "sandbox-3fa9c1d2", "app_id": "", "detail": "no answer", "until": None}
    )

    code: str = Field(description="missing, unwell, orphan, another_installation or foreign")
    name: str
    app_id: str
    detail: str
    since: datetime
    until: datetime | None = Field(description="null while it holds")


class SandboxThenOut(Schema):
    """A sandbox as it was."""

    model_config = example(
        {
            "name": "sandbox-3fa9c1d2",
            "state": "in_use",
            "verdict": "in step",
            "why": "",
            "pool": "python",
            "app_id": "4f6c71e2-1e90-4762-9fee-6cc4a0a9f2cf",
            "run_id": "5d0e5d4c-9d2a-4f0b-8c0e-7f2b1a3c4d5e",
            "cost_usd": 0.000893,
        }
    )

    name: str
    state: State
    since: datetime = Field(description="When it had come into that state")
    verdict: str = Field(description="What the fleet's page said of it then, as far as that is kept")
    why: str
    pool: str | None
    app_id: str | None
    run_id: UUID | None
    cost_usd: float = Field(description="What it had been billed with by then, by list prices")


class FleetThenOut(PageOut):
    """The fleet at a moment, and one page of its sandboxes, newest first."""

    at: datetime
    kept_from: datetime = Field(description="The first minute that can be asked for")
    usd_per_hour: float
    maintenance: bool
    pools: list[PoolThenOut]
    alarms: list[AlarmThenOut]
    findings: list[FindingOut]
    sandboxes: list[SandboxThenOut]


@router.get(
    "/fleet",
    response=FleetThenOut,
    summary="The fleet as it is, or was at a moment of the last 30 days",
    openapi_extra=described("invalid", "bad_cursor", scope=Scope.READ),
)
def get_fleet(request: HttpRequest, asked: Query[FleetAsked]) -> dict[str, Any]:
    """For keys with `read`, and operators who are signed in. To page through its sandboxes, send `at` again."""
    require(request, Scope.READ)
    now = clock.now()
    at = within_kept(asked.at or now, now)
    then = fleet_then(at, now)
    found = page(existing_at(at).select_related("pool"), Q(), asked, at="requested_at")
    return {
        "at": at,
        "kept_from": kept_from(now),
        "usd_per_hour": shown_usd(then.usd_per_hour),
        "maintenance": then.maintenance,
        "pools": [_pool(each) for each in then.pools],
        "alarms": then.alarms,
        "findings": then.findings,
        "sandboxes": [_sandbox(each) for each in rows_then(found.rows, then)],
    } | found.about()


def _pool(pool: PoolThen) -> dict[str, Any]:
    about = {"name": pool.name, "counts": pool.counts, "usd_per_hour": shown_usd(pool.usd_per_hour)}
    return about | pool.settings


def _sandbox(row: RowThen) -> dict[str, Any]:
    sandbox = row.sandbox
    return {
        "name": sandbox.name,
        "state": sandbox.state_then,
        "since": sandbox.since_then,
        "verdict": row.verdict,
        "why": row.why,
        "pool": sandbox.pool.name if sandbox.pool else None,
        "app_id": sandbox.app_id,
        "run_id": row.occupant.run_id if row.occupant else None,
        "cost_usd": shown_usd(row.cost_usd),
    }
