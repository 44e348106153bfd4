"""The fleet as it was at a moment: worked out from the sandboxes' own timestamps, the log's edits, the findings and the
minutes that are kept, so that hardly anything has to be written for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Case, Count, DateTimeField, F, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Coalesce, Least

from pools import incidents
from pools.edits import Of, edit_in
from pools.history_rows import Finding, FleetMinute
from pools.incidents import Incident
from pools.models import EXISTING, Fleet, Pool, Sandbox, State
from pools.prices import usd_per_second
from pools.reasons import LogKind

KEPT = timedelta(days=30)
COUNTED_WITHIN = timedelta(minutes=2)  # of a minute's beginning it was counted
EDITS_LOOKED_AT = 5_000
STATES = tuple(State(state) for state in EXISTING)
SET = ("mode", "target_ready", "min_ready", "max_ready")


@dataclass(slots=True)
class PoolThen:
    """A pool at that moment; with an empty name, what was in no pool. `usd_per_hour`: of all that was billed."""

    name: str
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATES, 0))
    usd_per_hour: Decimal = Decimal(0)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class FleetThen:
    """The whole at that moment. `findings` are by name of the sandbox or app; `alarms` those that stood."""

    at: datetime
    pools: Sequence[PoolThen]
    findings: Sequence[Finding]
    alarms: Sequence[Incident]
    maintenance: bool
    maintenance_message: str

    @property
    def total(self) -> int:
        return sum(pool.total for pool in self.pools)

    @property
    def usd_per_hour(self) -> Decimal:
        return sum((pool.usd_per_hour for pool in self.pools), Decimal(0))


def kept_from(now: datetime) -> datetime:
    """The first minute that can be looked back to."""
    return (now - KEPT).replace(second=0, microsecond=0) + timedelta(minutes=1)


def within_kept(at: datetime, now: datetime) -> datetime:
    """The moment, or the nearest that can be shown."""
    return min(max(at, kept_from(now)), now)


def existing_at(at: datetime) -> QuerySet[Any]:
    """The sandboxes that existed then, each with `state_then` and `since_then`, newest first. Those asked for before
    the oldest that existed a little earlier are not looked at, however many there have been."""
    counted = FleetMinute.objects.filter(minute__lte=at - COUNTED_WITHIN).order_by("-minute")
    before = counted.values("minute", "oldest_at")[:1]
    existed: QuerySet[Any] = Sandbox.objects.filter(requested_at__lte=at).filter(
        Q(deleted_at=None) | Q(deleted_at__gt=at)
    )
    for row in before:
        existed = existed.filter(requested_at__gte=row["oldest_at"] or row["minute"])
    existed = existed.annotate(state_then=_state(at), since_then=_since(at))
    return existed.order_by("-requested_at", "id")


def fleet_then(at: datetime, now: datetime) -> FleetThen:
    """What there was then, in a fixed number of statements."""
    pools = {pool.pk: pool for pool in Pool.objects.all()}
    fleet = Fleet.get()
    of_pools, maintenance = _settings_then(list(pools.values()), fleet, at, now)
    found: dict[int | None, PoolThen] = {
        pk: PoolThen(pool.name, settings=of_pools[pk]) for pk, pool in pools.items()
    } | {None: PoolThen("")}
    billed = Count("pk", filter=Q(accepted_at__lte=at))
    rows = (
        existing_at(at).order_by().values("pool_id", "state_then", "size").annotate(number=Count("pk"), billed=billed)
    )
    for row in rows:
        pool = found[row["pool_id"]]
        pool.counts[row["state_then"]] += row["number"]
        pool.usd_per_hour += usd_per_second(row["size"]) * 3600 * row["billed"]
    return FleetThen(
        at,
        [pool for pool in found.values() if pool.name or pool.total],
        list(Finding.objects.filter(since__lte=at).filter(Q(until=None) | Q(until__gt=at)).order_by("code", "name")),
        incidents.alarms(at, at, now),
        maintenance["maintenance"],
        maintenance["maintenance_message"],
    )


def _settings_then(
    pools: Sequence[Pool], fleet: Fleet, at: datetime, now: datetime
) -> tuple[dict[int, dict[str, Any]], dict[str, Any]]:
    """How the pools and the fleet were set: as they are, without the edits since then, which are taken back from the
    newest on."""
    of_pools = {pool.pk: {name: getattr(pool, name) for name in SET} for pool in pools}
    by_name = {pool.name: of_pools[pool.pk] for pool in pools}
    of_fleet = {"maintenance": fleet.maintenance, "maintenance_message": fleet.maintenance_message}
    edits = incidents.marked(at, now).filter(kind__in=(LogKind.POOL, LogKind.MAINTENANCE), at__gt=at)
    for data in edits.order_by("-at", "-seq").values_list("data", flat=True)[:EDITS_LOOKED_AT]:
        made = edit_in(data)
        if made is None:
            continue
        was = by_name.get(made.name) if made.of == Of.POOL else of_fleet if made.of == Of.FLEET else None
        if was is not None:
            was.update({name: change.old for name, change in made.changes.items() if name in was})
            if made.of == Of.POOL and "name" in made.changes:
                by_name[made.changes["name"].old] = was
    return of_pools, of_fleet


def _state(at: datetime) -> Case:
    """The state that the sandbox was in then, from the moments at which it came into each."""
    steps = (
        ("delete_requested_at", State.DELETING),
        ("acquired_at", State.IN_USE),
        ("ready_at", State.READY),
        ("staging_started_at", State.STAGING),
        ("create_sent_at", State.CREATING),
        ("accepted_at", State.CREATING),  # what was asked for twice knows the second time alone
    )
    whens = [When(**{f"{name}__lte": at}, then=Value(state.value)) for name, state in steps]
    return Case(*whens, default=Value(State.REQUESTED.value), output_field=TextField())


def _since(at: datetime) -> Case:
    """When it had come into that state."""
    sent = Coalesce(Least("create_sent_at", "accepted_at"), "create_sent_at", "accepted_at")
    steps: tuple[tuple[str, Any], ...] = (
        ("delete_requested_at", F("delete_requested_at")),
        ("acquired_at", F("acquired_at")),
        ("ready_at", F("ready_at")),
        ("staging_started_at", F("staging_started_at")),
        ("create_sent_at", sent),
        ("accepted_at", sent),
    )
    whens = [When(**{f"{name}__lte": at}, then=moment) for name, moment in steps]
    return Case(*whens, default=F("requested_at"), output_field=DateTimeField())
