"""How many sandboxes there are, by pool and state: counted by the database, whatever the size of the fleet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db.models import Count, Q

from pools.models import EXISTING, ON_THE_WAY, Fleet, Pool, Sandbox, State
from pools.places import Places

UNSEEN = "unseen"  # ready before, and not known to be well


class Supply(NamedTuple):
    """Sandboxes of pools as the first demo counted them."""

    ready: int
    creating: int
    in_use: int

    @classmethod
    def of(cls, counts: Counter[str]) -> Supply:
        return cls(counts[State.READY], sum(counts[state] for state in ON_THE_WAY), counts[State.IN_USE])


@dataclass(frozen=True, slots=True)
class Census:
    """The sandboxes that exist, by state: those of each pool, and all. A ready one that is not known to be well counts
    as UNSEEN."""

    fleet: Fleet
    pools: Sequence[Pool]
    of_pool: dict[int, Counter[str]]
    all: Counter[str]

    @property
    def total(self) -> int:
        return self.all.total()

    @property
    def places(self) -> Places:
        return Places.of(self.fleet, self.total)

    @property
    def in_pools(self) -> Supply:
        """What all pools have together."""
        return Supply.of(sum(self.of_pool.values(), Counter()))

    @property
    def of_runtime(self) -> dict[str, Supply]:
        """What the pools of each runtime have that there are pools of."""
        counts: dict[str, Counter[str]] = {}
        for pool in self.pools:
            counts[pool.runtime] = counts.get(pool.runtime, Counter()) + self.of_pool[pool.pk]
        return {runtime: Supply.of(found) for runtime, found in counts.items()}


def census() -> Census:
    """Count them. Pool by pool, in the order of an index that has all that is asked of it: together, each row would be
    fetched for its pool."""
    fleet, pools = Fleet.get(), list(Pool.objects.all())
    of_pool = {pool.pk: _counts(Q(pool=pool), fleet.started_at) for pool in pools}
    of_none = _counts(Q(pool=None), fleet.started_at)
    return Census(fleet, pools, of_pool, sum(of_pool.values(), of_none))


def _counts(whose: Q, started_at: datetime | None) -> Counter[str]:
    rows = Sandbox.objects.filter(whose, state__in=EXISTING).order_by().values("state")
    counts = Counter(dict(rows.annotate(number=Count("*")).values_list("state", "number")))
    if ready := counts[State.READY]:
        well = Sandbox.objects.known_well(started_at).filter(whose, state=State.READY).count()
        counts[State.READY], counts[UNSEEN] = min(well, ready), max(0, ready - well)
    return counts
