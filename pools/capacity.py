"""One door for every new sandbox: is there a place for one more under the limits of fleet, pool and budget?"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import transaction

from pools import claims, journal
from pools.cloud.app_spec import app_name
from pools.models import BEING_CREATED, SUPPLY, Fleet, Mode, Origin, Pool, Sandbox, State
from pools.reasons import CreateCode, EndCode, Limit, LogKind
from pools.spending import spent_usd

RETRY_SECONDS = 15  # about what a deletion takes to be confirmed
DELETION_SECONDS = 60  # one that takes longer may never end


class NoCapacity(Exception):
    """No place for one more; `limit` names which limit, `str(error)` says it to people."""

    def __init__(self, message: str, limit: Limit, retry_after_seconds: int = RETRY_SECONDS) -> None:
        super().__init__(message)
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds


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
) -> Sandbox | None:
    """Take a place and write its row (REQUESTED), or raise NoCapacity. Nobody else creates sandboxes.

    With `make_room` (a player waits) an idle sandbox is retired when the fleet is full of them; then None comes back:
    the place is free once the deletion is confirmed, so ask again on a later turn.
    """
    Fleet.lock()
    if pool is not None and origin == Origin.POOL:
        pool.refresh_from_db()  # an operator may have changed it since the caller read it
        _check_pool(pool)
    existing = Sandbox.objects.existing()
    if (total := existing.count()) >= settings.MAX_TOTAL_SANDBOXES:
        if make_room and _make_room(runtime, now):
            return None
        raise NoCapacity(
            f"All {settings.MAX_TOTAL_SANDBOXES} sandboxes are taken ({total} exist).", Limit.MAX_TOTAL_SANDBOXES
        )
    _check_budget(now)
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
    return sandbox


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


def _make_room(runtime: str, now: datetime) -> bool:
    """Retire one idle sandbox unless a place is already coming free. False when nothing idle is left to give.

    A deletion that does not come to an end is not waited for while there is something idle to give."""
    going = Sandbox.objects.filter(state=State.DELETING)
    if going.filter(delete_requested_at__gt=now - timedelta(seconds=DELETION_SECONDS)).exists():
        return True
    idle = Sandbox.objects.filter(state=State.READY)
    victim = idle.exclude(runtime=runtime).order_by("ready_at").first() or idle.order_by("ready_at").first()
    if victim is None:
        return going.exists()
    reason = f"makes room for a launch that needs {runtime}: the fleet is full and a player goes before the pool"
    return claims.retire(victim.id, EndCode.MADE_ROOM, reason, now, frm=[State.READY])


def _check_budget(now: datetime) -> None:
    if settings.MONTHLY_BUDGET_USD and (spent := spent_usd(now)) >= Decimal(settings.MONTHLY_BUDGET_USD):
        raise NoCapacity(
            f"The budget of {settings.MONTHLY_BUDGET_USD:g} USD in 30 days is spent ({spent:.2f}).",
            Limit.MONTHLY_BUDGET_USD,
            3600,
        )
