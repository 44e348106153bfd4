"""What Django-Q runs for the fleet."""

from __future__ import annotations

import time

from pools import leases
from pools.reconciler import turn

LOOP_SECONDS = 55.0  # up to the next scheduled one
LOOP_LEASE_SECONDS = 90.0  # longer than any turn
PATIENCE_SECONDS = 20.0


def reconcile() -> None:
    """Take a turn, and further ones while something is in flight. Scheduled every minute and queued by `nudge`.

    However many of these run, turns are taken one at a time (the lease "turn") and one of them goes on (the lease
    "turns"); the others end after their first.
    """
    until = time.monotonic() + LOOP_SECONDS
    due_in_seconds = _turn_when_free()
    if due_in_seconds is None:
        return
    try:
        with leases.hold("turns", LOOP_LEASE_SECONDS) as loop:
            while due_in_seconds is not None and time.monotonic() + due_in_seconds < until:
                time.sleep(due_in_seconds)
                due_in_seconds = _turn_when_free()
                loop.renew()
    except (leases.LeaseHeld, leases.LeaseLost):
        return


def _turn_when_free() -> float | None:
    """One turn, after the one that is being taken now."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return turn().due_in_seconds
        except leases.LeaseHeld:
            if time.monotonic() > give_up_at:
                return None
            time.sleep(0.05)
