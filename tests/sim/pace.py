"""How often the simulation has the product look where nothing can have changed: what is skipped finds nothing.

While a sandbox is on its way, the product takes a turn each second, to see it a second after it is there. Here a turn
that decided nothing is followed by one when the account changes next, or after PACE_SECONDS: as after a turn that is
late. Leases last longer by one factor, and are renewed less often; their relations stay as they are. In one seed of
SLOW_SEEDS nothing is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any
from unittest import mock

from orchestrator_site.cluster import in_hand
from pools import tasks
from pools.turn import reconciler
from pools.turn.decisions import Decision, Kind
from tests.sim.kernel import Kernel

PACE_SECONDS = 30.0
LEASES = 6
SLOW_SEEDS = 8
LOOKS_SECONDS = 10.0
QUIET = (Kind.HOLD, Kind.STOP, Kind.LOOK)


@contextmanager
def paced(kernel: Kernel, next_change: Callable[[], float]) -> Iterator[None]:
    """`next_change`: seconds until the account changes by itself."""
    real = reconciler.due_in_seconds

    def due_in_seconds(facts: Any, decisions: Sequence[Decision], now: datetime) -> float | None:
        due = real(facts, decisions, now)
        if due is None or any(decision.kind not in QUIET for decision in decisions):
            return due
        return max(due, min(next_change() + 0.5, PACE_SECONDS))

    if kernel.seed % SLOW_SEEDS == 0:
        yield
        return
    with ExitStack() as stack:
        for target, name, value in (
            (reconciler, "due_in_seconds", due_in_seconds),
            (reconciler, "LOOK_SECONDS", 0.5),
            (reconciler, "LEASE_SECONDS", reconciler.LEASE_SECONDS * LEASES),
            (tasks, "LEASE_SECONDS", tasks.LEASE_SECONDS * LEASES),
            (tasks, "LOOK_SECONDS", LOOKS_SECONDS),
            (in_hand, "LEASE_SECONDS", in_hand.LEASE_SECONDS * LEASES),
            (in_hand, "RENEW_SECONDS", in_hand.RENEW_SECONDS * LEASES),
        ):
            stack.enter_context(mock.patch.object(target, name, value))
        yield
