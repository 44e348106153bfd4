"""What became of the creates of late: the breaker's evidence, from the sandboxes' rows."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Q

from pools.breaker import MEMORY, Outcome
from pools.models import FailureKind, Origin, Pool, Sandbox

MOST = 500  # the newest; more change nothing
LONGEST_CREATE = timedelta(hours=2)
HOUR = timedelta(hours=1)
FAILED_AN_HOUR = 12  # creates that a pool may lose, at any rate of failures: the breaker alone lets a low one go on


def create_outcomes(runtime: str, now: datetime) -> tuple[Outcome, ...]:
    """Return how the creates of that runtime ended, whoever they were for, oldest first. A full account counts for
    every runtime. What was before an operator closed the breaker does not count."""
    since = now - MEMORY
    closed_at = Pool.objects.filter(runtime=runtime).values_list("breaker_closed_at", flat=True).first()
    if closed_at is not None:
        since = max(since, closed_at)
    alike = Q(runtime=runtime) | Q(failure_kind=FailureKind.QUOTA)
    rows = Sandbox.objects.filter(alike, requested_at__gt=now - MEMORY - LONGEST_CREATE).order_by("-requested_at")
    found = []
    for origin, kind, failed_at, ready_at, healthy_at in rows.values_list(
        "origin", "failure_kind", "delete_requested_at", "ready_at", "healthy_at"
    )[:MOST]:
        at = failed_at if kind else ready_at if origin == Origin.POOL else healthy_at
        if at is not None and since < at <= now:
            found.append((at, FailureKind(kind) if kind else None))
    return tuple(sorted(found, key=lambda outcome: outcome[0]))


def surplus_until(pool: Pool, now: datetime) -> datetime | None:
    """Return when the pool may create again after as many of its creates failed within an hour as may; None: now."""
    failed = Sandbox.objects.filter(pool=pool, origin=Origin.POOL, requested_at__gt=now - HOUR - LONGEST_CREATE)
    failed = failed.exclude(failure_kind="").filter(delete_requested_at__gt=now - HOUR, delete_requested_at__lte=now)
    times = [at for at in failed.values_list("delete_requested_at", flat=True) if at is not None]
    return sorted(times)[-FAILED_AN_HOUR] + HOUR if len(times) >= FAILED_AN_HOUR else None
