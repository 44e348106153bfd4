"""Simulated time, and who goes on: one thread at a time, chosen by the seed.

A simulated thread is a greenlet. It goes on until it waits, or until a point (`World.point`) at which the seed has it
held up. When all wait, time jumps to the first who wakes: so simulated time costs nothing. Threads belong to
processes, which are killed or frozen as a whole, and processes to machines, each with a clock of its own.
"""

from __future__ import annotations

import heapq
import random
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import greenlet

from tests.sim.plan import Plan
from tests.sim.world import Killed

BEGIN = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
EPOCH_SECONDS = BEGIN.timestamp()
STARTED_AT_SECONDS = 10_000.0  # of every machine's steady clock
STEP_SECONDS = 0.0005  # what a commit or a request takes at least
HELD_UP_SHARE = 0.04  # of all points
HELD_UP_INSIDE_SHARE = 0.1  # of the reads of a transaction that has written nothing
GIVES_WAY_SHARE = 0.25  # of the points at which another one could go on


class Machine:
    """A host. `ahead_seconds`: by how much its own clock is ahead of the true time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ahead_seconds = 0.0


class Process:
    """What is killed, or stands still, as a whole."""

    def __init__(self, name: str, machine: Machine, pid: int) -> None:
        self.name, self.machine, self.pid = name, machine, pid
        self.threads: dict[Thread, None] = {}
        self.is_alive = True
        self.frozen_until = 0.0
        self.doomed_in = 0  # points; 0: not doomed

    def __repr__(self) -> str:
        return self.name


class Thread:
    __slots__ = ("connections", "greenlet", "is_done", "is_killed", "joiners", "name", "process", "token")

    def __init__(self, process: Process, name: str) -> None:
        self.process, self.name = process, name
        self.token = 0
        self.is_done = self.is_killed = False
        self.joiners: list[Thread] = []
        self.connections: dict[str, Any] = {}
        self.greenlet: Any = None

    @property
    def is_alive(self) -> bool:
        return self.process.is_alive and not self.is_killed


class Event:
    """In the place of threading.Event."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._is_set = False
        self._waiting: list[Thread] = []

    def set(self) -> None:
        self._is_set = True
        for thread in self._waiting:
            self._kernel.wake(thread)
        self._waiting.clear()

    def clear(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, seconds: float | None = None) -> bool:
        if not self._is_set:
            self._waiting.append(self._kernel.here())
            self._kernel.sleep(1e9 if seconds is None else seconds)
            if self._kernel.current in self._waiting:
                self._waiting.remove(self._kernel.current)
        return self._is_set


