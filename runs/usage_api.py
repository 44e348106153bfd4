"""Usage over HTTP: what was launched, how long sandboxes were used and idle, and what both cost."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router, Schema
from pydantic import BeforeValidator, Field

from pools import clock
from pools.api_keys import Scope
from pools.callers import key_of, may, require
from pools.described import described
from pools.prices import shown_usd
from pools.problems import Problem
from runs.usage import By, Usage, usage

router = Router(tags=["usage"])

USUAL_DAYS = 7
MOST_DAYS = 92
SECONDS_DIGITS = 3
AS_WRITTEN = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _written_out(day: Any) -> Any:
    if isinstance(day, str) and not AS_WRITTEN.fullmatch(day):
        raise ValueError("write it as 2026-11-27")  # numbers would be seconds since 1970
    return day


Day = Annotated[date, BeforeValidator(_written_out)]


class UsageAsked(Schema):
    """Which days, and by what."""

    first: Day | None = Field(None, alias="from", description="The first day, UTC; six days before `to` by default")
    last: Day | None = Field(None, alias="to", description="The last day; today by default")
    by: By = Field(By.DAY, description="What the rows tell apart")


class UsageOut(Schema):
    """Launches count on the day on which they were asked for; sandboxes on the day on which they were deleted, or today
    while they are there."""

    launches: int
    hits: int = Field(description="Launches that found a warm sandbox ready")
    in_use_seconds: float = Field(description="Of sandboxes, from the moment on when a launch took them")
    idle_seconds: float = Field(description="Billed before that: being created, or ready and waiting")
    in_use_usd: float = Field(description="What the seconds in use cost, by list prices")
    idle_usd: float
    unused: int = Field(description="Sandboxes that were deleted and no launch had taken")


class UsageRowOut(UsageOut):
    """The usage of one day, client, game or pool."""

    key: str | None = Field(
        description="The day, the client (`key:` and the key's first letters, or anonymous), the game's slug or the "
        "pool's name; null for sandboxes that no launch had, and for launches without a sandbox of a pool",
        examples=["2026-11-27"],
    )


class UsagesOut(Schema):
    first: date = Field(serialization_alias="from")
    last: date = Field(serialization_alias="to")
    by: By
    rows: list[UsageRowOut]
    total: UsageOut


@router.get(
    "/usage",
    response=UsagesOut,
    by_alias=True,
    summary="What was used and what it cost, by day, client, game or pool",
    openapi_extra=described("invalid", scope=Scope.READ),
)
def get_usage(request: HttpRequest, asked: Query[UsageAsked]) -> dict[str, Any]:
    """For keys with `read`, and operators who are signed in; other keys get their own usage. By whatever the rows tell
    apart, they add up to the same total."""
    now = clock.now()
    key = key_of(request)
    client = None
    if key is not None and not may(request, Scope.READ):
        client = key.client
    else:
        require(request, Scope.READ)
    first, last = _span(asked, now.date())
    found = usage(first, last, asked.by, now, client)
    total = Usage()
    for used in found.values():
        total.add(used)
    rows = [{"key": name or None, **_told(found[name])} for name in sorted(found, key=lambda name: (not name, name))]
    return {"first": first, "last": last, "by": asked.by, "rows": rows, "total": _told(total)}


def _span(asked: UsageAsked, today: date) -> tuple[date, date]:
    """The first and the last day. Raises Problem."""
    last = asked.last or today
    first = asked.first or date.fromordinal(max(1, last.toordinal() - USUAL_DAYS + 1))
    if first > last:
        raise Problem.field("from", "it is after `to`")
    if last - first >= timedelta(days=MOST_DAYS):
        raise Problem.field("from", f"at most {MOST_DAYS} days at a time")
    return first, last


def _told(used: Usage) -> dict[str, Any]:
    return {
        "launches": used.launches,
        "hits": used.hits,
        "in_use_seconds": round(used.in_use_seconds, SECONDS_DIGITS),
        "idle_seconds": round(used.idle_seconds, SECONDS_DIGITS),
        "in_use_usd": shown_usd(used.in_use_usd),
        "idle_usd": shown_usd(used.idle_usd),
        "unused": used.unused,
    }
