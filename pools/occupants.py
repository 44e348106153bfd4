"""The fleet's use: who is in a sandbox, and when somebody wanted a warm one. Those above tell."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from pools.models import Sandbox
from pools.signals import arrivals_asked, creations_asked, launches_asked, occupants_asked, served_asked


@dataclass(frozen=True, slots=True)
class Occupant:
    """The use of a sandbox: a run, of a game, launched by its creator (a key, or a visitor by a short hash). `url` is
    the run's page in the admin."""

    name: str
    what: str
    creator: str
    url: str
    is_over: bool = False
    run_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """One launch that wanted a warm sandbox; a hit when one was there at once."""

    runtime: str
    at: datetime
    was_hit: bool


@dataclass(frozen=True, slots=True)
class Served:
    """What is to answer in a sandbox in use: a game, on that port, at that path."""

    port: int
    path: str


def served(sandbox_ids: Collection[UUID]) -> dict[UUID, Served]:
    """Return what is to answer in these sandboxes; those where nothing is yet, or just now, are left out."""
    found: dict[UUID, Served] = {}
    for _, answer in served_asked.send(sender=Sandbox, sandbox_ids=sandbox_ids) if sandbox_ids else ():
        found.update(answer if isinstance(answer, dict) else {})
    return found


def occupants(sandbox_ids: Collection[UUID]) -> dict[UUID, Occupant]:
    """Return who is in these sandboxes."""
    return _merged(sandbox_ids=sandbox_ids, run="")


def sandboxes_of_run(beginning: str) -> set[UUID]:
    """The sandboxes of the runs whose id begins so."""
    return set(_merged(sandbox_ids=None, run=beginning))


def with_creator(sandboxes: QuerySet[Sandbox], creator: str) -> QuerySet[Sandbox]:
    """Those of them in which that creator's runs are, or were."""
    wanted = Q(pk__in=[])
    for _, ids in creations_asked.send(sender=Sandbox, creator=creator):
        wanted |= Q(pk__in=ids)
    return sandboxes.filter(wanted)


def _merged(*, sandbox_ids: Collection[UUID] | None, run: str) -> dict[UUID, Occupant]:
    found: dict[UUID, Occupant] = {}
    for _, answer in occupants_asked.send(sender=Sandbox, sandbox_ids=sandbox_ids, run=run):
        found.update(answer if isinstance(answer, dict) else {})
    return found


def arrivals(since: datetime) -> list[Arrival]:
    """The launches since then that wanted a warm sandbox, oldest first."""
    found: list[Arrival] = []
    for _, answer in arrivals_asked.send(sender=Sandbox, since=since):
        found += answer if isinstance(answer, list) else []
    return sorted(found, key=lambda arrival: arrival.at)


def launches(runtime: str, since: datetime, most: int) -> list[datetime]:
    """When somebody wanted a warm sandbox of that runtime: the newest `most` moments after then, oldest first."""
    found: list[datetime] = []
    for _, answer in launches_asked.send(sender=Sandbox, runtime=runtime, since=since, most=most):
        found += answer if isinstance(answer, list) else []
    return sorted(found)
