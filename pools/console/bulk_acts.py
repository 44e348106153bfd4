"""What operators do with bulk work: pause, resume and stop it, each a line in the log."""

from __future__ import annotations

from pools import bulk, clock
from pools.bulk_rows import BulkState, BulkWork
from pools.console.operations import Refused


def move(work: BulkWork, to: BulkState, *, actor: str, reason: str) -> str:
    """Raises Refused when another operator was first, or it is over."""
    if not bulk.move(work, to, actor=actor, reason=reason, now=clock.now()):
        work.refresh_from_db()
        raise Refused(f"The {work} is {work.get_state_display().lower()} already.")
    return f"the {work} is {work.get_state_display().lower()}"
