"""A launch gets its sandbox: a ready one of the pool, one that is on its way there, or a cold one of its own.

All under the fleet's lock, inside the caller's transaction.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Q

from games.models import Game
from games.versions import game_of
from pools import claims
from pools.about import about
from pools.capacity import NoCapacity, reserve
from pools.demand import note_demand
from pools.models import ON_THE_WAY, Mode, Origin, Pool, Sandbox, State
from pools.reasons import CreateCode
from pools.traces import span
from runs import events, lifecycle
from runs.launching.outlook import patience_seconds
from runs.limits import LaunchRefused
from runs.models import EventKind, OnMiss, Run, ServedBy
from runs.reasons import RefusalCode, RunEndCode, RunNoticeCode, StatusCode

PATIENT = (OnMiss.WAIT, OnMiss.FAIL)  # launches that start in a pool's sandbox or not at all
NONE_READY = "No sandbox is ready, and none is started for this launch. The pool is being filled now."


class PoolEmpty(LaunchRefused):
    """Nothing is ready, and the launch, or else the pool's rule, is to refuse then."""

    code = RefusalCode.POOL_EMPTY
    retry_after_seconds = 30
    limit = "pool"
    wants_warm = True


class NoPool(LaunchRefused):
    """The launch is to be served by a pool alone, and no pool serves it."""

    code = RefusalCode.NO_POOL


def acquire_warm(run: Run, now: datetime) -> None:
    """Give a new warm launch a ready sandbox; else go by its `on_miss`, or by its pool's rule: it waits in the pool's
    line, or for a place of its own. Raises NoPool, PoolEmpty, NoCapacity."""
    acquiring = events.Entry(EventKind.STATUS, lifecycle.ACQUIRING, data={"code": StatusCode.ACQUIRING})
    pool = open_pool(run.game.runtime)
    if run.on_miss in PATIENT:
        pool = require_pool(run.game)
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
    match run.on_miss or (OnMiss.WAIT if coming > waiting else pool.on_empty):
        case OnMiss.WAIT:
            lifecycle.wait_for_pool(run, ahead=waiting, coming=coming, now=now)
        case OnMiss.FAIL:
            raise PoolEmpty(NONE_READY)
        case _:
            start_cold(run, now, RunNoticeCode.NONE_READY)


def count_coming(pool: Pool, now: datetime) -> int:
    """Return how many warm sandboxes there will be soon; what takes too long already is not waited for."""
    supply = Sandbox.objects.answering().filter(pool=pool, state__in=[*ON_THE_WAY, State.READY])
    lately = Q(requested_at__gt=now - timedelta(seconds=patience_seconds(pool)))
    return supply.filter(lately | Q(state=State.READY)).count()


def open_pool(runtime: str) -> Pool | None:
    """The pool that serves new launches of the runtime, or None."""
    return Pool.objects.filter(runtime=runtime).exclude(mode=Mode.DRAINING).first()


def require_pool(game: Game) -> Pool:
    """The pool that serves new launches of a game. Raises NoPool."""
    pool = open_pool(game.runtime)
    if pool is None:
        raise NoPool(f"No pool serves launches for {game.get_runtime_display()}, and it is to start no other way.")
    return pool


def take_ready(run: Run, pool: Pool, now: datetime, *before: events.Entry) -> bool:
    """Give the run a READY sandbox of the pool. False when there is none. `before`: what the run says first, then."""
    expires_at = lifecycle.lifetime(now)
    with about(run=run.pk), span("claim", pool=pool.name):
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


def go_on_without(run: Run, pool: Pool | None, now: datetime) -> None:
    """A launch that was taken on before has lost its warm sandbox, and no other one is ready: it goes on as it was
    asked to. `pool`: the one that serves launches."""
    if run.on_miss == OnMiss.WAIT and pool is not None:
        ahead = Run.objects.waiting_for_warm(pool.runtime).before(run).count()
        lifecycle.wait_for_pool(run, ahead=ahead, coming=count_coming(pool, now), now=now)
    elif run.on_miss in PATIENT:
        give_up(run, "Its warm sandbox did not answer, and no other one was ready.", now)
    else:
        go_on_cold(run, now, RunNoticeCode.NONE_ALIVE)


def give_up(run: Run, reason: str, now: datetime) -> None:
    """End a launch that its pool does not serve, and that is to start no other way."""
    lifecycle.fail(run.id, RunEndCode.POOL_GAVE_UP, reason, now)
    run.refresh_from_db()


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
        runtime=game_of(run.game, run.source_digest).runtime,  # a version on trial may need another
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
