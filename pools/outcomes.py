"""What became of the creates of late: the breaker's evidence, from the sandboxes' rows."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Case, F, Q, QuerySet, When

from pools.breaker import CLOSED, MEMORY, Breaker, Outcome, breaker_at
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
    ended_at = Case(
        When(~Q(failure_kind=""), then=F("delete_requested_at")),
        When(origin=Origin.POOL, then=F("ready_at")),
        default=F("healthy_at"),
    )
    rows = _newest(runtime, now).annotate(at=ended_at).values_list("at", "failure_kind")
    found = [(at, FailureKind(kind) if kind else None) for at, kind in rows if at is not None and since < at <= now]
    return tuple(sorted(found, key=lambda outcome: outcome[0]))


def breaker_of(runtime: str, now: datetime) -> Breaker:
    """Return the breaker of the creates of that runtime. No outcome is read while none of them is a failure."""
    failed = Sandbox.objects.filter(pk__in=_newest(runtime, now).values("pk")).exclude(failure_kind="")
    return breaker_at(create_outcomes(runtime, now), now) if failed.exists() else CLOSED


def _newest(runtime: str, now: datetime) -> QuerySet[Sandbox]:
    alike = Q(runtime=runtime) | Q(failure_kind=FailureKind.QUOTA)
    rows = Sandbox.objects.filter(alike, requested_at__gt=now - MEMORY - LONGEST_CREATE)
    return rows.order_by("-requested_at")[:MOST]


def surplus_until(pool: Pool, now: datetime) -> datetime | None:
    """Return when the pool may create again after as many of its creates failed within an hour as may; None: now."""
    failed = Sandbox.objects.filter(pool=pool, origin=Origin.POOL, requested_at__gt=now - HOUR - LONGEST_CREATE)
    failed = failed.exclude(failure_kind="").filter(delete_requested_at__gt=now - HOUR, delete_requested_at__lte=now)
    times = [at for at in failed.values_list("delete_requested_at", flat=True) if at is not None]
    return sorted(times)[-FAILED_AN_HOUR] + HOUR if len(times) >= FAILED_AN_HOUR else None
