"""Old lines of the orchestrator log, old sandboxes and totals: deleted a portion at a time."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings

from pools import minutes, portions
from pools.alarm_rows import AlarmInHand
from pools.history_rows import Finding, FleetMinute
from pools.models import FleetEvent, PoolMinute, Sandbox, SpentHour, State
from pools.portions import Portions, delete, delete_in_portions
from pools.webhooks import Delivery

DELIVERIES_KEPT = timedelta(days=7)


def log_lines(now: datetime) -> Portions:
    """The orchestrator log, from its beginning: lines are numbered in the order in which they were written."""
    old, after = now - timedelta(days=settings.EVENTS_KEPT_DAYS), -1
    while lines := list(
        FleetEvent.objects.filter(seq__gt=after).order_by("seq").values_list("seq", "at")[: portions.ROWS]
    ):
        gone = [seq for seq, at in lines if at < old]
        if not gone:
            return
        yield FleetEvent.objects.filter(seq__in=gone).delete()[0]
        after = lines[-1][0]


def sandboxes(now: datetime) -> Portions:
    """Sandboxes that were deleted long ago. One is kept as long as the run that was in it."""
    old, after = now - timedelta(days=max(settings.SANDBOXES_KEPT_DAYS, settings.RUNS_KEPT_DAYS)), None
    deleted = Sandbox.objects.filter(state=State.DELETED, requested_at__lt=old, deleted_at__lt=old)
    rows = deleted.order_by("requested_at").values_list("pk", "requested_at", "run")
    while found := list((rows.filter(requested_at__gt=after) if after else rows)[: portions.ROWS]):
        gone = [pk for pk, _, run in found if run is None]
        if not gone:
            return
        yield delete(Sandbox.objects.filter(pk__in=gone, run=None))
        after = found[-1][1]


def deliveries(now: datetime) -> Portions:
    """Deliveries of webhooks that are over, and old; also those nobody tried for so long."""
    yield from delete_in_portions(Delivery.objects.filter(created_at__lt=now - DELIVERIES_KEPT).order_by("created_at"))


def alarms_in_hand(now: datetime) -> Portions:
    """Who had which alarm: as long as the log, which tells it, too."""
    old = now - timedelta(days=settings.EVENTS_KEPT_DAYS)
    yield from delete_in_portions(AlarmInHand.objects.filter(at__lt=old).order_by("at"))


def totals(now: datetime) -> Portions:
    """Totals of hours, counts of minutes, and findings that are over, which nobody looks back to."""
    old = now - minutes.KEPT
    yield from delete_in_portions(PoolMinute.objects.filter(minute__lt=old).order_by("minute"))
    yield from delete_in_portions(FleetMinute.objects.filter(minute__lt=old).order_by("minute"))
    yield from delete_in_portions(Finding.objects.filter(until__lt=old).order_by("until"))
    yield from delete_in_portions(SpentHour.objects.filter(hour__lt=now - timedelta(days=settings.SANDBOXES_KEPT_DAYS)))
