"""What the runs tell the fleet's admin: who is in a sandbox, and when somebody wanted a warm one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from django.dispatch import receiver
from django.urls import reverse

from pools.occupants import Arrival, Occupant
from pools.signals import arrivals_asked, occupants_asked
from runs.models import LaunchMode, Run, RunQuerySet

IDS_A_QUERY = 10_000  # below SQLite's limit of variables
ARRIVALS_LOOKED_AT = 10_000


@receiver(occupants_asked)
def occupants(sandbox_ids: Collection[UUID] | None, run: str, **_: Any) -> dict[UUID, Occupant]:
    found: dict[UUID, Occupant] = {}
    for runs in _runs_in(sandbox_ids) if sandbox_ids is not None else runs_named(run):
        for each in runs.exclude(sandbox=None).select_related("game").only("id", "state", "visitor", "game", "sandbox"):
            if each.sandbox_id is not None:
                url = reverse("admin:runs_run_change", args=[each.pk])
                found[each.sandbox_id] = Occupant(
                    f"run {each.short_id}", each.game.title, each.visitor[:8], url, each.is_over
                )
    return found


def _runs_in(sandbox_ids: Collection[UUID]) -> Iterator[RunQuerySet]:
    ids = list(sandbox_ids)
    for start in range(0, len(ids), IDS_A_QUERY):
        yield Run.objects.filter(sandbox_id__in=ids[start : start + IDS_A_QUERY])


def runs_named(beginning: str) -> Iterator[RunQuerySet]:
    """The runs whose id begins so, if it can be one. Compared as numbers, for which every database has its index."""
    digits = beginning.lower().removeprefix("run").strip().replace("-", "")
    if re.fullmatch(r"[0-9a-f]{4,32}", digits):
        yield Run.objects.filter(pk__gte=UUID(digits.ljust(32, "0")), pk__lte=UUID(digits.ljust(32, "f")))


@receiver(arrivals_asked)
def arrivals(since: datetime, **_: Any) -> list[Arrival]:
    wanted = Run.objects.filter(created_at__gte=since, mode=LaunchMode.WARM).order_by("-created_at")
    rows = wanted.values_list("pk", "game__runtime", "created_at")[:ARRIVALS_LOOKED_AT]
    hits = set(wanted.hits().values_list("pk", flat=True)[:ARRIVALS_LOOKED_AT])
    return [Arrival(runtime, at, pk in hits) for pk, runtime, at in rows]
