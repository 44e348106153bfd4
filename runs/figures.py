"""What the metrics tell of runs, read from the database when somebody asks: the same from every machine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Count

from pools import clock
from pools.meters import Figure
from pools.shared import sparingly
from runs.models import ACTIVE, Run
from runs.usage import By, Usage, usage

RUNS = Figure("runs", "Runs that are not over, by state.", "state")
WAITING = Figure(
    "runs_waiting", "Launches that wait: for a sandbox of their pool, or for a place of their own.", "line"
)
OLDEST_WAIT = Figure(
    "oldest_wait_seconds", "For how long the launch has waited that came first; 0 without any.", "line"
)
TODAY = Figure("cost_usd_today", "What sandboxes have cost today (UTC), in use or idle.", "use")

Told = tuple[Figure, float, tuple[str, ...]]


def tell(now: datetime) -> Iterator[Told]:
    """All of the runs' figures."""
    counts = dict(Run.objects.active().values("state").annotate(n=Count("*")).values_list("state", "n"))
    for state in ACTIVE:
        yield RUNS, counts.get(state, 0), (state,)
    for line, runs in {"pool": Run.objects.waiting_for_pool(), "place": Run.objects.waiting_for_place()}.items():
        came = list(runs.values_list("created_at", flat=True))
        yield WAITING, len(came), (line,)
        yield OLDEST_WAIT, max(0.0, (now - came[0]).total_seconds()) if came else 0.0, (line,)
    today = USED_TODAY()
    yield TODAY, today.idle_usd, ("idle",)
    yield TODAY, today.in_use_usd, ("in_use",)


def _today() -> Usage:
    now, total = clock.now(), Usage()
    for used in usage(now.date(), now.date(), By.DAY, now).values():
        total.add(used)
    return total


USED_TODAY = sparingly(_today)
