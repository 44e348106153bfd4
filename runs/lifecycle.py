"""Every change of a run's state, of its sandbox and of who deploys it: one function a step. Nobody else writes them.

A step says what it needs and what it leaves; `docs/run-states.md` draws them. Each is compare-and-set: on the state, on
the sandbox, and on the attempt. Those two travel with a deployment (`Attempt`), so that who comes late, with an older
attempt or another sandbox, is refused by what it carries.

Rows are locked in one order, whoever comes: the fleet, a pool, a sandbox, its run, the logs' cursor, the tally. What
comes to runs from elsewhere skips those that are locked.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.expressions import RawSQL

from games import versions
from games.models import Game
from pools import claims, clock, journal
from pools.leases import is_dead
from pools.models import LIVE, Fleet, Level, Sandbox, State
from pools.moments import as_text
from pools.nudge import nudge
from pools.reasons import EndCode, LogKind
from pools.tenure import LEASE_SECONDS
from pools.this_machine import this_process
from pools.together import NothingChanged, Together
from runs import clients, events, limits, lines, metrics
from runs.clients import Client
from runs.live.wakeups import wake_readers_together
from runs.models import ACTIVE, STARTING, DeployedFrom, EventKind, LaunchMode, Run, RunQuerySet, RunState, ServedBy
from runs.reasons import NOTICES, AttemptCode, RunEndCode, RunNoticeCode, StatusCode
from runs.wanted import Wanted

ACQUIRING = "Acquiring sandbox from warm pool..."
MAX_RESTARTS = 1  # of a game that stops while it is played
QUEUED_SECONDS = 10  # a task that nobody has begun by then may be lost
LONGEST_LEASE = timedelta(seconds=4 * LEASE_SECONDS)  # one that runs longer is from before a clock was set back
NO_LEASE: dict[str, Any] = {"deploy_lease_until": None, "deploy_process": ""}


class TooLate(Exception):
    """The run is not where the caller took it to be. Everything in the caller's transaction is rolled back."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The fencing token of a deployment: the run, the sandbox it goes into, and which attempt it is.

    Number 0 is the hand-over at the click; the tasks that deploy count from 1. An attempt keeps its number when a dead
    sandbox is replaced under it: the pair of number and sandbox is never used twice.
    """

    run_id: UUID
    sandbox_id: UUID | None
    number: int

    @classmethod
    def of(cls, run: Run) -> Attempt:
        """The attempt that works on the run, as it was read."""
        return cls(run.pk, run.sandbox_id, run.deploy_attempts)

    @classmethod
    def after(cls, run: Run) -> Attempt:
        """The next attempt to deploy the run into the sandbox that it has."""
        return cls(run.pk, run.sandbox_id, run.deploy_attempts + 1)


# Begin and wait.


def begin(
    run_id: UUID,
    game: Game,
    wanted: Wanted,
    *,
    mode: LaunchMode,
    client: Client,
    key: str | None,
    now: datetime,
    digest: str = "",
) -> Run:
    """Needs the fleet's lock and room under the limits. Leaves a new run, ACQUIRING. `digest`: of the version that is
    on trial in it. Raises LimitReached."""
    limits.check(mode, now)
    limits.check_budget(client, now)
    return Run.objects.create(
        id=run_id,
        game=game,
        mode=mode,
        state=RunState.ACQUIRING,
        visitor=client.name,
        network=client.network,
        idempotency_key=key or None,
        created_at=now,
        source_digest=digest,
        **wanted.fields(),
    )


def count(run: Run, client: Client, mark: int, now: datetime) -> None:
    """Needs the fleet's lock, and comes last. Leaves the new run numbered, and counted against the limits. `mark`: from
    before it began. Raises LimitReached."""
    try:
        run.number = limits.count(run.mode, mark)
    except limits.NotCounted:
        limits.check(run.mode, now, but=run)  # by the rows of those that were quicker, which can be seen now
        message = "As many launches as may be were taken on in this moment."
        raise limits.LimitReached("MAX_TOTAL_ACTIVE", message, clients.RETRY_SECONDS) from None
    limits.check_client(client, now, but=run)
    Run.objects.filter(pk=run.pk).update(number=run.number)


def begin_in(
    run_id: UUID,
    sandbox: Sandbox,
    game: Game,
    wanted: Wanted,
    *,
    client: Client,
    key: str | None,
    mark: int,
    now: datetime,
) -> Run:
    """Needs a sandbox that was claimed for it in the same transaction, and room under the limits. Leaves a new warm
    run, DEPLOYING in that one, and the transaction committed. Raises NotCounted, and IntegrityError for a key that was
    used."""
    acquired_at = clock.now()
    run = Run(
        id=run_id,
        game=game,
        sandbox=sandbox,
        mode=LaunchMode.WARM,
        served_by=ServedBy.POOL,
        state=RunState.DEPLOYING,
        visitor=client.name,
        network=client.network,
        idempotency_key=key or None,
        created_at=now,
        acquired_at=acquired_at,
        expires_at=sandbox.expires_at,
        **wanted.fields(),
    )
    took_ms = milliseconds(acquired_at - now)
    told = [
        events.Entry(EventKind.STATUS, ACQUIRING, data={"code": StatusCode.ACQUIRING}),
        events.Entry(
            EventKind.STATUS,
            f"Pool acquisition: {took_ms} ms (pool hit)",
            data={"code": StatusCode.POOL_HIT, "sandbox": sandbox.name},
        ),
    ]
    run.last_seq = len(told)
    batch = Together()
    batch.insert(run)  # first: of two with one key the second waits here, and holds nothing yet that others need
    events.write_first(batch, run, told, acquired_at)
    journal.record_together(
        batch,
        journal.line(LogKind.ACQUIRE, claims.acquired(f"run {run.short_id}"), sandbox=sandbox, now=now),
        lines.launched(run, now),
    )
    limits.count_together(batch, run.mode, mark)
    room = clients.still_room_sql(client, mark, now)
    batch.require_update(Run, {"id": run.pk}, {"number": RawSQL(limits.NUMBER_SQL, ())}, condition=room)  # noqa: S611
    try:
        batch.run(commit=True)
    except NothingChanged:
        raise limits.NotCounted from None
    del run.number  # read when it is asked for
    return run


def wait_for_pool(run: Run, *, ahead: int, coming: int, now: datetime) -> None:
    """Needs ACQUIRING without a sandbox. Leaves it in its pool's line, in no worker's hands. Raises TooLate."""
    _step(run, frm=RunState.ACQUIRING, to=RunState.ACQUIRING, served_by=ServedBy.POOL, **NO_LEASE)
    message = f"Pool miss: {ahead} ahead, {coming} sandboxes on their way; waiting for the next."
    data = {"code": StatusCode.POOL_MISS, "ahead": ahead}
    events.emit(run.pk, EventKind.STATUS, message, data=data, now=now)


def wait_for_place(run: Run, now: datetime, notice: RunNoticeCode | None = None) -> None:
    """Needs ACQUIRING without a sandbox. Leaves it in the line for a place in the fleet, in no worker's hands; with a
    notice as a warm launch that starts cold. Raises TooLate."""
    if notice is None:
        _step(run, frm=RunState.ACQUIRING, to=RunState.ACQUIRING, served_by=ServedBy.COLD, **NO_LEASE)
        return
    why = NOTICES[notice].format(runtime=run.game.get_runtime_display())
    told = {"notice_code": notice, "notice": f"{why}: this is a cold start."}
    _step(run, frm=RunState.ACQUIRING, to=RunState.ACQUIRING, served_by=ServedBy.COLD_FALLBACK, **told, **NO_LEASE)
    data = {"code": StatusCode.COLD_START, "notice_code": notice, "fallback": True}
    events.emit(run.pk, EventKind.STATUS, f"{why}: cold start.", data=data, level=Level.WARNING, now=now)


# Be given a sandbox.


def give_claimed(run: Run, sandbox: Sandbox, *before: events.Entry) -> None:
    """Needs ACQUIRING without a sandbox, and a sandbox that was claimed for it in the same transaction. Leaves it
    DEPLOYING in that one, in the hands in which it was. Raises TooLate.

    `before`: what the run says first; written together, because a player waits.
    """
    acquired_at = clock.now()
    fields = {"sandbox": sandbox, "served_by": ServedBy.POOL, "acquired_at": acquired_at}
    fields |= {"notice_code": "", "notice": ""}  # it may have been told that it starts cold
    _step(run, frm=RunState.ACQUIRING, to=RunState.DEPLOYING, expires_at=sandbox.expires_at, **fields)
    message = f"Pool acquisition: {milliseconds(acquired_at - run.created_at)} ms (pool hit)"
    data = {"code": StatusCode.POOL_HIT, "sandbox": sandbox.name}
    events.write(run.pk, [*before, events.Entry(EventKind.STATUS, message, data=data)])


def give_reserved(run: Run, sandbox: Sandbox, now: datetime) -> None:
    """Needs ACQUIRING without a sandbox, and a place that was reserved for it in the same transaction. Leaves it
    ACQUIRING with a sandbox of its own, which is yet to be created. Raises TooLate."""
    _step(run, frm=RunState.ACQUIRING, to=RunState.ACQUIRING, sandbox=sandbox)
    data = {"code": StatusCode.CREATING, "sandbox": sandbox.name}
    events.emit(run.pk, EventKind.STATUS, f"Creating sandbox {sandbox.name}...", data=data, now=now)


@transaction.atomic
def give_healthy(sandbox: Sandbox, now: datetime) -> Run | None:
    """Needs ACQUIRING with this sandbox of its own, healthy and not in use. Leaves both taken: the run DEPLOYING. None
    when no run waits for it."""
    waiting = Run.objects.filter(sandbox=sandbox, state=RunState.ACQUIRING).first()
    run = locked(waiting.pk) if waiting else None
    if run is None or run.sandbox_id != sandbox.pk or run.state != RunState.ACQUIRING:
        return None
    expires_at = lifetime(now)
    if not claims.take(sandbox.pk, by=f"run {run.short_id}", expires_at=expires_at, now=now):
        return None
    _step(run, frm=RunState.ACQUIRING, to=RunState.DEPLOYING, acquired_at=now, expires_at=expires_at)
    took = (now - run.created_at).total_seconds()
    data = {"code": StatusCode.SANDBOX_UP, "sandbox": sandbox.name}
    events.emit(run.pk, EventKind.STATUS, f"Sandbox {sandbox.name} is up after {took:.1f} s.", data=data, now=now)
    return run


@transaction.atomic
def lose_sandbox(
    attempt: Attempt,
    trouble: str,
    now: datetime,
    code: EndCode | None = EndCode.DEAD_AT_HAND_OVER,
    taken_by: UUID | None = None,
) -> Run | None:
    """Needs DEPLOYING, this attempt in this sandbox, which was found dead. Leaves it ACQUIRING without a sandbox, still
    in the attempt's hands, and the dead one DELETING; without a `code` back in its pool, for the fleet's looks to
    decide: one that can't be reached from here may be well; and IN_USE where an unknown run has it. None when it comes
    too late."""
    Fleet.lock()
    run = locked(attempt.run_id)
    if run.state != RunState.DEPLOYING or Attempt.of(run) != attempt:
        _drop(attempt, run, f"the sandbox did not answer ({trouble})", now)
        return None
    dead = run.sandbox
    _step(run, frm=RunState.DEPLOYING, to=RunState.ACQUIRING, sandbox=None, acquired_at=None, expires_at=None)
    problem = "did not answer" if taken_by is None else "is not free"
    message = f"The sandbox {problem} ({trouble}); taking another."
    events.emit(run.pk, EventKind.LOG, message, level=Level.WARNING, now=now)
    if dead is not None and taken_by is not None:
        claims.leave_alone(dead.pk, taken_by, now, frm=[State.IN_USE])
    elif dead is not None and not (code is None and claims.give_back(dead.pk, trouble, now)):
        code = code or EndCode.DEAD_AT_HAND_OVER
        reason = f"dead at hand-over: {trouble}"
        claims.retire(dead.pk, code, reason, now, frm=[State.IN_USE], level=Level.WARNING)
    return run


# Deploy.


@transaction.atomic
def begin_attempt(attempt: Attempt, now: datetime) -> Run | None:
    """Needs DEPLOYING in this sandbox after the attempt before this one, and in nobody's hands. Leaves it in this
    process's, for LEASE_SECONDS from `now`, the database's time. None when it comes too late, or when another one
    works."""
    return _begin(attempt, Run.objects.filter(state=RunState.DEPLOYING), now)


@transaction.atomic
def begin_restart(attempt: Attempt, now: datetime) -> Run | None:
    """The same for a run that is RUNNING, and whose game has stopped and is to be started again."""
    return _begin(attempt, Run.objects.being_deployed().filter(state=RunState.RUNNING), now)


def _begin(attempt: Attempt, runs: RunQuerySet, now: datetime) -> Run | None:
    # Without a process it is only on its way, by this task or another.
    is_over = Q(deploy_lease_until__lt=now) | Q(deploy_lease_until__gt=now + LONGEST_LEASE)
    free = Q(deploy_lease_until__isnull=True) | is_over | Q(deploy_process="")
    before = runs.filter(free, pk=attempt.run_id, sandbox=attempt.sandbox_id, deploy_attempts=attempt.number - 1)
    if not before.update(
        deploy_lease_until=now + timedelta(seconds=LEASE_SECONDS),
        deploy_process=this_process(),
        deploy_attempts=attempt.number,
    ):
        return None
    return Run.objects.select_related("game", "sandbox").get(pk=attempt.run_id)


def renew(run_id: UUID, number: int, now: datetime) -> bool:
    """Needs this attempt in this process's hands, whatever sandbox it is in. Leaves it there for LEASE_SECONDS from
    `now`, the database's time. False when it is over, or somebody else's."""
    mine = Run.objects.filter(pk=run_id, deploy_attempts=number, deploy_process=this_process())
    return mine.update(deploy_lease_until=now + timedelta(seconds=LEASE_SECONDS)) == 1


def is_cut_off(run: Run, now: datetime) -> bool:
    """Whether a run whose game is to be brought up is in no living worker's hands, and on its way into none. `now`: the
    database's time."""
    since = run.acquired_at or run.created_at
    until = run.deploy_lease_until or since + timedelta(seconds=QUEUED_SECONDS)
    return until <= now or until > now + LONGEST_LEASE or (_was_begun(run) and is_dead(run.deploy_process))


