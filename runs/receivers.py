"""The runs' answers to the fleet's signals and questions. Rows are read and written, tasks
are queued; the network is never asked."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Case, CharField, F, OuterRef, QuerySet, Subquery, When
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.urls import reverse

from games.models import GameVersion
from pools.demand import Demand
from pools.models import FleetEvent, Sandbox
from pools.occupants import Arrival, Occupant, Served
from pools.signals import (
    arrivals_asked,
    cold_sandbox_healthy,
    creations_asked,
    demand_asked,
    launches_asked,
    occupants_asked,
    sandbox_ending,
    sandbox_ready,
    served_asked,
    service_stopped,
    turn_begins,
)
from runs import lifecycle, upkeep
from runs.creators import creators, runs_by
from runs.launching import deployment
from runs.live.wakeups import wake_readers
from runs.models import OVER, LaunchMode, Run, RunQuerySet, RunState
from runs.reasons import RunEndCode

IDS_A_QUERY = 10_000  # below SQLite's limit of variables
ARRIVALS_LOOKED_AT = 10_000
MANY = 1_000


@receiver(cold_sandbox_healthy)
def take_cold(sandbox: Sandbox, now: datetime, **_: Any) -> None:
    """A run's own sandbox is healthy: it is taken, and the game goes in."""
    if run := lifecycle.give_healthy(sandbox, now):
        deployment.queue(run)


@receiver(sandbox_ready)
def serve_the_waiting(sandbox: Sandbox, now: datetime, **_: Any) -> None:
    upkeep.serve_waiting(sandbox.runtime, now)


@receiver(sandbox_ending)
def end_the_run(sandbox: Sandbox, reason: str, now: datetime, **_: Any) -> None:
    """A run does not outlive its sandbox."""
    for run in Run.objects.active().filter(sandbox=sandbox):
        if run.state == RunState.RUNNING and sandbox.has_expired(now):
            lifecycle.end(run.id, RunEndCode.TIME_UP, "Its time was up.", now)
        elif run.state == RunState.ACQUIRING:
            reason = f"No sandbox could be made: {reason.rstrip('.')}."
            lifecycle.fail(run.id, RunEndCode.SANDBOX_FAILED, reason, now)
        else:
            lifecycle.fail(run.id, RunEndCode.SANDBOX_LOST, f"The sandbox is gone: {reason.rstrip('.')}.", now)


@receiver(served_asked)
def what_is_served(sandbox_ids: Collection[UUID], **_: Any) -> dict[UUID, Served]:
    """Return the games that are to answer in these sandboxes."""
    played = Run.objects.played()
    if len(sandbox_ids) < MANY:  # else nearly all that are played are asked for: that takes less without their names
        played = played.filter(sandbox_id__in=sandbox_ids)
    wanted = set(sandbox_ids)
    rows = played.values_list("sandbox_id", "port", "game__port", _health_path())
    return {sandbox_id: Served(port or usual, path) for sandbox_id, port, usual, path in rows if sandbox_id in wanted}


def _health_path() -> Case:
    """Of the version that is played, where another one is published by now."""
    same = GameVersion.objects.filter(game=OuterRef("game"), source_digest=OuterRef("source_digest"))
    own = same.exclude(source_digest="").values_list(KT("manifest__health_path"))[:1]
    as_now = F("game__health_path")
    is_now = When(source_digest__in=["", F("game__source_digest")], then=as_now)
    return Case(is_now, default=Coalesce(Subquery(own), as_now), output_field=CharField())


@receiver(service_stopped)
def start_the_game_again(sandbox: Sandbox, trouble: str, now: datetime, **_: Any) -> None:
    upkeep.start_again(sandbox, trouble, now)


@receiver(turn_begins)
def put_right(now: datetime, **_: Any) -> None:
    upkeep.put_right(now)


@receiver(post_save, sender=FleetEvent)
def wake_fleet_readers(**_: Any) -> None:
    wake_readers()


@receiver(demand_asked)
def demand(now: datetime, **_: Any) -> Demand:
    """Return how many launches wait for a pool's sandbox, and how many for a place of their own."""
    return Demand(Run.objects.waiting_for_pool().by_runtime(), Run.objects.waiting_for_place().count())


@receiver(occupants_asked)
def occupants(sandbox_ids: Collection[UUID] | None, run: str, **_: Any) -> dict[UUID, Occupant]:
    """Return who is in each of these sandboxes, or in those of the runs whose id begins with `run`."""
    found: dict[UUID, Occupant] = {}
    nobody = UUID(int=0)
    url = reverse("admin:runs_run_change", args=[nobody])  # once: there may be thousands
    for runs in _runs_in(sandbox_ids) if sandbox_ids is not None else [Run.objects.named(run)]:
        rows = list(runs.exclude(sandbox=None).values_list("sandbox_id", "pk", "game__title", "visitor", "state"))
        named = creators({visitor for _, _, _, visitor, _ in rows})
        for sandbox_id, pk, title, visitor, state in rows:
            name, its_url = f"run {pk.hex[:8]}", url.replace(str(nobody), str(pk))
            found[sandbox_id] = Occupant(name, title, named[visitor], its_url, state in OVER, pk)
    return found


@receiver(creations_asked)
def creations(creator: str, **_: Any) -> QuerySet[Run, UUID | None]:
    """Return the ids of the sandboxes in which that creator's runs are, or were."""
    return runs_by(creator).exclude(sandbox=None).values_list("sandbox_id", flat=True)


def _runs_in(sandbox_ids: Collection[UUID]) -> Iterator[RunQuerySet]:
    ids = list(sandbox_ids)
    for start in range(0, len(ids), IDS_A_QUERY):
        yield Run.objects.filter(sandbox_id__in=ids[start : start + IDS_A_QUERY])


@receiver(arrivals_asked)
def arrivals(since: datetime, **_: Any) -> list[Arrival]:
    """Return when somebody wanted a warm sandbox, and whether one was ready then."""
    wanted = Run.objects.filter(created_at__gte=since, mode=LaunchMode.WARM).order_by("-created_at")
    rows = wanted.values_list("pk", "game__runtime", "created_at")[:ARRIVALS_LOOKED_AT]
    hits = set(wanted.hits().values_list("pk", flat=True)[:ARRIVALS_LOOKED_AT])
    return [Arrival(runtime, at, pk in hits) for pk, runtime, at in rows]


@receiver(launches_asked)
def launches(runtime: str, since: datetime, most: int, **_: Any) -> list[datetime]:
    """Return when somebody wanted a warm sandbox of that runtime, oldest first."""
    wanted = Run.objects.filter(created_at__gt=since, mode=LaunchMode.WARM, game__runtime=runtime)
    return list(wanted.order_by("-created_at").values_list("created_at", flat=True)[:most])[::-1]
