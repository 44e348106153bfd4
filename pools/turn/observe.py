"""The eyes of a turn: the cloud's listing, kept as CloudApp rows, and the facts for the planner."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DataError, transaction
from django.db.models import Q

from pools import clock, journal, leases
from pools.claims import staging_lease
from pools.cloud.app_platform import AppPlatform
from pools.cloud.errors import CloudError, EmptyListing, Unauthorized
from pools.cloud.records import App
from pools.demand import demand
from pools.models import CloudApp, Fleet, FleetEvent, Level, Mode, Origin, Pool, Sandbox, Stage, State
from pools.occupants import served
from pools.outcomes import create_outcomes, surplus_until
from pools.ownership import Mark, anothers, names_with_rows, our_mark
from pools.prices import usd_per_hour
from pools.reasons import EndCode, LogKind, StepCode
from pools.sizes import recommend
from pools.turn.facts import AppFacts, Autopilot, FleetFacts, PoolFacts, SandboxFacts
from pools.turn.guard import WINDOW
from pools.turn.waits import SETTLE_SECONDS

logger = logging.getLogger("pools")
UNWRITABLE = (DataError, ValueError, OverflowError)
GATHERED = {"is_being_staged", "is_played"}  # facts that are no column
GIVEN_UP = (EndCode.UNWELL, EndCode.AGENT_REFUSED, EndCode.DEAD_AT_HAND_OVER, EndCode.LOST)
OTHERS_NAMED = 10
HOURS_A_MONTH = 30 * 24


@dataclass(frozen=True, slots=True)
class Listing:
    """`apps` is None when the list could not be read to its end, and empty when it is and can't be believed; `code` and
    `error` say why."""

    apps: tuple[App, ...] | None
    begun_at: datetime
    code: str = ""
    error: str = ""

    @property
    def token_refused(self) -> bool:
        return self.code == Unauthorized.code


def list_apps(cloud: AppPlatform, begun_at: datetime) -> Listing:
    """Every app of the account in one listing. An empty one is not believed where sandboxes were expected: nothing is
    deleted on its word, and what is missing is asked for by its id, later."""
    try:
        apps = tuple(cloud.apps())
    except CloudError as error:
        return Listing(None, begun_at, error.code, str(error))
    doubt = None if apps or not _are_expected(clock.now()) else EmptyListing()
    return Listing(apps, begun_at, doubt.code if doubt else "", str(doubt) if doubt else "")


def _are_expected(now: datetime) -> bool:
    """Whether a listing of now should show any; the same as `is_expected` of one."""
    rows = Sandbox.objects.existing().exclude(app_id=None).exclude(state=State.DELETING)
    settled = Q(accepted_at=None) | Q(accepted_at__lt=now - timedelta(seconds=SETTLE_SECONDS))
    return rows.filter(settled).exists()


@transaction.atomic
def keep(listing: Listing) -> None:
    """Make the CloudApp rows say what the listing showed. Only what changed is written; a listing that is incomplete or
    not believed changes nothing but the note that it was."""
    fleet = Fleet.lock()
    if listing.apps is None or listing.error:
        refused_at = (fleet.token_refused_at or listing.begun_at) if listing.token_refused else None
        Fleet.objects.filter(pk=1).update(
            listing_code=listing.code, listing_error=listing.error, token_refused_at=refused_at
        )
    else:
        _keep_apps(listing.apps, listing.begun_at)
        Fleet.objects.filter(pk=1).update(
            listing_code="", listing_error="", token_refused_at=None, listed_at=listing.begun_at
        )
        note_others(fleet, listing.begun_at)
    if listing.code != fleet.listing_code:
        message = f"the listing failed: {listing.error}" if listing.code else "the listing is complete again"
        level = Level.WARNING if listing.code else Level.INFO
        journal.record(LogKind.LISTING, message, code=listing.code, level=level, now=listing.begun_at)


def note_others(fleet: Fleet, now: datetime) -> None:
    """Count the apps that carry our mark and are another installation's: they take places, and are never touched. Said
    when there are more or fewer than before."""
    others = anothers()
    if len(others) == fleet.others:
        return
    Fleet.objects.filter(pk=1).update(others=len(others))
    message, level = f"no app under the mark {settings.ORCHESTRATOR_ID} is another installation's any more", Level.INFO
    if others:
        names = ", ".join(app.name for app in others[:OTHERS_NAMED])
        message = f"{len(others)} apps carry our mark and are another installation's, none of which is touched: {names}"
        level = Level.ERROR
    journal.record(LogKind.ORPHAN, message, code=StepCode.ANOTHER_INSTALLATION, level=level, now=now)


def _keep_apps(apps: Sequence[App], now: datetime) -> None:
    columns = CloudApp.LISTED
    known = {app_id: rest for app_id, *rest in CloudApp.objects.values_list("pk", "delete_reason", *columns)}
    new, changed = [], []
    for app in apps:
        fields = CloudApp.columns_of(app)
        before = known.pop(app.id, None)
        if before is None:
            new.append(CloudApp(app_id=app.id, first_seen_at=now, **fields))
        elif before[1:] != [fields[column] for column in columns]:
            changed.append(CloudApp(app_id=app.id, **fields))
    _write(new, lambda rows: CloudApp.objects.bulk_create(rows, batch_size=500, ignore_conflicts=True))
    _write(changed, lambda rows: CloudApp.objects.bulk_update(rows, columns, batch_size=200))
    # What an operator ordered to be deleted is kept until the cloud itself says that it is gone.
    gone = [app_id for app_id, (delete_reason, *_) in known.items() if not delete_reason]
    for start in range(0, len(gone), 500):
        CloudApp.objects.filter(app_id__in=gone[start : start + 500]).delete()


def _write(rows: Sequence[CloudApp], write: Callable[[Sequence[CloudApp]], object]) -> None:
    """Write them at once. When the database refuses what one of them holds, one by one: only that one is left out."""
    if not rows:
        return
    try:
        with transaction.atomic():
            write(rows)
    except UNWRITABLE as error:
        if len(rows) == 1:
            logger.warning("The app %s can't be kept: %s", ascii(rows[0].app_id), error)
            return
        for row in rows:
            _write([row], write)


def gather(listing: Listing, now: datetime) -> FleetFacts:
    """All that the planner needs. Rows are read after the listing: a row is written before its app is asked for, so
    every listed app of ours has one by now."""
    fleet = Fleet.get()
    sandboxes = _sandboxes(now)
    apps = listing.apps
    return FleetFacts(
        pools=tuple(pool_facts(pool, now) for pool in Pool.objects.all()),
        sandboxes=sandboxes,
        apps=None if apps is None else tuple(_apps(apps, our_mark(fleet), {sandbox.name for sandbox in sandboxes})),
        listed_at=listing.begun_at,
        listing_error=listing.error,
        token_refused=listing.token_refused,
        demand=demand(now),
        max_total=settings.MAX_TOTAL_SANDBOXES,
        orchestrator_id=settings.ORCHESTRATOR_ID,
        installation=fleet.installation,
        name_prefix=settings.SANDBOX_NAME_PREFIX,
        orphan_grace_seconds=settings.ORPHAN_GRACE_SECONDS,
        blast_radius_share=settings.BLAST_RADIUS_SHARE,
        blast_radius_floor=settings.BLAST_RADIUS_FLOOR,
        approved=frozenset(fleet.approved if fleet.approved_until and fleet.approved_until > now else ()),
        deaths=deaths(fleet, now),
        deletes_failing_since=fleet.deletes_failing_since,
        stopped=fleet.stopped_at is not None,
        started_at=fleet.started_at,
    )


def _sandboxes(now: datetime) -> tuple[SandboxFacts, ...]:
    columns = [field.name for field in fields(SandboxFacts) if field.name not in GATHERED]
    rows = list(Sandbox.objects.existing().order_by().values(*columns))
    leases_of = {staging_lease(row["id"]): row["id"] for row in rows if row["state"] == State.STAGING}
    staged_now = {leases_of[name] for name in leases.held(leases_of)}
    played = served([row["id"] for row in rows if row["state"] == State.IN_USE])
    facts = []
    for row in rows:
        row["state"], row["origin"] = State(row["state"]), Origin(row["origin"])
        row["is_being_staged"], row["is_played"] = row["id"] in staged_now, row["id"] in played
        facts.append(SandboxFacts(**row))
    return tuple(facts)


def _apps(apps: Sequence[App], mark: Mark, tracked: set[str]) -> list[AppFacts]:
    noted = CloudApp.objects.exclude(orphan_since=None, delete_reason="", adopted_at=None).in_bulk()
    known = tracked | names_with_rows(app.name for app in apps if app.name not in tracked and mark.gives(app.name))
    listed = {app.id for app in apps}
    ordered = [row for row in noted.values() if row.delete_reason and row.app_id not in listed]
    facts = [AppFacts.of(app, noted.get(app.id), had_row=app.name in known) for app in apps]
    return facts + [AppFacts.of(row.app(), row, is_listed=False) for row in ordered]


def pool_facts(pool: Pool, now: datetime) -> PoolFacts:
    """One pool's settings and recent past."""
    mine = Sandbox.objects.filter(pool=pool, origin=Origin.POOL)
    lately = now - timedelta(seconds=pool.scale_down_delay_seconds)  # what is longer ago holds nothing back
    shrunk = mine.filter(end_code=EndCode.IDLE, delete_requested_at__gte=lately)
    return PoolFacts(
        id=pool.pk,
        name=pool.name,
        runtime=pool.runtime,
        target_ready=pool.target_ready,
        min_ready=pool.min_ready,
        max_ready=pool.max_ready,
        max_concurrent_creates=pool.max_concurrent_creates,
        idle_timeout_seconds=pool.idle_timeout_seconds,
        scale_down_delay_seconds=pool.scale_down_delay_seconds,
        cooldown_after_acquire_seconds=pool.cooldown_after_acquire_seconds,
        max_warm_age_seconds=pool.max_warm_age_seconds,
        create_timeout_seconds=pool.create_timeout_seconds,
        stage=Stage(pool.stage),
        mode=Mode(pool.mode),
        last_acquired_at=pool.last_acquired_at,
        last_acquired_by=pool.last_acquired_by,
        recycle_before=pool.recycle_before,
        outcomes=create_outcomes(pool.runtime, now),
        surplus_until=surplus_until(pool, now),
        last_shrunk_at=shrunk.order_by("-delete_requested_at").values_list("delete_requested_at", flat=True).first(),
        autopilot=_autopilot(pool, now) if pool.autopilot else None,
    )


