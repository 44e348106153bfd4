"""What is counted of the fleet in each process."""

from __future__ import annotations

from functools import partial

from django.db import transaction

from pools.meters import LONG_SECONDS, Counter, Histogram
from pools.reasons import CreateCode, EndCode

CREATES = Counter(
    "sandbox_creates_total", "Sandboxes that were asked for, by the reason's code.", code=CreateCode.values
)
ENDS = Counter("sandbox_ends_total", "Sandboxes that were ended, by the reason's code.", code=EndCode.values)
READY_SECONDS = Histogram(
    "sandbox_ready_seconds", "From the wish for a pool's sandbox until it was ready.", LONG_SECONDS
)
TURN_SECONDS = Histogram(
    "turn_seconds", "How long turns of the reconciler took, by how they ended.", LONG_SECONDS, outcome=("ok", "died")
)


def created(code: str) -> None:
    """Counted when the transaction commits."""
    transaction.on_commit(partial(CREATES.add, code))


def ended(code: str) -> None:
    transaction.on_commit(partial(ENDS.add, code))


def ready(seconds: float) -> None:
    transaction.on_commit(partial(READY_SECONDS.note, seconds))
