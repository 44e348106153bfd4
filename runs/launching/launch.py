"""One click becomes a run: limits, a sandbox, the game. The page, the API and the admin all call `launch`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django_q.brokers.orm import ORM
from django_q.tasks import async_task

from games.models import Game
from games.staging import staged_port
from pools import claims, journal
from pools.capacity import NoCapacity, reserve
from pools.cloud.errors import AgentError
from pools.demand import note_demand
from pools.models import ON_THE_WAY, Fleet, Level, Mode, OnEmpty, Origin, Pool, Sandbox, State
from pools.nudge import nudge
from pools.reasons import CreateCode, EndCode, LogKind
from runs import events, lifecycle, limits
from runs.launching import progress
from runs.lifecycle import fail, lifetime, milliseconds, run_now
from runs.limits import LaunchRefused, LimitReached
from runs.models import DeployedFrom, EventKind, LaunchMode, Run, RunState, ServedBy

PROBE_TIMEOUT_SECONDS = 2.0


class UnknownGame(LaunchRefused):
    """There is no game of that name."""


class KeyReused(LaunchRefused):
    """The idempotency key was used for another launch."""


class Maintenance(LaunchRefused):
    """An operator lets nobody launch for now."""

    retry_after_seconds = 60


class PoolEmpty(LaunchRefused):
    """Nothing is ready, and the pool's rule is to refuse then."""

    retry_after_seconds = 30
    limit = "pool"


def launch(
    *,
    game: str,
    mode: str,
    use_snapshot: bool = True,
    visitor: str,
    idempotency_key: str | None = None,
    now: datetime | None = None,
) -> Run:
    """Launch a game for a visitor; the run may be running already when it comes back. Raises LaunchRefused's kinds.

    The same visitor and key give the same run, however often and however much at once they are sent.
    """
    now = now or timezone.now()
    wanted = {"game__slug": game, "mode": LaunchMode(mode), "use_snapshot": use_snapshot}
    try:
        with transaction.atomic():
            run = _begin(wanted, visitor, idempotency_key, now)
    except IntegrityError:
        earlier = _earlier(wanted, visitor, idempotency_key)
        if earlier is None:
            raise
        return earlier
    except PoolEmpty:
        with transaction.atomic():  # demand all the same: it is what fills the pool
            Fleet.lock()
            for pool in Pool.objects.filter(runtime=Game.objects.get(slug=game).runtime):
                note_demand(pool, f"visitor {visitor[:8]}", now)
            nudge()
        raise
    if run.state == RunState.DEPLOYING and run.deploy_attempts == 0 and run.created_at == now:
        return hand_over(run) or Run.objects.select_related("game", "sandbox").get(pk=run.pk)
    return run


def _earlier(wanted: dict[str, Any], visitor: str, key: str | None) -> Run | None:
    if not key:
        return None
    run = Run.objects.select_related("game").filter(visitor=visitor, idempotency_key=key).first()
    if run is None:
        return None
    if (run.game.slug, run.mode, run.use_snapshot) != tuple(wanted.values()):
        raise KeyReused("This idempotency key was used for another launch.")
    return run


def _begin(wanted: dict[str, Any], visitor: str, key: str | None, now: datetime) -> Run:
    """Inside one transaction: the run's row, and its sandbox when one is to be had at once."""
    found = Game.objects.playable().filter(slug=wanted["game__slug"]).first()
    if found is None:
        raise UnknownGame(f"There is no game “{wanted['game__slug']}”.")
    fleet = Fleet.lock()
    if run := _earlier(wanted, visitor, key):
        return run
    if fleet.maintenance:
        raise Maintenance(fleet.maintenance_message or "Maintenance: no launches for now.")
    limits.check(wanted["mode"], now)
    run = Run.objects.create(
        game=found,
        mode=wanted["mode"],
        use_snapshot=wanted["use_snapshot"],
        state=RunState.ACQUIRING,
        visitor=visitor,
        idempotency_key=key or None,
        created_at=now,
    )
    message = f"{run.mode} launch of {found.slug}"
    if run.mode == LaunchMode.COLD:
        start_cold(run, ServedBy.COLD, now)
    else:
        _acquire_warm(run, now)
    if run.state != RunState.DEPLOYING:
        progress.tell_acquiring(run, now)
        nudge()
    journal.record(LogKind.LAUNCH, message, run_id=run.id, now=now)
    return run


