"""The limits of launches: at a time, by kind, and in an hour.

They are exact because every launch is counted in one row (`Tally`) by one conditional update, and every end is taken
off. The update comes last in its transaction, so that others wait for it only as long as a commit takes. Whoever takes
the fleet's lock as well looks at the rows of the runs first (`check`): these say when there will be room again.

How many there were within the hour follows from the launches' numbers: the newest one's, less that of the newest one
that is an hour old.
"""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import F, QuerySet

from pools.together import Together
from runs import clients
from runs.clients import RETRY_SECONDS, Client
from runs.models import LaunchMode, Run, Tally
from runs.reasons import RefusalCode

HOUR = timedelta(hours=1)


class LaunchRefused(Exception):
    """There is no run; `str(error)` says why to the visitor, `code` to programs."""

    code: RefusalCode
    retry_after_seconds: int | None = None
    limit = ""
    wants_warm = False  # whether it asked for a warm sandbox, and is refused for want of one


class LimitReached(LaunchRefused):
    """A limit is reached; `limit` names it, `retry_after_seconds` is when it may have room again."""

    code = RefusalCode.LIMIT_REACHED

    def __init__(self, limit: str, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.limit, self.retry_after_seconds = limit, max(1, retry_after_seconds)


class NotCounted(Exception):
    """The tally has no room for one more launch, or there is none yet."""


NUMBER_SQL = "COALESCE((SELECT launches FROM runs_tally WHERE id = 1), 0)"  # of the launch that was just counted
# How many launches there had been an hour ago: the number of the newest one that is an hour old; before there is one,
# one less than the lowest. Launches from before they were numbered are counted. Launches that overlap may be numbered
# in another order than they came in: by so much the hour's begin is blurred.
MARK_SQL = """COALESCE(
  NULLIF((SELECT number FROM runs_run WHERE created_at <= %s ORDER BY created_at DESC LIMIT 1), 0),
  NULLIF((SELECT number FROM runs_run ORDER BY number LIMIT 1), 0) - 1,
  (SELECT launches FROM runs_tally WHERE id = 1) - (SELECT count(*) FROM runs_run WHERE created_at > %s), 0)"""


def have_room(*, warm: int, cold: int, launches: int) -> bool:
    """Whether one more warm launch would be counted, going by what was counted a moment ago. `launches`: within the
    hour."""
    return (
        warm + cold < settings.MAX_TOTAL_ACTIVE
        and warm < settings.MAX_CONCURRENT_WARM
        and launches < settings.MAX_RUNS_PER_HOUR
    )


def count_together(batch: Together, mode: str, mark: int) -> None:
    """Have a launch counted, if there is room; else nothing of the batch is done. `mark`: how many launches there had
    been an hour ago."""
    batch.require(*_counting(mode, mark))


def count(mode: str, mark: int) -> int:
    """Count a launch whose row is written and return its number. Needs the fleet's lock, and comes last. `mark`: from
    before its row was written. Raises NotCounted."""
    with connection.cursor() as cursor:
        cursor.execute(*_counting(mode, mark))
        is_counted = cursor.rowcount > 0
    if not is_counted:
        if Tally.objects.filter(pk=1).exists():
            raise NotCounted
        Tally.objects.create(pk=1, launches=1, **_active())  # the first of this database, or of this version
    return Tally.objects.values_list("launches", flat=True).get(pk=1)


def leave(mode: str) -> None:
    """A launch is over. Comes last in its transaction."""
    column = _column(mode)
    Tally.objects.filter(pk=1, **{f"{column}__gt": 0}).update(**{column: F(column) - 1})


def mark_at(now: datetime) -> int:
    """How many launches there had been an hour ago."""
    return mark_before(now - HOUR)


def mark_before(moment: datetime) -> int:
    """How many launches there had been at that moment."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {MARK_SQL}", _mark_params(moment))
        return int(cursor.fetchone()[0])


def mark_params(now: datetime) -> list[Any]:
    """What MARK_SQL is given for an hour ago."""
    return _mark_params(now - HOUR)


def _mark_params(moment: datetime) -> list[Any]:
    return [connection.ops.adapt_datetimefield_value(moment)] * 2


def drift() -> str:
    """Return how the tally differs from the rows of the runs, as a sentence; empty when it does not. In one statement,
    which sees each launch with its count or not at all."""
    active = Run.objects.active()
    found = Tally.objects.filter(pk=1).annotate(
        warm_runs=clients.number_of(active.filter(mode=LaunchMode.WARM)),
        cold_runs=clients.number_of(active.filter(mode=LaunchMode.COLD)),
    )
    for tally in found:
        if (tally.warm, tally.cold) != (tally.warm_runs, tally.cold_runs):
            there = f"there are {tally.warm_runs} and {tally.cold_runs}"
            return f"{tally.warm} warm and {tally.cold} cold launches were counted that are not over, and {there}."
    return ""


def recount() -> None:
    """Make the tally what the rows say. Comes last in its transaction."""
    if Tally.objects.select_for_update().filter(pk=1).exists():  # nobody is between a run's row and its count now
        Tally.objects.filter(pk=1).update(**_active())


def _active() -> dict[str, int]:
    modes = Counter(Run.objects.active().values_list("mode", flat=True))
    return {"warm": modes[LaunchMode.WARM], "cold": modes[LaunchMode.COLD]}


def _column(mode: str) -> str:
    return "warm" if mode == LaunchMode.WARM else "cold"


def _counting(mode: str, mark: int) -> tuple[str, list[int]]:
    """The statement that counts a launch if there is room, and its parameters."""
    column = _column(mode)
    most = settings.MAX_CONCURRENT_WARM if mode == LaunchMode.WARM else settings.MAX_CONCURRENT_COLD
    statement = (
        f"UPDATE runs_tally SET {column} = {column} + 1, launches = launches + 1 "  # noqa: S608
        f"WHERE id = 1 AND {column} < %s AND warm + cold < %s AND launches < %s"
    )
    return statement, [most, settings.MAX_TOTAL_ACTIVE, settings.MAX_RUNS_PER_HOUR + mark]


def check(mode: str, now: datetime, *, but: Run | None = None) -> None:
    """Raise LimitReached when one more launch would be too many, going by the rows. Call it under `Fleet.lock()`.
    `but`: the launch itself, where its row is written already."""
    others = Run.objects.exclude(pk=but.pk) if but else Run.objects.all()
    active = others.active()
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
    recent = others.filter(created_at__gt=now - HOUR).order_by("created_at")
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


def check_client(client: Client, now: datetime, *, but: Run | None = None) -> None:
    """Raise LimitReached when this client may not launch once more, going by the rows. `but`: as in `check`."""
    if (use := clients.reached(client, now, but=but)) is not None:
        raise LimitReached(use.limit.name, use.limit.sentence, use.reset_seconds)


def check_budget(client: Client, now: datetime) -> None:
    """Raise LimitReached when the client's key may not spend as much as one more launch may cost."""
    if clients.has_no_money_left(client, now):
        message = "What this key may spend in a day would not pay for one more launch."
        raise LimitReached("most_usd_a_day", message, clients.money_in_seconds(client, now))


def launches_left(now: datetime) -> int:
    """Return how many more launches this hour allows."""
    return max(0, settings.MAX_RUNS_PER_HOUR - Run.objects.filter(created_at__gt=now - HOUR).count())