class Lock:
    """In the place of threading.Lock: held also across the holder's waits."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._holder: Thread | None = None
        self._waiting: list[Thread] = []

    def acquire(self) -> bool:
        while self._holder is not None and self._holder.process.is_alive and not self._holder.is_done:
            here = self._kernel.here()
            self._waiting.append(here)
            self._kernel.sleep(1e9)
        self._holder = self._kernel.current
        return True

    def release(self) -> None:
        self._holder = None
        for thread in self._waiting:
            self._kernel.wake(thread)
        self._waiting.clear()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Kernel:
    """The world (`tests.sim.world.World`)."""

    def __init__(self, seed: int, plan: Plan, log: Callable[[str], None]) -> None:
        self.seed = seed
        self.rng = random.Random(f"{seed} world")
        self._chance = random.Random(f"{seed} scheduler")
        self.plan = plan
        self._write = log
        self.time = 0.0
        self.current: Thread | None = None
        self.database_ahead_seconds = 0.0
        self.points = 0
        self.after_point: Callable[[], None] | None = None
        self._ready: list[Thread] = []
        self._sleepers: list[tuple[float, int, Any, int]] = []  # threads, and what is to be called
        self._sequence = 0
        self._hub = greenlet.getcurrent()
        self._to_bury: list[Process] = []
        self._threads_to_end: list[Thread] = []
        self._is_stopped = False
        self.broken = self.broken_at = ""  # what a thread of the simulation died of
        self._process: Process | None = None
        self.on_enter_process: Callable[[Process], None] | None = None
        self._pids = 1000
        self.processes: dict[str, Process] = {}
        self.is_stormy = False

    # Time.

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.time)

    def sleep(self, seconds: float) -> None:
        """The current thread waits."""
        thread = self.here()
        if not thread.is_alive:
            raise Killed
        thread.token += 1
        self._sequence += 1
        heapq.heappush(self._sleepers, (self.time + max(0.0, seconds), self._sequence, thread, thread.token))
        self._hub.switch()
        if not thread.is_alive:
            raise Killed

    def wake(self, thread: Thread) -> None:
        """A thread that waits goes on soon."""
        thread.token += 1
        if not thread.is_done and thread not in self._ready and thread is not self.current:
            self._ready.append(thread)

    def here(self) -> Thread:
        if self.current is None:
            raise RuntimeError("No simulated thread is at work here.")
        return self.current

    # What parts of the simulation ask for.

    def point(self, what: str) -> None:
        thread = self.current
        if thread is None:
            return
        process = thread.process
        if not thread.is_alive:
            raise Killed
        self.points += 1
        self.time += STEP_SECONDS
        if process.doomed_in:
            process.doomed_in -= 1
            if not process.doomed_in:
                self.log(f"{process} is killed at {what}")
                self.kill(process)
        if process.frozen_until > self.time:
            self.sleep(process.frozen_until - self.time)
        chance = self._chance.random()
        if chance < HELD_UP_SHARE:
            self.sleep(self._delay_seconds())
        elif chance > 1 - GIVES_WAY_SHARE and (self._ready or self._is_somebody_due()):
            self.sleep(0)

    def _delay_seconds(self) -> float:
        """Mostly moments; in a storm a machine may be slow."""
        most = self._chance.choice((0.002, 0.02, 0.02, 0.1, 3.0 if self.is_stormy else 0.2))
        return self._chance.random() * most

    def hold_up(self) -> float:
        """For how long a transaction is held up at a read; mostly not at all."""
        if self.current is None or self._chance.random() >= HELD_UP_INSIDE_SHARE:
            return 0.0
        return self._chance.random() * self._chance.choice((0.02, 0.5, 3.0, 10.0))

    def _is_somebody_due(self) -> bool:
        return bool(self._sleepers) and self._sleepers[0][0] <= self.time

    def strikes(self, fault: str) -> bool:
        if not self.plan.strikes(fault, self.time):
            return False
        self.log(f"fault {fault}")
        return True

    def log(self, line: str) -> None:
        who = f"{self.current.process}/{self.current.name}" if self.current else "-"
        self._write(f"{self.time:.4f} {who}: {line}")

    # Processes and threads.

    def process(self, name: str, machine: Machine) -> Process:
        self._pids += 1
        found = self.processes[name] = Process(name, machine, self._pids)
        return found

    def spawn(self, process: Process, target: Callable[[], object], name: str, in_seconds: float = 0.0) -> Thread:
        """Begin a thread of that process."""
        thread = Thread(process, name)

        def run() -> None:
            try:
                if process.is_alive:
                    target()
            except Killed:
                pass
            except Exception as error:
                self.broken = self.broken or f"{process}/{name} broke: {type(error).__name__}: {error}"
                self.broken_at = traceback.format_exc()
                self.log(f"VIOLATED {self.broken}")
                self.stop()
            finally:
                thread.is_done = True
                process.threads.pop(thread, None)
                for joiner in thread.joiners:
                    self.wake(joiner)
                if self.on_thread_end is not None:
                    self.on_thread_end(thread)

        thread.greenlet = greenlet.greenlet(run, parent=self._hub)
        process.threads[thread] = None
        self._sequence += 1
        heapq.heappush(self._sleepers, (self.time + in_seconds, self._sequence, thread, 0))
        return thread

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Have that called then, by nobody."""
        self._sequence += 1
        heapq.heappush(self._sleepers, (self.time + seconds, self._sequence, call, 0))

    on_thread_end: Callable[[Thread], None] | None = None

    def join(self, thread: Thread, seconds: float = 1e9) -> None:
        until = self.time + seconds
        while not thread.is_done and self.time < until:
            thread.joiners.append(self.here())
            self.sleep(until - self.time)

    def kill(self, process: Process) -> None:
        """End it here and now: nothing of it does anything any more."""
        if not process.is_alive:
            return
        process.is_alive = False
        self._to_bury.append(process)
        if self.current is not None and self.current.process is process:
            raise Killed

    def freeze(self, process: Process, seconds: float) -> None:
        """It stands still for so long, and then goes on as if nothing had been."""
        process.frozen_until = self.time + seconds

    def end_thread(self, thread: Thread) -> None:
        """End one thread of a process that goes on, as a request whose process was killed and is there again."""
        self._threads_to_end.append(thread)

    def stop(self) -> None:
        """`run_until` returns at the next switch."""
        self._is_stopped = True

    def run_until(self, seconds: float) -> None:
        """Let everything happen until that time, or until `stop`."""
        while not self._is_stopped:
            while self._threads_to_end:
                thread = self._threads_to_end.pop(0)
                if not thread.is_done and thread.greenlet:
                    thread.is_killed = True
                    self._go_on(thread, by_killing=True)
            while self._to_bury:
                self._bury(self._to_bury.pop(0))
            if self._ready:
                at = self._chance.randrange(len(self._ready)) if len(self._ready) > 1 else 0
                thread = self._ready.pop(at)
            elif self._sleepers and self._sleepers[0][0] <= seconds:
                wakes_at, _, thread, token = heapq.heappop(self._sleepers)
                if not isinstance(thread, Thread):
                    self.time = max(self.time, wakes_at)
                    thread()
                    continue
                if thread.token != token:
                    continue
                self.time = max(self.time, wakes_at)
            else:
                self.time = max(self.time, seconds)
                return
            if thread.is_done:
                continue
            process = thread.process
            if process.frozen_until > self.time and process.is_alive:
                thread.token += 1
                self._sequence += 1
                heapq.heappush(self._sleepers, (process.frozen_until, self._sequence, thread, thread.token))
                continue
            self._go_on(thread)

    def _go_on(self, thread: Thread, *, by_killing: bool = False) -> None:
        self.current = thread
        if thread.process is not self._process:
            self._process = thread.process
            if self.on_enter_process is not None:
                self.on_enter_process(thread.process)
        try:
            if by_killing:
                thread.greenlet.throw(Killed)
            else:
                thread.greenlet.switch()
        finally:
            self.current = None

    def end(self) -> None:
        """End everything that there is."""
        for process in list(self.processes.values()):
            process.is_alive = False
            self._bury(process)

    def _bury(self, process: Process) -> None:
        for thread in list(process.threads):
            if not thread.greenlet:  # it has not begun, or is over
                thread.is_done = True
                process.threads.pop(thread, None)
            elif not thread.is_done:
                self._go_on(thread, by_killing=True)


