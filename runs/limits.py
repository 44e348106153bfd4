"""The limits of launches: at a time, by kind, and in an hour. Checked under the fleet's lock."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet

from runs.models import LaunchMode, Run
from runs.reasons import RefusalCode

HOUR = timedelta(hours=1)
RETRY_SECONDS = 30  # while launches are still starting, nobody knows when they end


class LaunchRefused(Exception):
    """There is no run; `str(error)` says why to the visitor, `code` to programs."""

    code: RefusalCode
    retry_after_seconds: int | None = None
    limit = ""


class LimitReached(LaunchRefused):
    """A limit is reached; `limit` names it, `retry_after_seconds` is when it may have room again."""

    code = RefusalCode.LIMIT_REACHED

    def __init__(self, limit: str, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.limit, self.retry_after_seconds = limit, max(1, retry_after_seconds)


def check(mode: str, now: datetime) -> None:
    """Raise LimitReached when one more launch would be too many. Call it under `Fleet.lock()`."""
    active = Run.objects.active()
    modes = list(active.order_by().values_list("mode", flat=True))
    _check_count(
        len(modes),
        active,
        limit="MAX_TOTAL_ACTIVE",
        most=settings.MAX_TOTAL_ACTIVE,
        what="games are being played",
        now=now,
    )
    limit = "MAX_CONCURRENT_WARM" if mode == LaunchMode.WARM else "MAX_CONCURRENT_COLD"
    what = "warm launches are being played" if mode == LaunchMode.WARM else "cold launches are being played"
    most = getattr(settings, limit)
    _check_count(modes.count(mode), active.filter(mode=mode), limit=limit, most=most, what=what, now=now)
    recent = Run.objects.filter(created_at__gt=now - HOUR).order_by("created_at")
    too_many = recent.count() - settings.MAX_RUNS_PER_HOUR
    if too_many >= 0:
        # Those before it leave the window earlier, and it has to leave, too, before there is room.
        last_to_leave = recent.values_list("created_at", flat=True)[too_many : too_many + 1].first() or now
        seconds = math.ceil((last_to_leave + HOUR - now).total_seconds())
        message = f"All {settings.MAX_RUNS_PER_HOUR} launches of this hour are used."
        raise LimitReached("MAX_RUNS_PER_HOUR", message, seconds)


def _check_count(count: int, runs: QuerySet[Run], *, limit: str, most: int, what: str, now: datetime) -> None:
    too_many = count - most
    if too_many < 0:
        return
    ends = runs.filter(expires_at__gt=now).order_by("expires_at").values_list("expires_at", flat=True)
    room_at = ends[too_many : too_many + 1].first()
    seconds = math.ceil((room_at - now).total_seconds()) if room_at else RETRY_SECONDS
    raise LimitReached(limit, f"{most} {what} right now, the most allowed at once.", seconds)


def launches_left(now: datetime) -> int:
    """Return how many more launches this hour allows."""
    return max(0, settings.MAX_RUNS_PER_HOUR - Run.objects.filter(created_at__gt=now - HOUR).count())
