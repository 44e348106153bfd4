"""The operators' acts on the fleet. The caller decides who may; here each act is checked, done, and written
to the orchestrator log with who did it and why. Each gives a sentence that says what was done, or raises Refused.

The log's messages are read by everybody, so the operator's name goes into the event's `actor` only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from pools import claims, clock, journal, leases
from pools.demand import note_demand
from pools.edits import Of, edit
from pools.fleet_log import turn_death
from pools.models import LIVE, CloudApp, Fleet, Level, Mode, Pool, Sandbox, State
from pools.nudge import nudge
from pools.ownership import anothers
from pools.reasons import EndCode, LogKind, StepCode
from pools.shared_budget import counted
from pools.tenure import kept
from pools.turn.observe import keep, list_apps
from pools.turn.preview import explain
from pools.turn.reconciler import LEASE_SECONDS

LET_GO_MINUTES = 5
MODE_WORDS = {Mode.ACTIVE: "resumed", Mode.PAUSED: "paused", Mode.DRAINING: "drained: its idle sandboxes go"}


class Refused(Exception):
    """It was not done; `str(error)` is a sentence that says why."""


def _note(
    kind: LogKind,
    done: str,
    *,
    actor: str,
    reason: str,
    pool: Pool | None = None,
    level: str = Level.INFO,
    data: Mapping[str, Any] | None = None,
) -> str:
    """Write the act to the orchestrator log. Call it last in the transaction."""
    journal.record(kind, f"{done}; an operator: {reason}", actor=actor, pool=pool, level=level, data=dict(data or {}))
    return done


# Pools.


@transaction.atomic
def set_mode(pool: Pool, mode: Mode, *, actor: str, reason: str) -> str:
    """Pause, resume or drain. Refused when it is so already: another operator was first."""
    Fleet.lock()
    before = Pool.objects.filter(pk=pool.pk).exclude(mode=mode).values_list("mode", flat=True).first()
    if before is None or not Pool.objects.filter(pk=pool.pk, mode=before).update(mode=mode):
        raise Refused(f"Pool {pool.name} is {mode.label.lower()} already.")
    nudge()
    data = edit(Of.POOL, pool.name, {"mode": (before, mode.value)}).data()
    return _note(LogKind.POOL, f"pool {pool.name} {MODE_WORDS[mode]}", actor=actor, reason=reason, pool=pool, data=data)


@transaction.atomic
def warm_up(pool: Pool, *, actor: str, reason: str) -> str:
    """As if somebody had launched just now: the pool fills to its target and stays so for its idle timeout."""
    Fleet.lock()
    pool = Pool.objects.get(pk=pool.pk)
    if pool.mode != Mode.ACTIVE:
        raise Refused(f"Pool {pool.name} is {pool.get_mode_display().lower()}: resume it first.")
    if pool.target_ready == 0:
        raise Refused(f"Pool {pool.name} aims for 0 ready: raise its target first.")
    note_demand(pool, "an operator's warm-up", clock.now())
    nudge()
    done = f"pool {pool.name} warms up to {pool.target_ready} ready, for {pool.idle_timeout_seconds} s"
    return _note(LogKind.POOL, done, actor=actor, reason=reason, pool=pool)


@transaction.atomic
def recycle(pool: Pool, *, actor: str, reason: str) -> str:
    """Every sandbox of the pool that nobody uses is replaced, one by one."""
    Fleet.lock()
    Pool.objects.filter(pk=pool.pk).update(recycle_before=clock.now())
    nudge()
    return _note(LogKind.POOL, f"pool {pool.name} is recycled, one by one", actor=actor, reason=reason, pool=pool)


@transaction.atomic
def close_breaker(pool: Pool, *, actor: str, reason: str) -> str:
    """Failures until now no longer count: the pool may create again at once."""
    Fleet.lock()
    Pool.objects.filter(pk=pool.pk).update(breaker_closed_at=clock.now())
    nudge()
    return _note(LogKind.POOL, f"the breaker of pool {pool.name} is closed", actor=actor, reason=reason, pool=pool)


@transaction.atomic
def add_pool(pool: Pool, *, actor: str, reason: str) -> str:
    """A new pool; the next turn, which is asked for, fills it."""
    pool.save()
    nudge()
    return _note(LogKind.POOL, f"pool {pool.name}: added", actor=actor, reason=reason, pool=pool)


@transaction.atomic
def edit_pool(
    pool: Pool, changes: Mapping[str, tuple[Any, Any]], *, actor: str, reason: str, undoes: int | None = None
) -> str:
    """Save the settings that were changed, by name from what to what: the machine writes the other columns meanwhile.
    They hold from the next turn on, which is asked for. `undoes`: the number of the line whose edit it takes back."""
    pool.save(update_fields=list(changes))
    nudge()
    made = edit(Of.POOL, pool.name, changes)
    done = f"pool {pool.name}: {made.sentence()}{undoing(undoes)}"
    data = made.data() | ({"undoes": undoes} if undoes else {})
    return _note(LogKind.POOL, done, actor=actor, reason=reason, pool=pool, data=data)


def undoing(line: int | None) -> str:
    """What a sentence says of the line that it takes back."""
    return f", which undoes line {line}" if line else ""


def check_deletable(pool: Pool) -> None:
    """Refused while the pool has sandboxes: nobody would take or retire them any more."""
    count = Sandbox.objects.existing().filter(pool=pool).count()
    if count:
        raise Refused(f"Pool {pool.name} still has {count} sandbox{'es' if count > 1 else ''}: drain it first.")


@transaction.atomic
def delete_pool(pool: Pool, *, actor: str, reason: str) -> str:
    """Delete a pool that has no sandboxes; under the lock that a new one would need."""
    Fleet.lock()
    check_deletable(pool)
    name = pool.name
    pool.delete()
    return _note(LogKind.POOL, f"pool {name} deleted", actor=actor, reason=reason)


# Sandboxes.


@transaction.atomic
def retire(sandbox: Sandbox, *, actor: str, reason: str) -> str:
    """The sandbox goes, and the run in it ends. The reconciler deletes until the cloud confirms its absence."""
    why = f"retired by an operator: {reason}"
    if not claims.retire(sandbox.pk, EndCode.RETIRED, why, clock.now(), frm=LIVE, actor=actor, level=Level.WARNING):
        sandbox.refresh_from_db()
        raise Refused(f"{sandbox.name} is {State(sandbox.state).label.lower()} already.")
    nudge()
    return f"{sandbox.name} is retired"


# The fleet.


@transaction.atomic
def set_maintenance(*, on: bool, message: str, actor: str, reason: str, undoes: int | None = None) -> str:
    """While it is on there are no launches; players read the message. What runs goes on. `undoes`: the number of the
    line whose edit it takes back."""
    before = Fleet.lock()
    fields = {"maintenance": on, "maintenance_message": message}
    changes = {name: (getattr(before, name), new) for name, new in fields.items() if getattr(before, name) != new}
    if not changes:
        raise Refused(f"Maintenance mode is {'on' if on else 'off'} already.")
    Fleet.objects.filter(pk=1).update(**fields)
    done = f"maintenance mode on, players read: {message}" if on else "maintenance mode off"
    data = edit(Of.FLEET, "fleet", changes).data() | ({"undoes": undoes} if undoes else {})
    level = Level.WARNING if on else Level.INFO
    return _note(LogKind.MAINTENANCE, done + undoing(undoes), actor=actor, reason=reason, level=level, data=data)


@transaction.atomic
def ask_for_turn(*, actor: str, reason: str) -> str:
    """A turn at once, instead of within a minute."""
    Fleet.get()
    nudge()
    return _note(LogKind.TURN, "a turn was asked for", actor=actor, reason=reason)


def turn_since(moment: datetime, seconds: float) -> bool:
    """Whether a turn ends after that moment, waiting for it that long."""
    give_up_at = clock.monotonic() + seconds
    while True:
        turned_at = Fleet.get().turned_at
        if turned_at is not None and turned_at >= moment:
            return True
        if clock.monotonic() > give_up_at:
            return False
        clock.sleep(0.1)


def turn_told(now: datetime) -> str:
    """What the last turn left, as a sentence. Raises Refused with why it could do little or nothing."""
    fleet = Fleet.get()
    if (death := turn_death(fleet)) is not None:
        raise Refused(f"The turn died: {death.message}. Nothing is looked after until one ends well.")
    if fleet.listing_error:
        error = fleet.listing_error.rstrip(".")
        raise Refused(f"The turn was taken, but DigitalOcean could not be listed: {error}. It deleted nothing.")
    told = explain(now).totals.sentence(now)
    return f"The turn was taken. {told}"


def look(seconds: float, *, actor: str, reason: str) -> str:
    """List the apps in the cloud now, and do nothing about them. While a turn is being taken its listing will do.

    It works without any cluster; raises Refused with what is wrong when the cloud can't be listed.
    """
    began, give_up_at = clock.now(), clock.monotonic() + seconds
    while True:
        try:
            with (
                leases.hold("turn", LEASE_SECONDS) as lease,
                kept(lease.is_renewed, LEASE_SECONDS),
                lease.fencing(),
                counted() as cloud,
            ):
                keep(list_apps(cloud, clock.now()))
            break
        except leases.LeaseHeld:
            listed_at = Fleet.get().listed_at
            if listed_at is not None and listed_at >= began:
                break
            if clock.monotonic() > give_up_at:
                raise Refused("A turn is being taken and takes its time; look again in a moment.") from None
            clock.sleep(0.1)
    if error := Fleet.get().listing_error:
        raise Refused(f"DigitalOcean could not be listed: {error}")
    return _note(LogKind.LOOK, "DigitalOcean was listed just now", actor=actor, reason=reason)


@transaction.atomic
def let_go(digest: str, *, actor: str, reason: str) -> str:
    """Let exactly those deletions through that the blast-radius stop holds back and the operator saw, for some minutes.
    Refused when others are held back by now, because nobody has looked at those."""
    now = clock.now()
    explanation = explain(now)
    ids = explanation.held_back_ids
    if not ids:
        raise Refused("Nothing is held back any more.")
    if explanation.digest != digest:
        raise Refused(f"By now other deletions are held back, {len(ids)} of them: look at them again.")
    until = now + timedelta(minutes=LET_GO_MINUTES)
    Fleet.objects.filter(pk=1).update(approved=sorted(ids), approved_until=until)
    nudge()
    done = f"go: {len(ids)} deletion{'s' if len(ids) > 1 else ''} until {until:%H:%M:%S}"
    return _note(LogKind.GO, done, actor=actor, reason=reason, level=Level.WARNING)


@transaction.atomic
def adopt(app_ids: Sequence[str], *, actor: str, reason: str) -> str:
    """Apps of another installation under our mark are ours from now on. They become orphans, for no row could be made
    that may be used: one of them may have served a run already, and its token can't be known."""
    fleet, now = Fleet.lock(), clock.now()
    taken = [app for app in anothers() if app.app_id in set(app_ids)]
    if not taken:
        raise Refused("They are gone, or ours, by now.")
    CloudApp.objects.filter(pk__in=[app.app_id for app in taken]).update(adopted_at=now)
    Fleet.objects.filter(pk=1).update(others=max(0, fleet.others - len(taken)))
    nudge()
    for app in taken:
        journal.record(
            LogKind.ORPHAN,
            f"adopted by an operator: {reason}",
            code=StepCode.ADOPTED,
            name=app.name,
            app_id=app.app_id,
            actor=actor,
            level=Level.WARNING,
            now=now,
        )
    return f"{len(taken)} apps are adopted; they are deleted after {settings.ORPHAN_GRACE_SECONDS} s"


@transaction.atomic
def note_sweep(count: int, *, actor: str, reason: str) -> str:
    """A sweep begins; what it deletes is noted one by one."""
    return _note(LogKind.SWEEP, f"sweep of {count}", actor=actor, reason=reason, level=Level.WARNING)


def pause_all(*, actor: str, reason: str) -> list[str]:
    """Pause every pool that is not, so that nothing is made while the fleet is swept."""
    done = []
    for pool in Pool.objects.exclude(mode=Mode.PAUSED):
        try:
            done.append(set_mode(pool, Mode.PAUSED, actor=actor, reason=reason))
        except Refused:
            continue
    return done


PoolAct = Callable[..., str]
POOL_ACTS: dict[str, tuple[str, PoolAct]] = {
    "pause": ("Pause", lambda pool, **why: set_mode(pool, Mode.PAUSED, **why)),
    "resume": ("Resume", lambda pool, **why: set_mode(pool, Mode.ACTIVE, **why)),
    "drain": ("Drain", lambda pool, **why: set_mode(pool, Mode.DRAINING, **why)),
    "warm_up": ("Warm up now", warm_up),
    "recycle": ("Recycle", recycle),
    "close_breaker": ("Close the breaker", close_breaker),
}
