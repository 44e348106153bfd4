"""The clusters: whether their workers live, and whether turns are taken."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

import psutil

from orchestrator_site.doctor.checks import Finding, Seen, well
from orchestrator_site.doctor.codes import Code
from orchestrator_site.healthcheck import WORKER_COMMAND
from orchestrator_site.models import FRESH_SECONDS, Beat
from pools import clock
from pools.fleet_log import turn_death
from pools.models import Fleet
from pools.this_machine import this_host

TURN_OLD_SECONDS = 180  # one is due every minute, and may take its time


def workers(_seen: Seen) -> Finding:
    beats = list(Beat.objects.order_by("-at"))
    alive = {beat.pid for beat in beats if beat.host == this_host() and _is_a_cluster(beat.pid)}
    return life(beats, alive, clock.now())


def life(beats: Collection[Beat], alive: Collection[int], now: datetime) -> Finding:
    """`beats`: the last sign of life of each cluster, newest first. `alive`: the processes of those on this machine
    that are there."""
    fresh = [beat for beat in beats if abs((now - beat.at).total_seconds()) < FRESH_SECONDS and not beat.stuck]
    for beat in beats:
        if beat not in fresh and beat.host == this_host() and beat.pid in alive:
            found = f"the process {beat.pid} is there and has given no sign of life {_ago(beat.at, now)}"
            return Finding(Code.WORKER_FROZEN, found)
    if fresh:
        number = sum(beat.workers for beat in fresh)
        return well(f"workers: {number}, clusters: {len(fresh)}, the last sign of life {_ago(fresh[0].at, now)}")
    if not beats:
        return Finding(Code.NO_WORKER, "no cluster gives signs of life, and none is known")
    last = next(iter(beats))
    why = f": {last.stuck}" if last.stuck else ""
    return Finding(Code.NO_WORKER, f"the last sign of life was {_ago(last.at, now)}, on {last.host}{why}")


def turns(_seen: Seen) -> Finding:
    fleet, now = Fleet.get(), clock.now()
    if (death := turn_death(fleet)) is not None:
        return Finding(Code.TURNS_STOPPED, f"the last one died: {death.data.get('why', death.message)}")
    return last_turn(fleet.turned_at, now)


def last_turn(at: datetime | None, now: datetime) -> Finding:
    if at is None:
        return Finding(Code.TURNS_STOPPED, "none has ended yet")
    if now - at > timedelta(seconds=TURN_OLD_SECONDS):
        return Finding(Code.TURNS_STOPPED, f"the last one ended {_ago(at, now)}")
    return well(f"the last one ended {_ago(at, now)}")


def _ago(at: datetime, now: datetime) -> str:
    seconds = (now - at).total_seconds()
    return f"{seconds:,.0f} s ago" if seconds >= 0 else f"in {-seconds:,.0f} s"


def _is_a_cluster(pid: int) -> bool:
    """Process ids are used again: another one's is not a cluster."""
    try:
        return WORKER_COMMAND in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False
