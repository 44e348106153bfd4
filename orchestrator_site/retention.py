"""What nobody will read again is deleted, a portion at a time, so that the database does not grow for ever.

Each kind of row is a rule: a generator that deletes one portion, in a transaction of its own, each time it is asked.
The rules take turns until all are done or the time is up; what is left is for the next clean-up. Between two portions
nothing is locked, and whoever waits for the database gets it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from axes.models import AccessAttempt, AccessLog
from django.conf import settings
from django.contrib.sessions.models import Session
from django_q.models import Failure

from orchestrator_site.models import Beat
from pools import clock, spending
from pools import retention as pools_retention
from pools.models import Lease
from pools.portions import Portions, delete_in_portions
from runs import launch_hours, usage
from runs import retention as runs_retention

BREATH_SECONDS = 0.02  # after each portion: SQLite does not queue those who wait to write
SHORT = timedelta(days=1)  # for what only says how things stand

Rule = Callable[[datetime], Portions]


def clean_up(now: datetime, seconds: float) -> int:
    """Delete for about so many seconds what is too old, all kinds in turn. Return how many rows went, or were written
    as totals; 0 when there is nothing left to do."""
    until = clock.monotonic() + seconds
    waiting = [rule(now) for rule in RULES]
    done = 0
    while waiting and clock.monotonic() < until:
        for portions in list(waiting):
            rows = next(portions, None)
            if rows is None:
                waiting.remove(portions)
                continue
            done += rows
            clock.sleep(BREATH_SECONDS)
            if clock.monotonic() >= until:
                break
    return done


def runs_and_sandboxes(now: datetime) -> Portions:
    """Sandboxes after the runs that were in them."""
    yield from runs_retention.runs(now)
    yield from pools_retention.sandboxes(now)


def sessions(now: datetime) -> Portions:
    yield from delete_in_portions(Session.objects.filter(expire_date__lt=now))


def sign_ins(now: datetime) -> Portions:
    """Failures that no lock and no alarm counts any more; where accounts signed in from."""
    yield from delete_in_portions(AccessAttempt.objects.filter(attempt_time__lt=now - SHORT).order_by())
    old = now - timedelta(days=settings.EVENTS_KEPT_DAYS)
    yield from delete_in_portions(AccessLog.objects.filter(attempt_time__lt=old).order_by())


def signs_of_life(now: datetime) -> Portions:
    old = now - timedelta(days=settings.EVENTS_KEPT_DAYS)
    yield from delete_in_portions(Failure.objects.filter(stopped__lt=old).order_by())
    yield from delete_in_portions(Beat.objects.filter(at__lt=now - SHORT))
    yield from delete_in_portions(Lease.objects.filter(expires_at__lt=now - SHORT))


# Totals first: what is deleted has been counted.
RULES: tuple[Rule, ...] = (
    spending.settle,
    launch_hours.settle,
    usage.settle,
    pools_retention.log_lines,
    pools_retention.deliveries,
    pools_retention.alarms_in_hand,
    runs_retention.lines_of_runs,
    runs_and_sandboxes,
    pools_retention.totals,
    runs_retention.totals,
    sessions,
    sign_ins,
    signs_of_life,
)
