"""What the runs do when the fleet says something. Rows are written and tasks queued; the network is never asked."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models.signals import post_save
from django.dispatch import receiver
from django_q.tasks import async_task

from pools import claims
from pools.demand import Demand
from pools.models import FleetEvent, Sandbox
from pools.signals import cold_sandbox_healthy, demand_asked, sandbox_ending, sandbox_ready, turn_begins
from runs import events, lifecycle, upkeep
from runs.live.wakeups import wake_readers
from runs.models import EventKind, Run, RunState, ServedBy


@receiver(cold_sandbox_healthy)
def take_cold(sandbox: Sandbox, now: datetime, **_: Any) -> None:
    """A run's own sandbox is healthy: it is taken, and the game goes in."""
    run = Run.objects.filter(sandbox=sandbox, state=RunState.ACQUIRING).first()
    if run is None:
        return
    expires_at = lifecycle.lifetime(now)
    if not claims.take(sandbox.id, by=f"run {run.short_id}", expires_at=expires_at, now=now):
        return
    Run.objects.move(run.id, frm=[RunState.ACQUIRING], to=RunState.DEPLOYING, acquired_at=now, expires_at=expires_at)
    took = (now - run.created_at).total_seconds()
    events.emit(run.id, EventKind.STATUS, f"Sandbox {sandbox.name} is up after {took:.1f} s.", now=now)
    async_task("runs.tasks.deploy", str(run.id), task_name="deploy", group="deploy")


@receiver(sandbox_ready)
def serve_the_waiting(sandbox: Sandbox, now: datetime, **_: Any) -> None:
    upkeep.serve_waiting(sandbox.runtime, now)


@receiver(sandbox_ending)
def end_the_run(sandbox: Sandbox, reason: str, now: datetime, **_: Any) -> None:
    """A run does not outlive its sandbox."""
    for run in Run.objects.active().filter(sandbox=sandbox):
        if run.state == RunState.RUNNING and sandbox.has_expired(now):
            lifecycle.end(run.id, "Its time was up.", now)
        else:
            what = "The sandbox is gone" if run.state == RunState.RUNNING else "No sandbox could be had"
            lifecycle.fail(run.id, f"{what}: {reason.rstrip('.')}.", now)


@receiver(turn_begins)
def put_right(now: datetime, **_: Any) -> None:
    upkeep.put_right(now)


@receiver(post_save, sender=FleetEvent)
def wake_fleet_readers(**_: Any) -> None:
    wake_readers()


@receiver(demand_asked)
def demand(now: datetime, **_: Any) -> Demand:
    """How many launches wait for a pool's sandbox, and how many for a place of their own."""
    acquiring = Run.objects.active().filter(state=RunState.ACQUIRING, sandbox=None).select_related("game")
    waiting: dict[str, int] = {}
    places = 0
    for run in acquiring:
        if run.served_by == ServedBy.POOL:
            waiting[run.game.runtime] = waiting.get(run.game.runtime, 0) + 1
        else:
            places += 1
    return Demand(waiting, places)
