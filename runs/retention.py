"""Old runs with their lines: deleted a portion at a time."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings

from pools import portions
from pools.portions import Portions, delete, delete_in_portions
from runs import usage
from runs.models import OVER, LaunchHour, Run, RunEvent, UsageDay

RUNS_A_PORTION = 100


def lines_of_runs(now: datetime) -> Portions:
    """The lines of runs that ended long ago, from the first: so no index by time is needed, which each line would have
    to be written to."""
    old, after = now - timedelta(days=settings.EVENTS_KEPT_DAYS), -1
    rows = RunEvent.objects.order_by("pk").values_list("pk", "at", "run__ended_at")
    while lines := list(rows.filter(pk__gt=after)[: portions.ROWS]):
        gone = [pk for pk, _, ended_at in lines if ended_at is not None and ended_at < old]
        if gone:
            yield delete(RunEvent.objects.filter(pk__in=gone))
        elif lines[-1][1] >= old:
            return
        after = lines[-1][0]


def runs(now: datetime) -> Portions:
    """Runs that ended long ago, with the lines that they still have."""
    old = now - timedelta(days=settings.RUNS_KEPT_DAYS)
    for state in OVER:  # each by itself, in the order of its index
        ended = Run.objects.filter(state=state, created_at__lt=old, ended_at__lt=old).order_by("created_at")
        while ids := list(ended.values_list("pk", flat=True)[:RUNS_A_PORTION]):
            yield from delete_in_portions(RunEvent.objects.filter(run_id__in=ids).order_by())
            yield Run.objects.filter(pk__in=ids).delete()[0]


def totals(now: datetime) -> Portions:
    """Totals of hours that nobody looks back to."""
    yield from delete_in_portions(UsageDay.objects.filter(day__lt=(now - usage.KEPT).date()))
    yield from delete_in_portions(LaunchHour.objects.filter(hour__lt=now - timedelta(days=settings.RUNS_KEPT_DAYS)))