def _was_begun(run: Run) -> bool:
    return bool(run.deploy_lease_until and run.deploy_process)


@transaction.atomic
def hand_back(run: Run, now: datetime) -> bool:
    """Needs the state, attempt, sandbox and lease that were seen cut off. Leaves it in nobody's hands, with
    QUEUED_SECONDS for the next attempt to begin. False when somebody was first."""
    fields = {"deploy_lease_until": now + timedelta(seconds=QUEUED_SECONDS), "deploy_process": ""}
    seen = _same(run).filter(state=run.state, deploy_lease_until=run.deploy_lease_until)
    if not seen.update(acquired_at=run.acquired_at or now, **fields):
        return False
    if _was_begun(run):
        message = "The deployment was interrupted; once more."
        events.emit(run.pk, EventKind.LOG, message, level=Level.WARNING, now=now)
    return True


@transaction.atomic
def pass_on(attempt: Attempt, now: datetime) -> Run | None:
    """Needs this attempt in this process's hands. Leaves it in nobody's, for the next one to begin at once: that is no
    interruption. None when it is over, or somebody else's."""
    mine = Run.objects.filter(pk=attempt.run_id, sandbox=attempt.sandbox_id, deploy_attempts=attempt.number)
    mine = mine.filter(state__in=[RunState.DEPLOYING, RunState.RUNNING], deploy_process=this_process())
    if not mine.update(deploy_lease_until=now + timedelta(seconds=QUEUED_SECONDS), deploy_process=""):
        return None
    data = {"code": AttemptCode.PASSED_ON}
    events.emit(attempt.run_id, EventKind.LOG, "This worker stops; another one begins again.", data=data, now=now)
    return Run.objects.get(pk=attempt.run_id)


