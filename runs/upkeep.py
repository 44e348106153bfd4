"""Upkeep, with every turn: launches that wait, deployments that were cut off, runs and sandboxes that parted."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from pools import claims, journal, webhooks
from pools.leases import LeaseLost
from pools.models import LIVE, ON_THE_WAY, Fleet, Level, Mode, OnEmpty, Pool, Sandbox
from pools.reasons import EndCode, LogKind, StepCode
from runs import lifecycle, limits
from runs.launching import deployment, progress
from runs.launching.acquire import fall_back, give_up, go_on_cold, take_place, take_ready
from runs.launching.outlook import patience_seconds
from runs.lifecycle import Attempt
from runs.models import ACTIVE, STARTING, OnMiss, Run, RunState, ServedBy
from runs.reasons import RunEndCode, RunNoticeCode

START_SECONDS = 900  # no launch takes longer
WARNED_SECONDS = 60  # before the end, at the latest
TURN_SECONDS = 90  # from one turn to the next, at the most: the schedule's minute, and some that it may be late
PLACES_A_TURN = 20
DEPLOY_ATTEMPTS = 5  # within START_SECONDS: a machine may go down more than once


def put_right(now: datetime) -> None:
    """Put right what can be put right without asking the cloud. Free when there is nothing to do. Trouble with one part
    keeps none of the others from being done; it is raised at the end."""
    troubles: list[Exception] = []
    for part in (
        serve_all_waiting,
        place_waiting,
        tell_progress,
        redeploy_cut_off,
        end_parted,
        end_overdue,
        warn_of_ends,
        keep_count,
        call_courier,
    ):
        try:
            part(now)
        except LeaseLost:
            raise
        except Exception as trouble:
            troubles.append(trouble)
    if troubles:
        raise troubles[0]


def serve_all_waiting(now: datetime) -> None:
    """Serve those who wait for a warm sandbox, of every runtime."""
    for runtime in Run.objects.waiting_for_warm().by_runtime():
        serve_waiting(runtime, now)


@transaction.atomic
def serve_waiting(runtime: str, now: datetime) -> None:
    """Ready sandboxes go to who waits longest, also when that one was to start cold. Of those in the pool's line, who
    waits for more than is on its way starts cold, and who has waited for too long, where a place is free; but not who
    was to wait for as long as the pool serves launches."""
    Fleet.lock()
    pool = Pool.objects.filter(runtime=runtime).first()
    locked = Run.objects.select_for_update(of=("self",))  # none is left out, or who came later would be first
    waiting = list(locked.waiting_for_warm(runtime).select_related("game"))
    while waiting and pool is not None and take_ready(waiting[0], pool, now):
        deployment.queue(waiting.pop(0))
    coming = Sandbox.objects.filter(pool=pool, state__in=ON_THE_WAY).count() if pool else 0
    line = [run for run in waiting if run.served_by == ServedBy.POOL]
    is_open = pool is not None and pool.mode != Mode.DRAINING
    for run in line[coming:]:
        if run.on_miss == OnMiss.WAIT and not is_open:
            give_up(run, "The pool that it waited for serves no launches any more.", now)
        elif run.on_miss == OnMiss.WAIT:
            continue
        elif pool is not None and pool.on_empty == OnEmpty.FAIL:
            give_up(run, "The sandbox it waited for did not come, and this pool starts none cold.", now)
        else:
            go_on_cold(run, now, RunNoticeCode.NONE_COMING)
    if pool is None or pool.on_empty == OnEmpty.FAIL:
        return
    expecting = [run for run in line[:coming] if run.on_miss != OnMiss.WAIT]
    patience = timedelta(seconds=patience_seconds(pool)) if expecting else timedelta()
    for run in expecting:
        if now - run.created_at <= patience or not fall_back(run, now):
            return


@transaction.atomic
def place_waiting(now: datetime) -> None:
    """Launches that wait for a place in the fleet try again, first come first."""
    waiting = Run.objects.waiting_for_place()
    if not waiting.exists():
        return
    Fleet.lock()
    unlocked = waiting.select_for_update(skip_locked=True, of=("self",)).select_related("game")
    for run in unlocked[:PLACES_A_TURN]:
        take_place(run, now)  # each has its own place made; none takes that of one before it


def tell_progress(now: datetime) -> None:
    """Tell those who wait for a sandbox how long it should still take."""
    for run in Run.objects.active().filter(state=RunState.ACQUIRING).select_related("game"):
        progress.tell_acquiring(run, now)


def redeploy_cut_off(now: datetime) -> None:
    """A deployment whose worker died or froze is done again; one that nobody began is queued again. `now`: the
    database's time, because the worker may be another machine's."""
    for run in Run.objects.being_deployed():
        if not lifecycle.is_cut_off(run, now):
            continue
        if (interruptions := lifecycle.interruptions(run)) >= DEPLOY_ATTEMPTS:
            code, reason = RunEndCode.DEPLOY_INTERRUPTED, f"The deployment was interrupted {interruptions} times."
            lifecycle.fail(run.id, code, reason, now, frm=[RunState(run.state)], attempt=Attempt.of(run))
            continue
        with transaction.atomic():
            if lifecycle.hand_back(run, now):
                deployment.queue(run)


@transaction.atomic
def start_again(sandbox: Sandbox, trouble: str, now: datetime) -> None:
    """The game that is played in this sandbox has stopped: it is started again, once; the second time its run ends."""
    for played in Run.objects.played().filter(sandbox=sandbox):
        if run := lifecycle.lose_game(played.pk, sandbox.pk, trouble, now):
            deployment.queue(run)


def end_parted(now: datetime) -> None:
    """A run without its sandbox, a sandbox without its run."""
    # By what is excluded: SQLite would begin with all that are deleted, or over, of which there are millions.
    for run in Run.objects.active().exclude(sandbox=None).exclude(sandbox__state__in=LIVE):
        lifecycle.fail(run.id, RunEndCode.SANDBOX_LOST, "The sandbox is gone.", now)
    left = Sandbox.objects.live().order_by().exclude(run=None).exclude(run__state__in=ACTIVE)
    for sandbox in left.select_related("run"):
        reason = f"run {sandbox.run.short_id} is over: {sandbox.run.end_reason}"
        claims.retire(sandbox.id, EndCode.RUN_OVER, reason, now)


def end_overdue(now: datetime) -> None:
    """Lifetimes that are over end, also while the cloud can't be seen; launches do not go on for ever."""
    for run in Run.objects.active().filter(state=RunState.RUNNING, expires_at__lte=now):
        with transaction.atomic():
            Fleet.lock()
            if lifecycle.locked(run.id).has_expired(now):  # else a player got more time just now
                lifecycle.end(run.id, RunEndCode.TIME_UP, "Its time was up.", now)
    reason = f"It did not start within {START_SECONDS // 60} minutes."
    for run in Run.objects.active().filter(state__in=STARTING, created_at__lte=now - timedelta(seconds=START_SECONDS)):
        lifecycle.fail(run.id, RunEndCode.START_TIMEOUT, reason, now, frm=STARTING)


def warn_of_ends(now: datetime) -> None:
    """Say of each end that it is near, once: by the last turn that is sure to come WARNED_SECONDS before it."""
    upto = now + timedelta(seconds=WARNED_SECONDS + TURN_SECONDS)
    for run in Run.objects.to_be_warned(upto).select_related("game", "sandbox"):
        lifecycle.warn_of_end(run, now)


def keep_count(now: datetime) -> None:
    """The tally of the limits is what the runs' rows say. Where it is not, that is an alarm: something has written
    around it."""
    if not (wrong := limits.drift()):
        return
    with transaction.atomic():
        journal.record(LogKind.TROUBLE, wrong, code=StepCode.MISCOUNTED, now=now, level=Level.WARNING)
        limits.recount()


def call_courier(now: datetime) -> None:
    """Have webhooks told of what launches wrote, and what could not be delivered tried again."""
    webhooks.call()