# Warm.


def _acquire_warm(run: Run, now: datetime) -> None:
    acquiring = events.Entry(EventKind.STATUS, "Acquiring sandbox from warm pool...")
    pool = Pool.objects.filter(runtime=run.game.runtime).exclude(mode=Mode.DRAINING).first()
    waiting = 0
    if pool is not None:
        note_demand(pool, f"run {run.short_id}", now)
        waiting = Run.objects.waiting_for(pool.runtime).count()
        if not waiting and take_ready(run, pool, now, acquiring):
            return
    events.write(run.id, [acquiring], now)
    if pool is None:
        start_cold(run, ServedBy.COLD_FALLBACK, now, f"There is no warm pool for {run.game.get_runtime_display()}")
        return
    coming = Sandbox.objects.filter(pool=pool, state__in=[*ON_THE_WAY, State.READY]).count()
    if coming > waiting:
        run.served_by = ServedBy.POOL
        Run.objects.filter(pk=run.pk).update(served_by=ServedBy.POOL)
        message = f"Pool miss: {waiting} ahead, {coming} sandboxes on their way; waiting for the next."
        events.emit(run.id, EventKind.STATUS, message, data={"ahead": waiting}, now=now)
    elif pool.on_empty == OnEmpty.FAIL:
        raise PoolEmpty("No sandbox is ready, and this pool starts none for a launch. It is being filled now.")
    else:
        start_cold(run, ServedBy.COLD_FALLBACK, now, "No warm sandbox was ready")


def take_ready(run: Run, pool: Pool, now: datetime, *before: events.Entry) -> bool:
    """Give the run a READY sandbox of the pool. Inside a transaction; False when there is none.

    `before`: what the run says first, if it gets one; written together, because a player waits.
    """
    expires_at = lifetime(now)
    sandbox = claims.claim(pool, by=f"run {run.short_id}", expires_at=expires_at, now=now)
    if sandbox is None:
        return False
    took_ms = milliseconds(timezone.now() - run.created_at)
    fields = {"sandbox": sandbox, "served_by": ServedBy.POOL, "acquired_at": timezone.now(), "expires_at": expires_at}
    for name, value in fields.items():
        setattr(run, name, value)
    run.state = RunState.DEPLOYING
    Run.objects.move(run.pk, frm=[RunState.ACQUIRING], to=RunState.DEPLOYING, **fields)
    message = f"Pool acquisition: {took_ms} ms (pool hit)"
    events.write(run.id, [*before, events.Entry(EventKind.STATUS, message, data={"sandbox": sandbox.name})])
    return True


def hand_over(run: Run) -> Run | None:
    """The claimed sandbox must answer before it counts; a dead one is retired and the next one claimed. Where the game
    runs in it already, that is all, and the running run comes back; else a task deploys it.

    The pool can wait: a turn at this moment would take the processor from what the player waits for."""
    while run.state == RunState.DEPLOYING and run.sandbox is not None:
        port = staged_port(run.sandbox, run.game) if run.use_snapshot else None
        began = timezone.now()
        try:
            agent = run.sandbox.agent()
            if port is None:
                agent.health(PROBE_TIMEOUT_SECONDS)
                async_task("runs.tasks.deploy", str(run.id), task_name="deploy", group="deploy")
                nudge(is_urgent=False)
                return None
            if agent.fetch(port, "/", PROBE_TIMEOUT_SECONDS).status < 400:
                return _play_staged(run, run.sandbox, port, began)
            trouble = "the game in it does not answer"
        except AgentError as error:
            trouble = str(error)
        _replace_dead(run, trouble)
    return None