def interruptions(run: Run) -> int:
    """How many attempts to bring the run's game up did not come to their end."""
    passed_on = run.events.filter(kind=EventKind.LOG, data__code=AttemptCode.PASSED_ON).count()
    return run.deploy_attempts - passed_on


def measure(attempt: Attempt, **measured: int) -> bool:
    """Needs DEPLOYING, this attempt in this sandbox. Leaves what its parts took so far. False when too late."""
    same = Run.objects.filter(sandbox=attempt.sandbox_id, deploy_attempts=attempt.number)
    return same.filter(pk=attempt.run_id, state=RunState.DEPLOYING).update(**measured) == 1


def play_staged(run: Run, *, port: int, start_ms: int, now: datetime) -> None:
    """Needs a transaction, and the run as it is in hand: DEPLOYING at its hand-over, in a sandbox where its game was
    started ahead of time and answers. Leaves it RUNNING and measured, and the transaction committed. Raises TooLate."""
    total_ms = milliseconds(now - run.created_at)
    start_ms = min(start_ms, total_ms)
    acquire_ms = min(total_ms - start_ms, milliseconds((run.acquired_at or now) - run.created_at))
    timings = {
        "acquire_ms": acquire_ms,
        "bootstrap_ms": total_ms - acquire_ms - start_ms,
        "restore_ms": 0,
        "start_ms": start_ms,
        "total_ms": total_ms,
    }
    fields = {"port": port, "deployed_from": DeployedFrom.STAGED, "ready_at": now} | timings | NO_LEASE
    fields["source_digest"] = run.game.source_digest
    batch = Together()
    here = {"id": run.pk, "sandbox": run.sandbox_id, "deploy_attempts": run.deploy_attempts}
    grown = {"last_seq": RawSQL("last_seq + 1", ())}
    batch.require_update(Run, here | {"state": RunState.DEPLOYING}, {"state": RunState.RUNNING} | fields | grown)
    events.write_next(batch, run.pk, _ready(run, DeployedFrom.STAGED, timings), now)
    journal.record_together(batch, lines.ready(run, DeployedFrom.STAGED, total_ms, now))
    wake_readers_together(batch)
    try:
        batch.run(commit=True)
    except NothingChanged:
        raise TooLate(f"Run {run.short_id} is not where it was when its sandbox was asked.") from None
    for name, value in {"state": RunState.RUNNING, **fields}.items():
        setattr(run, name, value)
    metrics.launched(run, timings)


