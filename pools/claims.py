"""One door for each change of hands: READY to IN_USE, anything to DELETING."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from pools import journal, metrics
from pools.cloud.errors import AgentUnavailable
from pools.models import LIVE, SUPPLY, Fleet, Level, Mode, Origin, Pool, Sandbox, State
from pools.nudge import nudge
from pools.reasons import EndCode, LogKind, StepCode
from pools.signals import sandbox_ending, sandbox_ready
from pools.staged import StagedGame
from pools.staged import write as write_staged

# Of `claimable` the first ones: found by the index in the order in which they are taken, however many are ready. What
# else there is in a row a launch does not look at.
CLAIM_SQL = """
UPDATE pools_sandbox SET state = 'in_use', acquired_at = %s, expires_at = %s
WHERE state = 'ready' AND id = (
  SELECT s.id FROM pools_sandbox s
  WHERE s.pool_id = %s AND s.state = 'ready' AND s.health_failures = 0
    AND COALESCE(
      s.health_checked_at >= (SELECT started_at FROM pools_fleet WHERE id = 1),
      s.unwell_since IS NULL AND (SELECT started_at FROM pools_fleet WHERE id = 1) IS NULL)
  ORDER BY s.ready_at, s.id LIMIT 1 {skip})
RETURNING id, name, app_id, state, url, token_key, staged, pool_id, acquired_at, expires_at"""
STAGING_LEASE = "stage "
SUSPECT_AGAIN_SECONDS = 5  # a game that answers badly by itself must not keep the fleet busy


@transaction.atomic(savepoint=False)
def claim(pool: Pool, *, by: str, expires_at: datetime, now: datetime) -> Sandbox | None:
    """Take a READY sandbox of the pool for one use, or None: the oldest of those known to be well, else the oldest. Two
    claims never get the same one: PostgreSQL locks the row and skips locked ones, SQLite runs one writing transaction
    at a time, and the move is compare-and-set on both."""
    sandbox = claim_well(pool, expires_at=expires_at, now=now) or _claim_any(pool, expires_at=expires_at, now=now)
    if sandbox is not None:
        journal.record(LogKind.ACQUIRE, acquired(by), sandbox=sandbox, now=now)
    return sandbox


def acquired(by: str) -> str:
    """The line about a claim."""
    return f"acquired by {by}"


def claim_well(pool: Pool, *, expires_at: datetime, now: datetime) -> Sandbox | None:
    """Take the oldest READY one that is known to be well, in one statement and without waiting for anybody. The line
    about it is the caller's to write."""
    taken = Sandbox.objects.raw(
        CLAIM_SQL.format(skip="FOR UPDATE SKIP LOCKED" if connection.features.has_select_for_update else ""),
        [
            connection.ops.adapt_datetimefield_value(now),
            connection.ops.adapt_datetimefield_value(expires_at),
            pool.pk,
        ],
    )
    for sandbox in list(taken):
        sandbox.pool = pool
        return sandbox
    return None


def _claim_any(pool: Pool, *, expires_at: datetime, now: datetime) -> Sandbox | None:
    for sandbox in Sandbox.objects.claimable(pool).select_for_update(skip_locked=True)[:1]:
        if Sandbox.objects.move(sandbox.id, frm=[State.READY], to=State.IN_USE, acquired_at=now, expires_at=expires_at):
            sandbox.state, sandbox.acquired_at, sandbox.expires_at = State.IN_USE, now, expires_at
            sandbox.pool = pool
            return sandbox
    return None


@transaction.atomic
def take(sandbox_id: UUID, *, by: str, expires_at: datetime, now: datetime) -> bool:
    """A healthy cold sandbox goes to the run it was made for. It never enters a pool."""
    cold = Sandbox.objects.filter(healthy_at__isnull=False)
    if not cold.move(sandbox_id, frm=[State.CREATING], to=State.IN_USE, acquired_at=now, expires_at=expires_at):
        return False
    journal.record(LogKind.ACQUIRE, f"acquired by {by}", sandbox=Sandbox.objects.get(pk=sandbox_id), now=now)
    return True


@transaction.atomic
def give_back(sandbox_id: UUID, trouble: str, now: datetime) -> bool:
    """IN_USE to READY, for one that could not be reached when it was claimed, so nobody has used it. Nobody claims it
    before it was looked at again; if it stays silent, it is given up as others are. False when it is not in use, or its
    pool has no place for it."""
    Fleet.lock()
    pool = Pool.objects.exclude(mode=Mode.DRAINING).filter(sandboxes=sandbox_id).first()
    supply = Sandbox.objects.filter(pool=pool, origin=Origin.POOL, state__in=SUPPLY)
    if pool is None or supply.count() >= pool.max_ready:
        return False
    if not Sandbox.objects.move(
        sandbox_id,
        frm=[State.IN_USE],
        to=State.READY,
        acquired_at=None,
        expires_at=None,
        health_checked_at=None,
        health_failures=1,
        unwell_since=now,
        trouble=trouble,
        trouble_code=AgentUnavailable.code,
    ):
        return False
    message = f"given back: {trouble}"
    sandbox = Sandbox.objects.get(pk=sandbox_id)
    journal.record(LogKind.TROUBLE, message, sandbox=sandbox, now=now, level=Level.WARNING)
    return True


