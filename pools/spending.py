"""What sandboxes have cost: summed by the database, from the hours' totals as far as there are any.

A sandbox's cost is settled in the hour in which it was deleted, once that hour is past. So what is asked at each
create costs the same however many there have ever been.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import F, FloatField, Max, Min, Q, Sum, Value
from django.db.models.functions import Greatest

from pools.models import Sandbox, SpentHour
from pools.moments import HOUR, Seconds, Window, hour_of, is_past, within
from pools.portions import Portions
from pools.prices import LEAST_BILLED_SECONDS, usd_per_second

BUDGET_WINDOW = timedelta(days=30)


def spent_usd(now: datetime) -> Decimal:
    """Return what the sandboxes have cost that were there within the budget's window: each one's `cost_usd`, summed."""
    window = Window.of(now - BUDGET_WINDOW, _settled_until())
    seconds: defaultdict[str, float] = defaultdict(float)
    for size, billed in _there_now(now):
        seconds[size] += billed
    for part in window.rows("deleted_at"):
        for size, billed in _gone(part):
            seconds[size] += billed
    totals = SpentHour.objects.filter(window.hours).order_by().values("size").annotate(billed=Sum("billed_seconds"))
    for size, billed in totals.values_list("size", "billed"):
        seconds[size] += billed
    return sum((usd_per_second(size) * Decimal(billed) for size, billed in seconds.items()), Decimal(0))


def settle(now: datetime) -> Portions:
    """Write the totals of the hours that are past, one after the other."""
    begin = max(_settled_until() or hour_of(now - BUDGET_WINDOW), hour_of(now - BUDGET_WINDOW))
    billed = Sandbox.objects.filter(accepted_at__isnull=False).order_by()
    while (first := billed.filter(deleted_at__gte=begin).aggregate(at=Min("deleted_at"))["at"]) is not None:
        hour = hour_of(first)
        if not is_past(hour, now):
            return
        rows = [SpentHour(hour=hour, size=size, billed_seconds=seconds) for size, seconds in _gone(_in(hour))]
        SpentHour.objects.bulk_create(rows, ignore_conflicts=True)  # two that settle write the same
        begin = hour + HOUR
        yield len(rows)


def _settled_until() -> datetime | None:
    last: datetime | None = SpentHour.objects.aggregate(at=Max("hour"))["at"]
    return last + HOUR if last is not None else None


def _in(hour: datetime) -> Q:
    return within("deleted_at", hour)


def _there_now(now: datetime) -> list[tuple[str, float]]:
    until = Seconds(Value(now))
    return _billed(Q(deleted_at__isnull=True), until)


def _gone(part: Q) -> list[tuple[str, float]]:
    return _billed(part, Seconds(F("deleted_at")))


def _billed(part: Q, until: Seconds) -> list[tuple[str, float]]:
    """Return the seconds billed for each size."""
    took = Greatest(until - Seconds(F("accepted_at")), Value(LEAST_BILLED_SECONDS), output_field=FloatField())
    rows = Sandbox.objects.filter(part, accepted_at__isnull=False).order_by()
    return list(rows.values("size").annotate(billed=Sum(took)).values_list("size", "billed"))
