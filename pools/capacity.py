"""One door for every new sandbox: is there a place for one more under the limits of fleet, pool and budget?"""

from __future__ import annotations

import math
import uuid
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import transaction

from pools import claims, journal, metrics
from pools.breaker import breaker_at, deletes_fail
from pools.cloud.app_spec import app_name
from pools.demand import demand
from pools.models import BEING_CREATED, ON_THE_WAY, SUPPLY, Fleet, Mode, Origin, Pool, Sandbox, State
from pools.outcomes import create_outcomes
from pools.places import Places
from pools.reasons import CreateCode, EndCode, Limit, LogKind
from pools.spending import spent_usd

RETRY_SECONDS = 15  # about what a deletion takes to be confirmed
DELETION_SECONDS = 60  # one that takes longer may never end


class NoCapacity(Exception):
    """No place for one more; `limit` names which limit, `str(error)` says it to people. `is_lasting`: waiting a while
    is of no use. A full fleet is not: places come free."""

    def __init__(
        self, message: str, limit: Limit, retry_after_seconds: int = RETRY_SECONDS, *, is_lasting: bool = False
    ) -> None:
        super().__init__(message)
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds
        self.is_lasting = is_lasting


@transaction.atomic
def reserve(
    *,
    runtime: str,
    origin: Origin,
    code: CreateCode,
    reason: str,
    now: datetime,
    pool: Pool | None = None,
    make_room: bool = False,
    ahead: int | None = None,
) -> Sandbox | None:
    """Take a place and write its row (REQUESTED), or raise NoCapacity. Nobody else creates sandboxes.

    `ahead`: the launches that wait for a place and came first: so many places are promised. All that wait, by default.
    With `make_room` (a player waits) an idle sandbox is retired when the fleet is full of them; then None comes back:
    the place is free once the deletion is confirmed, so ask again on a later turn.
    """
    fleet = Fleet.lock()
    if pool is not None and origin == Origin.POOL:
        pool.refresh_from_db()  # an operator may have changed it since the caller read it
        _check_pool(pool)
    check_creates(runtime, fleet, now)  # first: no idle sandbox makes room for one that is not made
    promised = demand(now).places if ahead is None else ahead
    # Orphans, and another installation under our mark, are in the same account and cost as much: together they keep to
    # the limit.
    places = Places.of(fleet, Sandbox.objects.existing().count(), promised)
    lacking = 1 - places.left
    if lacking > 0:
        if make_room and _make_room(runtime, lacking, promised, now):
            return None
        what = places.what or f"{places.sandboxes} exist"
        waiting = f", {promised} launches wait" if promised else ""
        raise NoCapacity(
            f"All {places.most} sandboxes are taken ({what}{waiting}).",
            Limit.MAX_TOTAL_SANDBOXES,
        )
    sandbox_id = uuid.uuid4()
    while Sandbox.objects.filter(name=app_name(settings.SANDBOX_NAME_PREFIX, sandbox_id)).exists():
        sandbox_id = uuid.uuid4()
    sandbox = Sandbox.objects.create(
        id=sandbox_id,
        name=app_name(settings.SANDBOX_NAME_PREFIX, sandbox_id),
        pool=pool,
        runtime=runtime,
        image=pool.image if pool else settings.SANDBOX_IMAGES[runtime],
        region=pool.region if pool else settings.SANDBOX_REGION,
        size=pool.size if pool else settings.SANDBOX_SIZE,
        origin=origin,
        create_code=code,
        create_reason=reason,
        requested_at=now,
    )
    journal.record(LogKind.CREATE, reason, code=code, sandbox=sandbox, now=now)
    metrics.created(code)
    return sandbox


def check_creates(runtime: str, fleet: Fleet, now: datetime) -> None:
    """Raise NoCapacity when no sandbox is created for that runtime now, whether there is a place or not."""
    _check_budget(now)
    if deletes_fail(fleet.deletes_failing_since, now):
        message = f"Nothing is created while nothing can be deleted: {fleet.deletes_error}"
        raise NoCapacity(message, Limit.DELETES, is_lasting=True)
    _check_breaker(runtime, now)


def _check_pool(pool: Pool) -> None:
    mine = Sandbox.objects.filter(pool=pool, origin=Origin.POOL)
    if pool.mode != Mode.ACTIVE:
        raise NoCapacity(f"Pool {pool.name} is {pool.get_mode_display().lower()}.", Limit.POOL_MODE)
    if (supply := mine.filter(state__in=SUPPLY).count()) >= pool.max_ready:
        raise NoCapacity(f"Pool {pool.name} holds {supply} of at most {pool.max_ready}.", Limit.MAX_READY)
    if mine.filter(state__in=BEING_CREATED).count() >= pool.max_concurrent_creates:
        raise NoCapacity(
            f"Pool {pool.name} already creates {pool.max_concurrent_creates}.", Limit.MAX_CONCURRENT_CREATES
        )


def _make_room(runtime: str, lacking: int, promised: int, now: datetime) -> bool:
    """Retire one idle sandbox unless so many places are already coming free. False when nothing idle is left to give.

    A deletion that does not come to an end is not waited for while there is something idle to give."""
    going = Sandbox.objects.filter(state=State.DELETING)
    if going.filter(delete_requested_at__gt=now - timedelta(seconds=DELETION_SECONDS)).count() >= lacking:
        return True
    # One that a launch is taking at this moment is not waited for: that launch may wait for what is locked here.
    seen = Sandbox.objects.seen_since(Fleet.get().started_at)
    idle = seen.filter(state=State.READY).select_for_update(skip_locked=True, no_key=True, of=("self",))
    if seen.filter(state=State.READY).count() + going.count() < lacking - promised:
        return False  # all of them together would not make room: orphans take it
    victim = idle.exclude(runtime=runtime).order_by("ready_at").first() or idle.order_by("ready_at").first()
    if victim is None:
        return going.count() >= lacking
    reason = f"makes room for a launch that needs {runtime}: the fleet is full and a player goes before the pool"
    return claims.retire(victim.id, EndCode.MADE_ROOM, reason, now, frm=[State.READY])


def _check_breaker(runtime: str, now: datetime) -> None:
    """Every create of the runtime counts, and none goes around: those that are stopped learn why, and until when."""
    breaker = breaker_at(create_outcomes(runtime, now), now)
    if breaker.is_open and breaker.retry_at is not None:
        seconds = math.ceil((breaker.retry_at - now).total_seconds())
        message = f"Sandboxes for {runtime} can't be made right now: {breaker.explanation}."
        raise NoCapacity(message, Limit.BREAKER, seconds, is_lasting=True)
    if breaker.is_probing and Sandbox.objects.filter(runtime=runtime, state__in=ON_THE_WAY).exists():
        message = f"Sandboxes for {runtime} are made one at a time right now: {breaker.explanation}."
        raise NoCapacity(message, Limit.BREAKER)


def _check_budget(now: datetime) -> None:
    if settings.MONTHLY_BUDGET_USD and (spent := spent_usd(now)) >= Decimal(settings.MONTHLY_BUDGET_USD):
        raise NoCapacity(
            f"The budget of {settings.MONTHLY_BUDGET_USD:g} USD in 30 days is spent ({spent:.2f}).",
            Limit.MONTHLY_BUDGET_USD,
            3600,
            is_lasting=True,
        )
