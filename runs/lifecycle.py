"""How a run goes on after its launch: it is running, is given more time, and ends, whatever ends it.

Rows are locked in one order, whoever comes: the fleet, a pool, a sandbox, its run, the logs' cursor. What comes to
runs from elsewhere skips those that are locked.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction

from pools import claims, journal
from pools.models import LIVE, Fleet, Level, Sandbox
from pools.nudge import nudge
from pools.reasons import EndCode, LogKind
from runs import events
from runs.models import ACTIVE, DeployedFrom, EventKind, Run, RunState


def lifetime(now: datetime) -> datetime:
    """When a run that gets its sandbox now will end: the long lifetime, the short one while the fleet is full."""
    full = Sandbox.objects.existing().count() >= settings.MAX_TOTAL_SANDBOXES
    minutes = settings.SANDBOX_MIN_LIFETIME_MINUTES if full else settings.SANDBOX_MAX_LIFETIME_MINUTES
    return now + timedelta(minutes=minutes)


def milliseconds(duration: timedelta) -> int:
    return max(0, round(duration.total_seconds() * 1000))


@transaction.atomic
def run_now(
    run_id: UUID, *, port: int, deployed_from: DeployedFrom, restore_ms: int, start_ms: int, now: datetime
) -> Run | None:
    """The game answers: the run is RUNNING. What went neither into getting the sandbox nor into restoring and starting
    was bootstrap, so the parts make up the whole. None when the run has ended meanwhile."""
    run = locked(run_id)
    total_ms = milliseconds(now - run.created_at)
    acquire_ms = min(total_ms, milliseconds((run.acquired_at or now) - run.created_at))  # clocks can be set back
    restore_ms = min(restore_ms, total_ms - acquire_ms)
    start_ms = min(start_ms, total_ms - acquire_ms - restore_ms)
    timings = {
        "acquire_ms": acquire_ms,
        "bootstrap_ms": total_ms - acquire_ms - restore_ms - start_ms,
        "restore_ms": restore_ms,
        "start_ms": start_ms,
        "total_ms": total_ms,
    }
    # The player's time begins now: what the deployment took is not taken off it.
    expires_at = run.expires_at
    if run.sandbox_id is not None and expires_at is not None and run.acquired_at is not None:
        expires_at += max(timedelta(), now - run.acquired_at)
        claims.extend(run.sandbox_id, expires_at, now)
    fields = {
        "expires_at": expires_at,
        "port": port,
        "deployed_from": deployed_from,
        "ready_at": now,
        "deploy_lease_until": None,
        **timings,
    }
    if not Run.objects.move(run_id, frm=[RunState.ACQUIRING, RunState.DEPLOYING], to=RunState.RUNNING, **fields):
        return None
    for name, value in {"state": RunState.RUNNING, **fields}.items():
        setattr(run, name, value)
    data = {"url": run.play_url, "timings": timings, "deployed_from": deployed_from}
    events.emit(run_id, EventKind.READY, f"Game ready! ({total_ms} ms)", data=data, now=now)
    message = f"run {run.short_id}: {run.game.slug} is ready after {total_ms} ms ({deployed_from.label.lower()})"
    journal.record(LogKind.RUN, message, sandbox=run.sandbox, run_id=run_id, now=now)
    return run


def end(run_id: UUID, reason: str, now: datetime, by: str = "") -> bool:
    """End an active run; its sandbox goes with it. False when it was over already."""
    return _finish(run_id, RunState.ENDED, reason, now, by)


def fail(run_id: UUID, reason: str, now: datetime) -> bool:
    """A launch or a run went wrong; `reason` is a sentence for the player. False when it was over already."""
    return _finish(run_id, RunState.FAILED, reason, now)


@transaction.atomic
def _finish(run_id: UUID, state: RunState, reason: str, now: datetime, by: str = "") -> bool:
    Fleet.lock()
    nudge()
    reason = events.fit(reason)  # it may be the last words of a program
    run = locked(run_id)
    if not Run.objects.move(run_id, frm=ACTIVE, to=state, end_reason=reason, ended_at=now, deploy_lease_until=None):
        return False
    level = Level.ERROR if state == RunState.FAILED else Level.INFO
    data = {"state": state.value, "reason": reason}
    events.emit(run_id, EventKind.END, reason, level=level, data=data, now=now)
    if run.sandbox_id is not None:
        claims.retire(
            run.sandbox_id, EndCode.RUN_OVER, f"run {run.short_id} is over: {reason}", now, frm=LIVE, actor=by
        )
    message = f"run {run.short_id}: {run.game.slug} {state.label.lower()}: {reason}"
    level = Level.WARNING if state == RunState.FAILED else Level.INFO
    journal.record(LogKind.RUN, message, sandbox=run.sandbox, run_id=run_id, now=now, actor=by, level=level)
    return True


def locked(run_id: UUID) -> Run:
    """The run, locked; before it its sandbox, as everybody does. Raises Run.DoesNotExist."""
    while True:
        sandboxes = Sandbox.objects.select_for_update(no_key=True, of=("self",)).select_related("pool")
        sandbox = sandboxes.filter(run=run_id).first()
        run = Run.objects.select_for_update(no_key=True, of=("self",)).select_related("game").get(pk=run_id)
        if run.sandbox_id == (sandbox.pk if sandbox else None):
            run.sandbox = sandbox
            return run


@transaction.atomic
def extend(run_id: UUID, now: datetime) -> bool:
    """More time, SANDBOX_MIN_LIFETIME_MINUTES each and MAX_EXTENSIONS times at most. False when it is not to be had."""
    run = locked(run_id)
    if run.state != RunState.RUNNING or run.extensions >= settings.MAX_EXTENSIONS:
        return False
    if run.expires_at is None or run.sandbox_id is None or run.has_expired(now):
        return False
    expires_at = run.expires_at + timedelta(minutes=settings.SANDBOX_MIN_LIFETIME_MINUTES)
    if not claims.extend(run.sandbox_id, expires_at, now):
        return False
    Run.objects.filter(pk=run_id).update(expires_at=expires_at, extensions=run.extensions + 1)
    data = {"expires_at": events.moment(expires_at)}
    events.emit(run_id, EventKind.STATUS, f"Extended until {expires_at:%H:%M:%S} UTC.", data=data, now=now)
    return True
