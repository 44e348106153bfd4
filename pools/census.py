"""How many sandboxes there are, by pool and state: counted by the database, whatever the size of the fleet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Q

from pools.models import EXISTING, Fleet, Pool, Sandbox, State

UNSEEN = "unseen"  # ready before, and not known to be well


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