@transaction.atomic
def leave_alone(sandbox_id: UUID, run_id: UUID, now: datetime, *, frm: Collection[State]) -> bool:
    """A run that this database does not know was given the sandbox: it is in use for as long as any run may last. False
    when it is in another state by now."""
    Fleet.lock()  # first, because the log is written
    minutes = settings.SANDBOX_MAX_LIFETIME_MINUTES + settings.MAX_EXTENSIONS * settings.SANDBOX_MIN_LIFETIME_MINUTES
    until = now + timedelta(minutes=minutes)
    if not Sandbox.objects.move(sandbox_id, frm=frm, to=State.IN_USE, acquired_at=now, expires_at=until):
        return False
    message = f"not free: run {run_id.hex[:8]}, which this database does not know, is played in it; left alone until"
    message = f"{message} {until:%H:%M:%S}. Was the database restored from a backup?"
    sandbox = Sandbox.objects.get(pk=sandbox_id)
    journal.record(LogKind.TROUBLE, message, code=StepCode.UNKNOWN_RUN, sandbox=sandbox, now=now, level=Level.WARNING)
    return True


def staging_lease(sandbox_id: UUID) -> str:
    """Return the name of the lease of whoever stages in this sandbox."""
    return f"{STAGING_LEASE}{sandbox_id.hex}"


@transaction.atomic
def finish_staging(sandbox_id: UUID, staged: Mapping[str, StagedGame], now: datetime) -> bool:
    """STAGING to READY, with what was staged. False when it is no longer staging."""
    Fleet.lock()  # first, because whoever hears of it may take places
    if not Sandbox.objects.move(
        sandbox_id,
        frm=[State.STAGING],
        to=State.READY,
        staged=write_staged(staged),
        ready_at=now,
        health_checked_at=now,
    ):
        return False
    _announce_ready(sandbox_id, now)
    return True


@transaction.atomic
def make_ready(sandbox_id: UUID, now: datetime) -> bool:
    """CREATING to READY, for a pool that stages nothing."""
    Fleet.lock()  # as above
    if not Sandbox.objects.move(
        sandbox_id, frm=[State.CREATING], to=State.READY, healthy_at=now, ready_at=now, health_checked_at=now
    ):
        return False
    _announce_ready(sandbox_id, now)
    return True


def _announce_ready(sandbox_id: UUID, now: datetime) -> None:
    sandbox = Sandbox.objects.get(pk=sandbox_id)
    took = (now - sandbox.requested_at).total_seconds()
    journal.record(LogKind.READY, f"ready after {took:.1f} s", sandbox=sandbox, now=now)
    metrics.ready(took)
    sandbox_ready.send(sender=Sandbox, sandbox=sandbox, now=now)


def suspect(sandbox_id: UUID, trouble: str, now: datetime) -> bool:
    """A player met a dead end in this sandbox: that counts as a failed look, and it is looked at at once. False when
    it is known already, or was looked at a moment ago."""
    just_now = now - timedelta(seconds=SUSPECT_AGAIN_SECONDS)
    well = Sandbox.objects.filter(pk=sandbox_id, state=State.IN_USE, health_failures=0)
    if not well.exclude(health_checked_at__gt=just_now).update(health_failures=1, unwell_since=now, trouble=trouble):
        return False
    with transaction.atomic():  # of its own: the fleet's row is never locked after a sandbox's
        nudge()
    return True


def extend(sandbox_id: UUID, expires_at: datetime, now: datetime) -> bool:
    """Give a sandbox in use a later end. False when it is not in use any more or has expired."""
    return (
        Sandbox.objects.filter(pk=sandbox_id, state=State.IN_USE, expires_at__gt=now).update(expires_at=expires_at) == 1
    )


@transaction.atomic
def expire(sandbox_id: UUID, reason: str, now: datetime) -> bool:
    """Its time is up. False when it was given more meanwhile, or was already going."""
    Fleet.lock()
    over = Sandbox.objects.select_for_update(no_key=True).filter(pk=sandbox_id, expires_at__lte=now)
    return bool(over) and retire(sandbox_id, EndCode.EXPIRED, reason, now, frm=[State.IN_USE])


@transaction.atomic
def retire(
    sandbox_id: UUID,
    code: EndCode,
    reason: str,
    now: datetime,
    *,
    frm: Collection[State] = LIVE,
    failure_kind: str = "",
    actor: str = "",
    level: Level = Level.INFO,
) -> bool:
    """Any live state to DELETING, with code and reason. The reconciler deletes until the cloud confirms absence."""
    Fleet.lock()  # first, because whoever hears of it asks for a turn
    fields = {"end_code": code, "end_reason": reason, "failure_kind": failure_kind, "delete_requested_at": now}
    if not Sandbox.objects.move(sandbox_id, frm=frm, to=State.DELETING, **fields):
        return False
    sandbox = Sandbox.objects.get(pk=sandbox_id)
    sandbox_ending.send(sender=Sandbox, sandbox=sandbox, code=code, reason=reason, now=now)
    journal.record(LogKind.DELETE, reason, code=code, sandbox=sandbox, now=now, actor=actor, level=level)
    metrics.ended(code)
    return True
