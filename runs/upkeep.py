"""What every turn puts right: launches that wait, deployments that were cut off, runs and sandboxes that parted."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django_q.tasks import async_task

from pools import claims
from pools.leases import is_dead
from pools.models import LIVE, ON_THE_WAY, Fleet, Level, OnEmpty, Pool, Sandbox, State
from pools.reasons import EndCode
from runs import events, lifecycle
from runs.launching import progress
from runs.launching.launch import start_cold, take_ready
from runs.models import OVER, STARTING, EventKind, Run, RunState, ServedBy

START_SECONDS = 900  # no launch takes longer
DEPLOY_ATTEMPTS = 2
QUEUED_SECONDS = 10  # a task that nobody has begun by then may be lost


def put_right(now: datetime) -> None:
    """Put right what can be put right without asking the cloud. Free when there is nothing to do."""
    for runtime in set(_waiting_runtimes()):
        serve_waiting(runtime, now)
    place_waiting(now)
    tell_progress(now)
    redeploy_cut_off(now)
    end_parted(now)
    end_overdue(now)


def _waiting_runtimes() -> list[str]:
    waiting = Run.objects.active().filter(state=RunState.ACQUIRING, sandbox=None, served_by=ServedBy.POOL)
    return list(waiting.values_list("game__runtime", flat=True))


@transaction.atomic
def serve_waiting(runtime: str, now: datetime) -> None:
    """Ready sandboxes go to who waits longest; whoever waits for more than is on its way starts cold."""
    Fleet.lock()
    pool = Pool.objects.filter(runtime=runtime).first()
    # A run that is locked is just being ended.
    unlocked = Run.objects.select_for_update(skip_locked=True, of=("self",))
    waiting = list(unlocked.waiting_for(runtime).select_related("game"))
    while waiting and pool is not None and take_ready(waiting[0], pool, now):
        run = waiting.pop(0)
        async_task("runs.tasks.deploy", str(run.id), task_name="deploy", group="deploy")
    coming = Sandbox.objects.filter(pool=pool, state__in=ON_THE_WAY).count() if pool else 0
    for run in waiting[coming:]:
        if pool is not None and pool.on_empty == OnEmpty.FAIL:
            lifecycle.fail(run.id, "The sandbox it waited for did not come, and this pool starts none cold.", now)
            continue
        start_cold(run, ServedBy.COLD_FALLBACK, now, "No warm sandbox is on its way any more")


@transaction.atomic
def place_waiting(now: datetime) -> None:
    """Launches that wait for a place in the fleet try again, first come first."""
    waiting = Run.objects.active().filter(
        state=RunState.ACQUIRING, sandbox=None, served_by__in=[ServedBy.COLD, ServedBy.COLD_FALLBACK]
    )
    if not waiting.exists():
        return
    Fleet.lock()
    unlocked = waiting.select_for_update(skip_locked=True, of=("self",)).select_related("game")
    for run in unlocked.order_by("created_at", "id"):
        start_cold(run, ServedBy(run.served_by), now)
        if run.sandbox is None:
            return


def tell_progress(now: datetime) -> None:
    """Who waits for a sandbox hears how long it should still take."""
    for run in Run.objects.active().filter(state=RunState.ACQUIRING).select_related("game"):
        progress.tell_acquiring(run, now)


def redeploy_cut_off(now: datetime) -> None:
    """A deployment whose worker died is done again, once; one that nobody began is queued again."""
    for run in Run.objects.active().filter(state=RunState.DEPLOYING):
        until = run.deploy_lease_until or (run.acquired_at or run.created_at) + timedelta(seconds=QUEUED_SECONDS)
        was_begun = bool(run.deploy_lease_until and run.deploy_process)
        if until > now and not (was_begun and is_dead(run.deploy_process)):
            continue
        if run.deploy_attempts >= DEPLOY_ATTEMPTS:
            lifecycle.fail(run.id, "The deployment was interrupted twice.", now)
            continue
        with transaction.atomic():
            same = Run.objects.filter(pk=run.pk, state=RunState.DEPLOYING, deploy_lease_until=run.deploy_lease_until)
            if same.update(
                deploy_lease_until=now + timedelta(seconds=QUEUED_SECONDS),
                deploy_process="",
                acquired_at=run.acquired_at or now,
            ):
                if was_begun:
                    message = "The deployment was interrupted; once more."
                    events.emit(run.id, EventKind.LOG, message, level=Level.WARNING, now=now)
                async_task("runs.tasks.deploy", str(run.id), task_name="deploy", group="deploy")


def end_parted(now: datetime) -> None:
    """A run without its sandbox, a sandbox without its run."""
    for run in Run.objects.active().filter(sandbox__state__in=[State.DELETING, State.DELETED]):
        lifecycle.fail(run.id, "The sandbox is gone.", now)
    left = Sandbox.objects.existing().filter(state__in=LIVE, run__state__in=OVER)
    for sandbox in left.select_related("run").order_by():
        reason = f"run {sandbox.run.short_id} is over: {sandbox.run.end_reason}"
        claims.retire(sandbox.id, EndCode.RUN_OVER, reason, now)


def end_overdue(now: datetime) -> None:
    """Lifetimes that are over end, also while the cloud can't be seen; launches do not go on for ever."""
    for run in Run.objects.active().filter(state=RunState.RUNNING, expires_at__lte=now):
        with transaction.atomic():
            Fleet.lock()
            if lifecycle.locked(run.id).has_expired(now):  # else a player got more time just now
                lifecycle.end(run.id, "Its time was up.", now)
    for run in Run.objects.active().filter(state__in=STARTING, created_at__lte=now - timedelta(seconds=START_SECONDS)):
        lifecycle.fail(run.id, f"It did not start within {START_SECONDS // 60} minutes.", now)