@transaction.atomic
def run_now(
    attempt: Attempt,
    *,
    port: int,
    deployed_from: DeployedFrom,
    digest: str,
    restore_ms: int,
    start_ms: int,
    now: datetime,
) -> Run | None:
    """Needs DEPLOYING, this attempt in this sandbox, where the game answers. Leaves it RUNNING, measured, in nobody's
    hands. None when it comes too late. `digest`: of the version that was deployed, whatever is published by now.

    What went neither into getting the sandbox nor into restoring and starting was bootstrap, so the parts make up the
    whole. The player's time begins now: what the deployment took is not taken off it.
    """
    run = locked(attempt.run_id)
    if run.state != RunState.DEPLOYING or Attempt.of(run) != attempt:
        _drop(attempt, run, "the game is ready", now)
        return None
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
    expires_at = run.expires_at
    if run.sandbox_id is not None and expires_at is not None and run.acquired_at is not None:
        expires_at += max(timedelta(), now - run.acquired_at)
        claims.extend(run.sandbox_id, expires_at, now)
    is_on_trial = bool(run.source_digest)
    fields = {"expires_at": expires_at, "port": port, "deployed_from": deployed_from, "ready_at": now}
    _step(run, frm=RunState.DEPLOYING, to=RunState.RUNNING, source_digest=digest, **fields, **timings, **NO_LEASE)
    if is_on_trial:
        versions.end_trial(run.pk, now)
    events.write(run.pk, [_ready(run, deployed_from, timings)], now)
    journal.write(lines.ready(run, deployed_from, total_ms, now))
    transaction.on_commit(partial(metrics.launched, run, timings))
    return run


