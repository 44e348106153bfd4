"""A Django-Q cluster on one machine, as simulated processes: who fetches, who works, who guards.

The product's broker fetches and acknowledges, its guard's part renews what is in hand; Django-Q's scheduler and the way
in which a task is run and recorded are as in the library, without its queues of multiprocessing.
"""

from __future__ import annotations

import traceback
from collections import deque
from contextlib import suppress
from typing import Any

from django.db import DatabaseError
from django_q import scheduler as schedules_of_q
from django_q.conf import Conf
from django_q.signing import SignedPackage

from games import tasks as games_tasks
from orchestrator_site import tasks as site_tasks
from orchestrator_site.cluster import in_hand, reserve, schedules
from orchestrator_site.cluster.broker import WakingBroker
from orchestrator_site.cluster.reserve import Reserve
from pools import clock
from pools import tasks as pools_tasks
from pools.models import Fleet
from runs import tasks as runs_tasks
from tests.sim.database import store
from tests.sim.kernel import Event, Kernel, Machine, Process
from tests.sim.machinery import Host

TASKS: dict[str, Any] = {
    f"{package}.tasks.{name}": function
    for package, module in (
        ("pools", pools_tasks),
        ("games", games_tasks),
        ("runs", runs_tasks),
        ("orchestrator_site", site_tasks),
    )
    for name, function in vars(module).items()
    if callable(function) and not name.startswith("_")
}
SCHEDULE_SECONDS = 30.0
MEND_SECONDS = 60.0
MADE_ANEW_SECONDS = 2.0  # a worker that died


class Cluster:
    """`workers` and the process that fetches for them. What a task raises is in `errors`."""

    def __init__(self, kernel: Kernel, host: Host, machine: Machine, workers: int) -> None:
        self.kernel, self.host, self.machine = kernel, host, machine
        self.workers = workers
        self.errors: list[str] = []
        self.generation = 0
        self.leader: Process | None = None
        self.hands: list[Process] = []
        self.begin()

    @property
    def processes(self) -> list[Process]:
        return [process for process in (self.leader, *self.hands) if process is not None]

    def begin(self) -> None:
        """Start it, also after it was killed; nothing when it runs."""
        if self.leader is not None and self.leader.is_alive:
            return
        self.generation += 1
        kernel, name = self.kernel, f"{self.machine.name}.{self.generation}"
        self.host.clusters.pop(self.machine.name, None)
        self.waiting: deque[dict[str, Any]] = deque()
        self.has_work = Event(kernel)
        self.busy = 0
        self.broker = WakingBroker()
        self.broker._reserve = Reserve(self.workers)
        self.leader = kernel.process(f"{name}.leader", self.machine)
        kernel.spawn(self.leader, self._fetch, "fetch")
        kernel.spawn(self.leader, self._guard, "guard")
        kernel.spawn(self.leader, self._schedule, "schedule", in_seconds=kernel.rng.uniform(0, SCHEDULE_SECONDS))
        self.hands = [self._hand(number) for number in range(self.workers)]

    def kill(self) -> None:
        """The machine is gone, with all of its processes."""
        for process in self.processes:
            self.kernel.kill(process)

    def _hand(self, number: int) -> Process:
        process = self.kernel.process(f"{self.machine.name}.{self.generation}.{number}", self.machine)
        self.host.forget(process)
        self.kernel.spawn(process, lambda: self._work(process), "work")
        return process

    def _fetch(self) -> None:
        Fleet.note_pause(clock.now(), is_alone=False)
        while True:
            if len(in_hand.not_begun()) >= self.workers:
                self.kernel.sleep(0.5)
                continue
            for row_id, package in self.broker.dequeue() or ():
                task = SignedPackage.loads(package)
                task["cluster"], task["ack_id"] = Conf.CLUSTER_NAME, row_id
                self.waiting.append(task)
                self.has_work.set()
            self.kernel.point("task fetched")

    def _guard(self) -> None:
        kernel, mended_at = self.kernel, 0.0
        while True:
            kernel.sleep(in_hand.RENEW_SECONDS)
            living = {process.pid for process in self.hands if process.is_alive}
            in_hand.forget_dead(living)
            with suppress(DatabaseError):
                if in_hand.ids():
                    in_hand.renew(clock.now())
            reserve.note_busy(self.busy + len(self.waiting))
            if kernel.time - mended_at >= MEND_SECONDS:
                mended_at = kernel.time
                with suppress(DatabaseError):
                    schedules.mend(clock.now())
            for number, process in enumerate(self.hands):
                if not process.is_alive:
                    self.hands[number] = self._hand(number)

    def _schedule(self) -> None:
        while True:
            if _is_scheduled(self.kernel):
                schedules_of_q.scheduler(broker=self.broker)
            self.kernel.sleep(SCHEDULE_SECONDS)

    def _work(self, process: Process) -> None:
        while True:
            while not self.waiting:
                self.has_work.clear()
                self.has_work.wait()
            task = self.waiting.popleft()
            self.busy += 1
            try:
                self._run(task, process)
            finally:
                self.busy -= 1

    def _run(self, task: dict[str, Any], process: Process) -> None:
        slot = next((slot for slot in in_hand._slots if slot.id == task["ack_id"]), None)
        try:
            in_hand.begin(task)
        except SystemExit:
            self.kernel.kill(process)
        if slot is not None:
            slot.worker = process.pid
        self.kernel.point(f"task {task['func']}")
        try:
            TASKS[task["func"]](*task["args"], **task["kwargs"])
        except Exception as error:
            self.kernel.log(f"task {task['func']} failed: {type(error).__name__}: {error}")
            self.errors.append(traceback.format_exc())
        in_hand.finish(task)
        self.broker.acknowledge(task["ack_id"])


def _is_scheduled(kernel: Kernel) -> bool:
    """Whether a schedule is due: a look at the rows that costs nothing."""
    at = clock.now().strftime("%Y-%m-%d %H:%M:%S")
    sql = "SELECT 1 FROM django_q_schedule WHERE next_run < ? AND repeats <> 0 LIMIT 1"
    return store.connection().execute(sql, (at,)).fetchone() is not None
