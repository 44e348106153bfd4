"""The demand for sandboxes: the launches that wait, and when a pool was last asked for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pools.models import Fleet, Pool
from pools.signals import demand_asked


@dataclass(frozen=True, slots=True)
class Demand:
    """Launches that wait: for a pool's sandbox, by runtime; and for a place in the fleet."""

    waiting: Mapping[str, int] = field(default_factory=dict)
    places: int = 0

    def __add__(self, other: Demand) -> Demand:
        runtimes = {*self.waiting, *other.waiting}
        return Demand(
            {runtime: self.waiting.get(runtime, 0) + other.waiting.get(runtime, 0) for runtime in runtimes},
            self.places + other.places,
        )


def demand(now: datetime) -> Demand:
    """Return how many launches wait, as those above tell."""
    total = Demand()
    for _, answer in demand_asked.send(sender=Fleet, now=now):
        total += answer if isinstance(answer, Demand) else Demand()
    return total


def note_demand(pool: Pool, by: str, now: datetime) -> None:
    """Somebody asked for a sandbox of this pool: what keeps it warm."""
    Pool.objects.filter(pk=pool.pk).update(last_acquired_at=now, last_acquired_by=by)


def note_demand_unless_busy(pool: Pool, by: str, now: datetime) -> None:
    """The same, without waiting for who has locked the pool's row: of many that ask in one moment one is enough."""
    free = Pool.objects.select_for_update(skip_locked=True, no_key=True).filter(pk=pool.pk).order_by()
    Pool.objects.filter(pk__in=free.values("pk")).update(last_acquired_at=now, last_acquired_by=by)