class SimulatedThread:
    """In the place of threading.Thread: a thread of the process that starts it."""

    def __init__(self, kernel: Kernel, target: Callable[..., object], args: tuple[Any, ...] = (), name: str = "thread"):
        self._kernel, self._target, self._args, self.name = kernel, target, args, name
        self._thread: Thread | None = None

    def start(self) -> None:
        self._thread = self._kernel.spawn(self._kernel.here().process, lambda: self._target(*self._args), self.name)

    def join(self, timeout: float | None = None) -> None:
        if self._thread is not None:
            self._kernel.join(self._thread, 1e9 if timeout is None else timeout)


class ProductClock:
    """The clock that the product asks (`pools.clock.Clock`): `now` is the database's, `wall` that of the machine."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self._kernel.time + self._kernel.database_ahead_seconds)

    def wall(self) -> float:
        current = self._kernel.current
        return EPOCH_SECONDS + self._kernel.time + (current.process.machine.ahead_seconds if current else 0.0)

    def monotonic(self) -> float:
        return self._kernel.time + STARTED_AT_SECONDS

    def steady(self) -> float:
        return self._kernel.time + STARTED_AT_SECONDS

    def sleep(self, seconds: float) -> None:
        self._kernel.sleep(seconds)

    def wait(self, event: Any, seconds: float) -> bool:
        return bool(event.wait(seconds))