def _ready(run: Run, deployed_from: DeployedFrom, timings: dict[str, int]) -> events.Entry:
    data = {"url": run.play_url, "timings": timings, "deployed_from": deployed_from}
    return events.Entry(EventKind.READY, f"Game ready! ({timings['total_ms']} ms)", data=data)


# A game that stops while it is played.


@transaction.atomic
def lose_game(run_id: UUID, sandbox_id: UUID, trouble: str, now: datetime) -> Run | None:
    """Needs RUNNING in this sandbox, and nobody who starts its game again already. Leaves it RUNNING, on its way to be
    started again by the next attempt; when that was done before, FAILED. None when there is nothing to start."""
    Fleet.lock()
    run = locked(run_id)
    if run.state != RunState.RUNNING or run.sandbox_id != sandbox_id or run.deploy_lease_until is not None:
        return None
    if run.restarts >= MAX_RESTARTS:
        reason = "The game stopped, and had been started again once already."
        fail(run_id, RunEndCode.GAME_STOPPED, reason, now, frm=[RunState.RUNNING])
        return None
    lease = {"deploy_lease_until": clock.now() + timedelta(seconds=QUEUED_SECONDS), "deploy_process": ""}
    _step(run, frm=RunState.RUNNING, to=RunState.RUNNING, restarts=run.restarts + 1, **lease)
    data = {"code": StatusCode.GAME_STOPPED}
    message = "The game stopped; it is being started again."
    events.emit(run_id, EventKind.STATUS, message, data=data, level=Level.WARNING, now=now)
    journal.write(lines.stopped(run, trouble, now))
    return run