@transaction.atomic
def _play_staged(run: Run, sandbox: Sandbox, port: int, probed_at: datetime) -> Run | None:
    """The game that was started ahead of time is played; the others in its sandbox end, which can wait for a second."""
    nudge(is_urgent=False)
    now = timezone.now()
    start_ms = milliseconds(now - probed_at)
    running = run_now(run.id, port=port, deployed_from=DeployedFrom.STAGED, restore_ms=0, start_ms=start_ms, now=now)
    if running and len(sandbox.staged) > 1:
        async_task("games.tasks.end_other_games", str(sandbox.id), run.game.slug, broker=ORM())
    return running


def _replace_dead(run: Run, trouble: str) -> None:
    """The sandbox at hand was dead: retire it and claim the next, or go on as if none had been ready."""
    with transaction.atomic():
        Fleet.lock()
        now = timezone.now()
        dead, probed = lifecycle.locked(run.pk).sandbox, run.sandbox
        run.sandbox = None
        if dead != probed:  # somebody else found that, too, and the run has another by now
            return
        # Without the lease of the task at hand: another one may have to deploy into the next sandbox.
        back = {"sandbox": None, "acquired_at": None, "expires_at": None, "deploy_lease_until": None}
        if not Run.objects.move(run.pk, frm=[RunState.DEPLOYING], to=RunState.ACQUIRING, **back):
            return
        run.state = RunState.ACQUIRING
        message = f"The sandbox did not answer ({trouble}); taking another."
        events.emit(run.id, EventKind.LOG, message, level=Level.WARNING, now=now)
        if dead is not None:
            claims.retire(
                dead.id,
                EndCode.DEAD_AT_HAND_OVER,
                f"dead at hand-over: {trouble}",
                now,
                frm=[State.IN_USE],
                level=Level.WARNING,
            )
        pool = Pool.objects.filter(runtime=run.game.runtime).exclude(mode=Mode.DRAINING).first()
        if pool is None or not take_ready(run, pool, now):
            start_cold(run, ServedBy.COLD_FALLBACK, now, "No other warm sandbox was ready")
        nudge()


# Cold.


def start_cold(run: Run, served_by: ServedBy, now: datetime, why: str = "") -> None:
    """Reserve a sandbox of the run's own; where one has to go first, the run waits for its place. Inside a transaction.
    A launch that can never get a place fails."""
    if why:
        events.emit(
            run.id, EventKind.STATUS, f"{why}: cold start.", data={"fallback": True}, level=Level.WARNING, now=now
        )
    reason = f"{served_by.label.lower()}: run {run.short_id} of {run.game.slug}"
    run.served_by = served_by
    run.notice = f"{why}: this is a cold start." if why else run.notice
    Run.objects.filter(pk=run.pk).update(served_by=served_by, notice=run.notice)
    try:
        sandbox = reserve(
            runtime=run.game.runtime,
            origin=Origin.COLD,
            code=CreateCode(served_by),
            reason=reason,
            now=now,
            pool=None,
            make_room=True,
        )
    except NoCapacity as error:
        if run.created_at == now:
            raise LimitReached(error.limit, str(error), error.retry_after_seconds) from error
        fail(run.id, f"No place for a sandbox: {error}", now)
        return
    if sandbox is None:
        if why or run.created_at == now:  # said once, however often it is asked for
            events.emit(run.id, EventKind.STATUS, "The fleet is full; a place is being made...", now=now)
        return
    run.sandbox = sandbox
    Run.objects.filter(pk=run.pk).update(sandbox=sandbox)
    events.emit(
        run.id, EventKind.STATUS, f"Creating sandbox {sandbox.name}...", data={"sandbox": sandbox.name}, now=now
    )
