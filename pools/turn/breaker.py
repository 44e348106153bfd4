"""The breaker of a pool: after failed creates growing delays, then a stop. Pure: all of it follows from the
failures since the last success, so nothing is stored that could drift."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pools.models import FailureKind

FIRST_DELAY_SECONDS = 5
LONGEST_DELAY_SECONDS = 300
FAILURES_TO_OPEN = 3
FIRST_OPEN_SECONDS = 60
LONGEST_OPEN_SECONDS = 1800


@dataclass(frozen=True, slots=True)
class Breaker:
    """`retry_at` is when the next create may go; `is_open` when that wait is the breaker's, `is_probing` when the one
    create after it is on trial."""

    is_open: bool
    is_probing: bool
    retry_at: datetime | None
    failures: int
    explanation: str


CLOSED = Breaker(is_open=False, is_probing=False, retry_at=None, failures=0, explanation="")


def breaker_at(failures: Sequence[tuple[datetime, FailureKind]], now: datetime) -> Breaker:
    """The breaker's state at `now`, from the failed creates since the last success, oldest first."""
    if not failures:
        return CLOSED
    count, last = len(failures), failures[-1][0]
    kinds = Counter(kind.value for _, kind in failures)
    what = ", ".join(f"{n} {kind} failure{'s' if n > 1 else ''}" for kind, n in kinds.most_common())
    if count < FAILURES_TO_OPEN:
        retry_at = last + timedelta(seconds=min(FIRST_DELAY_SECONDS * 2 ** (count - 1), LONGEST_DELAY_SECONDS))
        return Breaker(
            False,
            False,
            retry_at if retry_at > now else None,
            count,
            f"waits until {retry_at:%H:%M:%S}, {what}",
        )
    open_seconds = min(FIRST_OPEN_SECONDS * 2 ** min(count - FAILURES_TO_OPEN, 16), LONGEST_OPEN_SECONDS)
    retry_at = last + timedelta(seconds=open_seconds)
    if now < retry_at:
        return Breaker(True, False, retry_at, count, f"breaker open until {retry_at:%H:%M:%S}, {what}")
    return Breaker(False, True, None, count, f"breaker half-open: one create on trial after {what}")
