"""Notices from inside a Django-Q cluster that it is stuck, and ends it, so that whoever runs it starts a new one.

`kill -9` of an idle worker can take the lock of the task queue along: the other workers then wait for it for good
while the cluster looks well. The same goes for its monitor and the queue of results. The guard sees all the parts:
when work waits, somebody is free to do it, and none of it has moved for a while, the cluster is stuck. Results that are
not recorded are stuck however many tasks flow: they would all be done again. A worker that is busy for minutes is not:
its task's timeout is Django-Q's business.
"""

from __future__ import annotations

import logging
import mmap
import multiprocessing
import os
import signal
from ctypes import c_uint64
from dataclasses import dataclass
from typing import Any, NoReturn

from django_q.conf import Conf

from orchestrator_site.cluster import in_hand, schedules
from orchestrator_site.models import BEAT_SECONDS, Beat
from orchestrator_site.postgresql.clock import database_clock
from pools import clock, stopping
from pools.this_machine import this_host

logger = logging.getLogger(__name__)

STUCK_SECONDS = 10.0

# Shared with the processes that are forked from this one. Written without a lock: that they change is all that counts.
_shared = mmap.mmap(-1, mmap.PAGESIZE)
_taken = c_uint64.from_buffer(_shared, 0)
_recorded = c_uint64.from_buffer(_shared, 8)


def note_taken(**_: Any) -> None:
    """A worker of this cluster has taken a task."""
    _taken.value += 1


def note_recorded(**_: Any) -> None:
    """The result of a task was recorded: its row is gone, or kept for its next time."""
    _recorded.value += 1


@dataclass(frozen=True, slots=True)
class Sample:
    """A cluster at one moment."""

    workers: int
    idle_workers: int
    waiting: int  # tasks fetched from the database that no worker has taken
    due: int  # tasks in the database that nobody has fetched
    results: int  # results that are not recorded
    taken: int  # tasks ever taken by workers
    recorded: int  # results ever recorded


@dataclass(frozen=True, slots=True)
class Standstill:
    """What waits, and the count that would grow if somebody saw to it: other work goes on beside a dead process."""

    what: str
    count: int


class Watchdog:
    """Tells from samples over time whether a part of a cluster is stuck. Reads no clock."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[int, float]] = {}

    def verdict(self, sample: Sample, now_seconds: float) -> str:
        """Return why the cluster is stuck; empty when it is not."""
        waiting = self._what_waits(sample)
        self._since = {
            kind: known if (known := self._since.get(kind)) and known[0] == it.count else (it.count, now_seconds)
            for kind, it in waiting.items()
        }
        for kind, it in waiting.items():
            waited = now_seconds - self._since[kind][1]
            if waited >= STUCK_SECONDS:
                return f"{it.what}, and nothing has moved for {waited:.0f} s"
        return ""

    @staticmethod
    def _what_waits(sample: Sample) -> dict[str, Standstill]:
        found = {}
        if sample.results:
            found["results"] = Standstill(f"{sample.results} results wait to be recorded", sample.recorded)
        if sample.idle_workers and sample.waiting:
            what = f"{sample.waiting} fetched tasks wait although {sample.idle_workers} workers are idle"
            found["tasks"] = Standstill(what, sample.taken)
        elif sample.idle_workers and sample.due:
            what = f"{sample.due} tasks are due and not fetched although {sample.idle_workers} workers are idle"
            found["tasks"] = Standstill(what, sample.taken)
        return found


class Guard:
    """Runs inside the cluster's guard process, which calls `look` twice a second with its own statistics."""

    def __init__(self) -> None:
        self.watchdog = Watchdog()
        self.due = 0
        self.beat_at_seconds = 0.0

    def look(self, stat: Any, count_due: Any) -> None:
        now_seconds = clock.monotonic()
        if stat.status not in (Conf.IDLE, Conf.WORKING):
            if stat.status == Conf.STOPPING:
                stopping.announce()  # the workers end soon, each with what it has begun; the rest is for other clusters
                in_hand.give_back()
            if stat.status == Conf.STOPPED:
                Beat.objects.filter(host=this_host(), pid=os.getppid()).delete()
            return
        is_time_to_beat = now_seconds - self.beat_at_seconds >= BEAT_SECONDS
        if is_time_to_beat:
            # First, so that a database that is away is asked once in a while, and what was due before counts no more.
            self.beat_at_seconds, self.due = now_seconds, 0
            schedules.mend(clock.now())
            self.due = count_due()
        sample = self._sample(stat)
        stuck = self.watchdog.verdict(sample, now_seconds)
        if is_time_to_beat or stuck:
            Beat.record(
                this_host(),
                os.getppid(),
                at=clock.now(),
                workers=sample.workers,
                idle_workers=sample.idle_workers,
                waiting=sample.waiting,
                due=sample.due,
                stuck=stuck,
                clock_ahead_seconds=database_clock.machine_ahead_seconds(),
            )
        if stuck:
            self._end_the_cluster(stuck)

    def _sample(self, stat: Any) -> Sample:
        timers = [child.timer for child in multiprocessing.active_children() if hasattr(child, "timer")]
        return Sample(
            workers=len(timers),
            # Without its lock, which a killed worker may have taken along. Positive: seconds left for its task.
            idle_workers=sum(timer.get_obj().value == -1 for timer in timers),
            waiting=max(0, stat.task_q_size),
            due=self.due,
            results=max(0, stat.done_q_size),
            taken=_taken.value,
            recorded=_recorded.value,
        )

    @staticmethod
    def _end_the_cluster(why: str) -> NoReturn:
        """End every process of it at once: a polite stop waits for those who are stuck. The leader follows."""
        logger.critical("This cluster is stuck and ends itself: %s.", why)
        for child in multiprocessing.active_children():
            if child.pid:
                os.kill(child.pid, signal.SIGKILL)
        os._exit(1)
