"""The size that a pool should have now, by its own launches and creates, and the sentence that says why.

What was learned is kept in the process and goes on with each launch. At every full hour it is learned anew from the
last days, so that all processes say the same.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import fmean

from django.utils import timezone

from pools.models import Origin, Pool, Sandbox
from pools.occupants import launches
from pools.sizing.rule import ASKED_SHARE, DAYS, Need

CREATES_LOOKED_AT = 200
LAUNCHES_LOOKED_AT = 50_000
DEFAULT_CREATE_SECONDS = 60.0  # while none was made yet; App Platform takes 30 to 90 s
TOLD_OF = 20  # launches of other days that a sentence rests on
PARTS_OF_DAY = ("night", "morning", "afternoon", "evening")  # six hours each
NUMBERS = ("", "", "two", "three", "four", "five", "six", "seven")


@dataclass(frozen=True, slots=True)
class Recommendation:
    """`target_ready`, and the sentence that says why."""

    target_ready: int
    reason: str


@dataclass(slots=True)
class _Known:
    """What was learned of a pool since an hour began."""

    hour: datetime
    need: Need
    is_measured: bool
    seen_until: datetime


KNOWN: dict[int, _Known] = {}
_LOCK = threading.Lock()


def recommend(pool: Pool, now: datetime) -> Recommendation:
    """The `target_ready` that the pool should have now, whatever it may have, and why."""
    with _LOCK:
        known = _known(pool, now)
        target = known.need.target(now.timestamp())
        return Recommendation(target, _sentence(known, target, pool, now))


def create_seconds(pool: Pool, since: datetime, until: datetime) -> list[float]:
    """How long the pool's last sandboxes took, from request to ready."""
    made = Sandbox.objects.filter(
        pool=pool, origin=Origin.POOL, ready_at__isnull=False, requested_at__gte=since, requested_at__lt=until
    )
    moments = made.order_by("-requested_at").values_list("requested_at", "ready_at")[:CREATES_LOOKED_AT]
    return [(ready_at - requested_at).total_seconds() for requested_at, ready_at in moments if ready_at]


def _known(pool: Pool, now: datetime) -> _Known:
    hour = now.replace(minute=0, second=0, microsecond=0)
    known = KNOWN.get(pool.pk)
    if known is None or known.hour != hour or not known.is_measured:
        since = hour - timedelta(days=DAYS)
        takes = create_seconds(pool, since, hour) or create_seconds(pool, since, now)
        need = Need(fmean(takes) if takes else DEFAULT_CREATE_SECONDS)
        known = KNOWN[pool.pk] = _Known(hour, need, bool(takes), since)
    for moment in launches(pool.runtime, known.seen_until, LAUNCHES_LOOKED_AT):
        known.need.launch(moment.timestamp())
        known.seen_until = moment
    return known


def _sentence(known: _Known, target: int, pool: Pool, now: datetime) -> str:
    need, takes = known.need, known.need.create_seconds
    if not need.moments:
        return f"nobody wanted one in the last {DAYS} days"
    begin = timezone.localtime(now).replace(minute=0, second=0, microsecond=0)
    past = need.past(begin.timestamp(), target)
    if need.is_surge(now.timestamp()):
        came = need.launches_lately
        reason = f"{came} launch{'es' if came > 1 else ''} within the last {takes:.0f} s, more than usual"
    elif past.launches >= TOLD_OF:
        when = f"{begin.hour} and {begin.hour + 1} h"
        days = f"last {NUMBERS[past.days]} {_part_of_day(begin)}s" if past.days > 1 else f"last {_part_of_day(begin)}"
        reason = f"{_percent(past.served / past.launches)} of the {days} between {when} "
        reason += f"needed at most {target} within {takes:.0f} s"
    else:
        came = len(need.moments)
        measured = "takes" if known.is_measured else "should take"
        reason = f"{came} launch{'es' if came > 1 else ''} so far, one {measured} {takes:.0f} s to make"
    if target > pool.max_ready:
        reason += f"; that needs max ready raised from {pool.max_ready}"
    cold = _cold_share(need.moments, pool.idle_timeout_seconds)
    if cold > 1 - ASKED_SHARE and pool.min_ready < target:
        reason += f"; {_percent(cold)} came later than its idle timeout of {pool.idle_timeout_seconds} s after the one "
        reason += f"before, when it has {pool.min_ready}: a longer one serves those, too"
    return reason


def _part_of_day(begin: datetime) -> str:
    return PARTS_OF_DAY[begin.hour // 6]


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _cold_share(moments: Iterable[float], idle_timeout_seconds: int) -> float:
    """The share of launches that find the pool shrunk to its floor."""
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    return sum(gap > idle_timeout_seconds for gap in gaps) / len(gaps) if gaps else 0.0