@transaction.atomic
def play_on(attempt: Attempt, *, port: int, digest: str, now: datetime) -> bool:
    """Needs RUNNING, this attempt in this sandbox, where the game answers again. Leaves it in nobody's hands: it is
    played on. `digest`: of the version that it is now. False when it comes too late."""
    run = locked(attempt.run_id)
    if run.state != RunState.RUNNING or Attempt.of(run) != attempt:
        _drop(attempt, run, "the game was started again", now)
        return False
    _step(run, frm=RunState.RUNNING, to=RunState.RUNNING, port=port, source_digest=digest, **NO_LEASE)
    message = "The game is back."
    events.emit(run.pk, EventKind.STATUS, message, data={"code": StatusCode.GAME_BACK}, now=now)
    return True


# Go on and end.


@transaction.atomic
def extend(run_id: UUID, now: datetime, by: str = "") -> bool:
    """Needs RUNNING, extended less than MAX_EXTENSIONS times, in a sandbox that has not expired. Leaves both with
    SANDBOX_MIN_LIFETIME_MINUTES more. False when that may not be. `by`: who, for the log."""
    run = locked(run_id)
    if run.state != RunState.RUNNING or run.extensions >= settings.MAX_EXTENSIONS:
        return False
    if run.expires_at is None or run.sandbox_id is None:
        return False
    expires_at = run.expires_at + timedelta(minutes=settings.SANDBOX_MIN_LIFETIME_MINUTES)
    if not claims.extend(run.sandbox_id, expires_at, now):
        return False
    _step(run, frm=RunState.RUNNING, to=RunState.RUNNING, expires_at=expires_at, extensions=run.extensions + 1)
    data = {"code": StatusCode.EXTENDED, "expires_at": as_text(expires_at)}
    events.emit(run_id, EventKind.STATUS, f"Extended until {expires_at:%H:%M:%S} UTC.", data=data, now=now)
    journal.write(lines.extended(run, expires_at, now, by))
    return True


@transaction.atomic
def warn_of_end(run: Run, now: datetime) -> bool:
    """Needs RUNNING until the moment that was read, of which nothing was said yet. Leaves a line that it is near. False
    when it got more time, is over, or somebody was first."""
    expires_at = run.expires_at
    if expires_at is None:
        return False
    same = Run.objects.to_be_warned(expires_at).filter(pk=run.pk, expires_at=expires_at)
    if not same.update(warned_of=expires_at):
        return False
    journal.write(lines.ending_soon(run, expires_at, now))
    return True


def end(run_id: UUID, code: RunEndCode, reason: str, now: datetime, by: str = "") -> bool:
    """Needs a run that is not over. Leaves it ENDED and its sandbox DELETING. False when it was over already."""
    return _finish(run_id, RunState.ENDED, code, reason, now, frm=ACTIVE, by=by)


