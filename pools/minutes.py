"""What each pool had, minute by minute: counted by the turns and kept for a month. Looking back at a busy pool costs
the same however many sandboxes it had."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from django.db.models import Max, Min

from pools.census import UNSEEN, Census, census
from pools.history_rows import FleetMinute
from pools.models import ON_THE_WAY, CloudApp, Pool, PoolMinute, Sandbox, State

MINUTE = timedelta(minutes=1)
KEPT = timedelta(days=31)  # one can look back for 30
LONGEST_SECONDS = 300  # that a count stands for: of a longer silence nobody knows


def note(now: datetime) -> None:
    """Count the pools' sandboxes, once a minute."""
    minute = now.replace(second=0, microsecond=0)
    last = PoolMinute.objects.aggregate(at=Max("minute"))["at"]
    if last is not None and last >= minute:
        return
    since = minute - MINUTE if last is None else max(last, minute - timedelta(seconds=LONGEST_SECONDS))
    found = census()
    rows = [counted(pool, found.of_pool[pool.pk], since, minute) for pool in found.pools]
    PoolMinute.objects.bulk_create(rows, ignore_conflicts=True)  # two that count write about the same
    FleetMinute.objects.bulk_create([beside_pools(found, minute)], ignore_conflicts=True)


def beside_pools(found: Census, minute: datetime) -> FleetMinute:
    """Return what is noted of the rest of the fleet."""
    of_none = found.all - sum(found.of_pool.values(), Counter())
    return FleetMinute(
        minute=minute,
        oldest_at=Sandbox.objects.existing().aggregate(at=Min("requested_at"))["at"],
        cold=of_none.total() - of_none[State.DELETING],
        deleting=found.all[State.DELETING],
        orphans=CloudApp.objects.filter(orphan_since__isnull=False).count(),
    )


def counted(pool: Pool, counts: Counter[str], since: datetime, minute: datetime) -> PoolMinute:
    """Return what is noted of a pool that has so many sandboxes in each state, `since` being the count before."""
    return PoolMinute(
        pool=pool,
        minute=minute,
        seconds=round((minute - since).total_seconds()),
        made=Sandbox.objects.filter(pool=pool, requested_at__gte=since, requested_at__lt=minute).count(),
        creating=sum(counts[state] for state in ON_THE_WAY),
        ready=counts[State.READY] + counts[UNSEEN],
        in_use=counts[State.IN_USE],
        target=pool.target_ready if pool.wanted(minute) else pool.min_ready,
    )
