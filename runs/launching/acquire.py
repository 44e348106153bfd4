"""A launch gets its sandbox: a ready one of the pool, one that is on its way there, or a cold one of its own.

All under the fleet's lock, inside the caller's transaction.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Q

from pools import claims
from pools.capacity import NoCapacity, reserve
from pools.demand import note_demand
from pools.models import ON_THE_WAY, Mode, OnEmpty, Origin, Pool, Sandbox, State
from pools.reasons import CreateCode
from runs import events, lifecycle
from runs.launching.outlook import patience_seconds
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
    acquiring = events.Entry(EventKind.STATUS, lifecycle.ACQUIRING, data={"code": StatusCode.ACQUIRING})
    pool = open_pool(run)
    waiting = 0
    if pool is not None:
        note_demand(pool, f"run {run.short_id}", now)
        waiting = Run.objects.waiting_for_warm(pool.runtime).count()
        if not waiting and take_ready(run, pool, now, acquiring):
            return
    events.write(run.id, [acquiring], now)
    if pool is None:
        start_cold(run, now, RunNoticeCode.NO_POOL)
        return
    coming = count_coming(pool, now)
    if coming > waiting:
        lifecycle.wait_for_pool(run, ahead=waiting, coming=coming, now=now)
    elif pool.on_empty == OnEmpty.FAIL:
        raise PoolEmpty("No sandbox is ready, and this pool starts none for a launch. It is being filled now.")
    else:
        start_cold(run, now, RunNoticeCode.NONE_READY)


def count_coming(pool: Pool, now: datetime) -> int:
    """Return how many warm sandboxes there will be soon; what takes too long already is not waited for."""
    supply = Sandbox.objects.answering().filter(pool=pool, state__in=[*ON_THE_WAY, State.READY])
    lately = Q(requested_at__gt=now - timedelta(seconds=patience_seconds(pool)))
    return supply.filter(lately | Q(state=State.READY)).count()


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
    """Reserve a sandbox of a new launch's own; where another one has to go first, it waits for its place. `notice`: why
    a warm launch starts cold. Raises NoCapacity when no place is coming free for it."""
    lifecycle.wait_for_place(run, now, notice)
    if not _take_place(run, now):
        _tell_full(run, now)


def go_on_cold(run: Run, now: datetime, notice: RunNoticeCode) -> None:
    """The same for a launch that was taken on before: it waits for a place as long as a launch may take. Only a lasting
    lack ends it."""
    lifecycle.wait_for_place(run, now, notice)
    if not take_place(run, now) and not run.is_over:
        _tell_full(run, now)


def fall_back(run: Run, now: datetime) -> bool:
    """A warm launch has waited for too long: it starts cold, if a place is free. False when none is, and nothing has
    changed."""
    try:
        sandbox = _reserve(run, ServedBy.COLD_FALLBACK, now, make_room=False)
    except NoCapacity:
        return False
    if sandbox is None:
        return False
    lifecycle.wait_for_place(run, now, RunNoticeCode.TOO_SLOW)
    lifecycle.give_reserved(run, sandbox, now)
    return True


def take_place(run: Run, now: datetime) -> bool:
    """Give a run that waits for a place a sandbox of its own. False while there is none for it; a lasting lack ends it.

    That the fleet is full is none: places come free, and the first that does is for whoever has waited longest."""
    try:
        return _take_place(run, now)
    except NoCapacity as error:
        if error.is_lasting:
            lifecycle.fail(run.id, RunEndCode.NO_PLACE, f"No place for a sandbox: {error}", now)
            run.refresh_from_db()
        return False


def _take_place(run: Run, now: datetime) -> bool:
    sandbox = _reserve(run, ServedBy(run.served_by), now, make_room=True)
    if sandbox is None:
        return False
    lifecycle.give_reserved(run, sandbox, now)
    return True


def _reserve(run: Run, served_by: ServedBy, now: datetime, *, make_room: bool) -> Sandbox | None:
    return reserve(
        runtime=run.game.runtime,
        origin=Origin.COLD,
        code=CreateCode(served_by),
        reason=f"{served_by.label.lower()}: run {run.short_id} of {run.game.slug}",
        now=now,
        make_room=make_room,
        ahead=Run.objects.waiting_for_place().before(run).count(),
    )


def _tell_full(run: Run, now: datetime) -> None:
    message, data = "The fleet is full; waiting for a place...", {"code": StatusCode.WAITING_FOR_PLACE}
    events.emit(run.id, EventKind.STATUS, message, data=data, now=now)