def fail(
    run_id: UUID,
    code: RunEndCode,
    reason: str,
    now: datetime,
    *,
    frm: Collection[RunState] = ACTIVE,
    attempt: Attempt | None = None,
) -> bool:
    """Needs one of the states `frm`; where the failure is an attempt's, DEPLOYING by default, and this attempt in this
    sandbox. Leaves it FAILED and its sandbox DELETING; `reason` is a sentence for the player. False otherwise."""
    if attempt is not None and frm is ACTIVE:
        frm = [RunState.DEPLOYING]
    return _finish(run_id, RunState.FAILED, code, reason, now, frm=frm, attempt=attempt)


@transaction.atomic
def _finish(
    run_id: UUID,
    state: RunState,
    code: RunEndCode,
    reason: str,
    now: datetime,
    *,
    frm: Collection[RunState],
    attempt: Attempt | None = None,
    by: str = "",
) -> bool:
    Fleet.lock()
    nudge()
    reason = events.fit(reason)  # it may be the last words of a program
    run = locked(run_id)
    if run.state not in frm or (attempt is not None and Attempt.of(run) != attempt):
        if attempt is not None:
            _drop(attempt, run, reason, now)
        return False
    was_on_trial = bool(run.source_digest) and run.state in STARTING
    _step(run, frm=RunState(run.state), to=state, end_code=code, end_reason=reason, ended_at=now, **NO_LEASE)
    if was_on_trial:
        versions.end_trial(run.pk, now, code, reason)
    level = Level.ERROR if state == RunState.FAILED else Level.INFO
    duration_ms = milliseconds(now - run.created_at)
    data = {"state": state, "code": code, "reason": reason, "duration_ms": duration_ms}
    events.emit(run_id, EventKind.END, reason, level=level, data=data, now=now)
    if run.sandbox_id is not None:
        why = f"run {run.short_id} is over: {reason}"
        claims.retire(run.sandbox_id, EndCode.RUN_OVER, why, now, frm=LIVE, actor=by)
    journal.write(lines.over(run, code, data, now, by))
    limits.leave(run.mode)
    metrics.ended(run, code, duration_ms, has_failed=state == RunState.FAILED)
    return True


# How steps are made.


def locked(run_id: UUID) -> Run:
    """The run, locked; before it its sandbox, as everybody does. Raises Run.DoesNotExist."""
    while True:
        sandboxes = Sandbox.objects.select_for_update(no_key=True, of=("self",)).select_related("pool")
        sandbox = sandboxes.filter(run=run_id).first()
        run = Run.objects.select_for_update(no_key=True, of=("self",)).select_related("game").get(pk=run_id)
        if run.sandbox_id == (sandbox.pk if sandbox else None):
            run.sandbox = sandbox
            return run


def _same(run: Run) -> Any:
    """The row, while it has the sandbox and the attempt with which it was read."""
    return Run.objects.filter(pk=run.pk, sandbox=run.sandbox_id, deploy_attempts=run.deploy_attempts)


def _step(run: Run, *, frm: RunState, to: RunState, **fields: Any) -> None:
    """Write a step on the row and on the run in hand, if they are where the caller believes. Raises TooLate."""
    if not _same(run).filter(state=frm).update(state=to, **fields):
        raise TooLate(f"Run {run.short_id} is not {frm.label.lower()} any more, or not in the same sandbox.")
    for name, value in {"state": to, **fields}.items():
        setattr(run, name, value)


def drop(attempt: Attempt, report: str, now: datetime) -> None:
    """Say that an attempt whose time was over changes nothing."""
    _drop(attempt, Run.objects.get(pk=attempt.run_id), report, now)


def _drop(attempt: Attempt, run: Run, report: str, now: datetime) -> None:
    journal.write(lines.too_late(run, attempt.number, report, now))


def lifetime(now: datetime, *, existing: int | None = None) -> datetime:
    """Return when a run that gets its sandbox now will end: after the long lifetime, or in a full fleet the short.
    `existing`: how many sandboxes there are, where that is known."""
    if existing is None:
        existing = Sandbox.objects.existing().count()
    full = existing >= settings.MAX_TOTAL_SANDBOXES
    minutes = settings.SANDBOX_MIN_LIFETIME_MINUTES if full else settings.SANDBOX_MAX_LIFETIME_MINUTES
    return now + timedelta(minutes=minutes)


def milliseconds(duration: timedelta) -> int:
    return max(0, round(duration.total_seconds() * 1000))
