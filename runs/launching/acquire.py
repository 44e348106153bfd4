"""A launch gets its sandbox: a ready one of the pool, one that is on its way there, or a cold one of its own.

All under the fleet's lock, inside the caller's transaction.
"""

from __future__ import annotations

from datetime import datetime

from pools import claims
from pools.capacity import NoCapacity, reserve
from pools.demand import note_demand
from pools.models import ON_THE_WAY, Mode, OnEmpty, Origin, Pool, Sandbox, State
from pools.reasons import CreateCode
from runs import events, lifecycle
from runs.limits import LaunchRefused
from runs.models import EventKind, Run, ServedBy
from runs.reasons import RefusalCode, RunEndCode, RunNoticeCode, StatusCode


class PoolEmpty(LaunchRefused):
    """Nothing is ready, and the pool's rule is to refuse then."""

    code = RefusalCode.POOL_EMPTY
    retry_after_seconds = 30
    limit = "pool"


def acquire_warm(run: Run, now: datetime) -> None:
    """Give a new warm launch a ready sandbox; else it waits in the pool's line, or for a place of its own. Raises
    PoolEmpty, NoCapacity."""
    message = "Acquiring sandbox from warm pool..."
    acquiring = events.Entry(EventKind.STATUS, message, data={"code": StatusCode.ACQUIRING})
    pool = open_pool(run)
    waiting = 0
    if pool is not None:
        note_demand(pool, f"run {run.short_id}", now)
        waiting = Run.objects.waiting_for_pool(pool.runtime).count()
        if not waiting and take_ready(run, pool, now, acquiring):
            return
    events.write(run.id, [acquiring], now)
    if pool is None:
        start_cold(run, now, RunNoticeCode.NO_POOL)
        return
    coming = Sandbox.objects.filter(pool=pool, state__in=[*ON_THE_WAY, State.READY]).count()
    if coming > waiting:
        lifecycle.wait_for_pool(run, ahead=waiting, coming=coming, now=now)
    elif pool.on_empty == OnEmpty.FAIL:
        raise PoolEmpty("No sandbox is ready, and this pool starts none for a launch. It is being filled now.")
    else:
        start_cold(run, now, RunNoticeCode.NONE_READY)


def open_pool(run: Run) -> Pool | None:
    """The pool that serves new launches of the run's runtime, or None."""
    return Pool.objects.filter(runtime=run.game.runtime).exclude(mode=Mode.DRAINING).first()


def take_ready(run: Run, pool: Pool, now: datetime, *before: events.Entry) -> bool:
    """Give the run a READY sandbox of the pool. False when there is none. `before`: what the run says first, then."""
    expires_at = lifecycle.lifetime(now)
    sandbox = claims.claim(pool, by=f"run {run.short_id}", expires_at=expires_at, now=now)
    if sandbox is None:
        return False
    lifecycle.give_claimed(run, sandbox, *before)
    return True


def start_cold(run: Run, now: datetime, notice: RunNoticeCode | None = None) -> None:
    """Reserve a sandbox of the run's own; where another one has to go first, the run waits for its place. `notice`: why
    a warm launch starts cold. Raises NoCapacity when it can never get a place."""
    lifecycle.wait_for_place(run, now, notice)
    if not take_place(run, now):
        message, data = "The fleet is full; a place is being made...", {"code": StatusCode.WAITING_FOR_PLACE}
        events.emit(run.id, EventKind.STATUS, message, data=data, now=now)


def take_place(run: Run, now: datetime) -> bool:
    """Give a run that waits for a place a sandbox of its own. False while another one has to go first. Raises
    NoCapacity when it can never get one."""
    reason = f"{ServedBy(run.served_by).label.lower()}: run {run.short_id} of {run.game.slug}"
    code = CreateCode(run.served_by)
    sandbox = reserve(runtime=run.game.runtime, origin=Origin.COLD, code=code, reason=reason, now=now, make_room=True)
    if sandbox is None:
        return False
    lifecycle.give_reserved(run, sandbox, now)
    return True


def fail_without_place(run: Run, error: NoCapacity, now: datetime) -> None:
    """End a launch that can never get a place."""
    lifecycle.fail(run.id, RunEndCode.NO_PLACE, f"No place for a sandbox: {error}", now)