def _autopilot(pool: Pool, now: datetime) -> Autopilot:
    found = recommend(pool, now)
    a_month, budget = usd_per_hour(pool.size) * HOURS_A_MONTH, pool.autopilot_usd_a_month
    affordable = int(budget / a_month) if budget and a_month else None
    return Autopilot(found.target_ready, found.reason, affordable, pool.autopilot_step)


def deaths(fleet: Fleet, now: datetime) -> frozenset[str]:
    """Return the names of the sandboxes that were given up for dead or lost within the guard's window, and of the
    orphans deleted, without an operator's word."""
    given_up = Sandbox.objects.filter(end_code__in=GIVEN_UP, delete_requested_at__gt=now - WINDOW).order_by()
    orphans = FleetEvent.objects.filter(kind=LogKind.DELETE, code=StepCode.GRACE_OVER, at__gt=now - WINDOW).order_by()
    dead = [(str(pk), name) for pk, name in given_up.values_list("pk", "name")]
    dead += orphans.values_list("app_id", "sandbox_name")
    return frozenset(name for target, name in dead if target not in fleet.approved)


def observe(cloud: AppPlatform) -> tuple[FleetFacts, datetime]:
    """List, keep and gather: the facts, and the time they hold for."""
    listing = list_apps(cloud, clock.now())
    keep(listing)
    now = clock.now()
    return gather(listing, now), now
