"""What of Python, Django and the product is put in another's place while the simulation runs, and only then.

The time and waiting for it, chance, threads, the names of machines and processes, wake-ups, and the memory that each
process has for itself.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest import mock

from django.db import connections
from django.utils import timezone

from orchestrator_site.cluster import in_hand, reserve
from pools import clock, journal, leases, mailboxes, sizes, stopping, tenure, this_machine
from pools.cloud import connection as cloud_connection
from pools.turn import asking, look
from runs import lifecycle
from runs.launching import turnstile
from tests.sim.database import locks, store
from tests.sim.kernel import Event, Kernel, Lock, Process, ProductClock, SimulatedThread, Thread
from tests.sim.world import Killed


class Connections:
    """Each simulated thread's own connections, in the place of Django's thread-local ones."""

    def __init__(self, kernel: Kernel) -> None:
        object.__setattr__(self, "_kernel", kernel)
        object.__setattr__(self, "_outside", {})

    def _mine(self) -> dict[str, Any]:
        thread = self._kernel.current
        return self._outside if thread is None else thread.connections

    def __getattr__(self, alias: str) -> Any:
        try:
            return self._mine()[alias]
        except KeyError:
            raise AttributeError(alias) from None

    def __setattr__(self, alias: str, value: Any) -> None:
        self._mine()[alias] = value

    def __delattr__(self, alias: str) -> None:
        del self._mine()[alias]


class SimulatedMailbox:
    """In the place of a socket: wakes at a wake-up, or at one since the last wait, or when its time is up."""

    def __init__(self, mail: Mail, channel: str) -> None:
        self._mail, self._event = mail, Event(mail.kernel)
        mail.boxes.setdefault(channel, []).append(self)

    def wait(self, seconds: float) -> None:
        """Whoever looks each second is spared the looks that would find nothing."""
        mail = self._mail
        while not self._event.wait(mail.patience(seconds)) and not mail.is_something_due():
            pass
        self._event.clear()

    def wake(self) -> None:
        self._event.set()


class Mail:
    """The wake-ups of all processes."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.boxes: dict[str, list[SimulatedMailbox]] = {}
        self._is_look_due = False

    def open(self, channel: str) -> SimulatedMailbox:
        return SimulatedMailbox(self, channel)

    def send(self, channel: str) -> None:
        if self.kernel.current is not None and not self.kernel.current.is_alive:
            raise Killed
        if self.kernel.strikes("wake-up-lost"):
            return
        for box in self.boxes.get(channel, ()):
            box.wake()

    def patience(self, seconds: float) -> float:
        """How long nobody has to look: until a row of the queue is due again, or a new one is written."""
        row = store.connection().execute("SELECT min(lock) FROM django_q_ormq WHERE lock > ?", (_now(),)).fetchone()
        if row[0] is None:
            return 3600.0
        return max(seconds, (parse(row[0]) - clock.now()).total_seconds() + 0.01)

    def is_something_due(self) -> bool:
        rows = store.connection().execute("SELECT 1 FROM django_q_ormq WHERE lock <= ? LIMIT 1", (_now(),))
        return rows.fetchone() is not None

    def wrote(self, table: str) -> None:
        """A row that nobody is woken for is found by the look of the next second."""
        if table == "django_q_ormq" and not self._is_look_due:
            self._is_look_due = True
            self.kernel.after(1.0, self._look)

    def _look(self) -> None:
        self._is_look_due = False
        if self.is_something_due():
            for box in self.boxes.get(mailboxes.TASKS, ()):
                box.wake()


def _now() -> str:
    return str(clock.now().replace(tzinfo=None))


def parse(text: str) -> datetime:
    return datetime.fromisoformat(str(text)).replace(tzinfo=UTC)


class Executor:
    """In the place of ThreadPoolExecutor: simulated threads of the process that asks."""

    def __init__(self, kernel: Kernel, at_once: int) -> None:
        self._kernel, self._at_once = kernel, at_once

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        waiting = list(enumerate(items))
        results: dict[int, tuple[Any, BaseException | None]] = {}

        def go_through() -> None:
            while waiting:
                place, item = waiting.pop(0)
                try:
                    results[place] = (work(item), None)
                except Exception as error:
                    results[place] = (None, error)

        count = len(waiting)
        here = self._kernel.here()
        threads = [
            self._kernel.spawn(here.process, go_through, f"{here.name}+{number}")
            for number in range(min(self._at_once, count))
        ]
        for thread in threads:
            self._kernel.join(thread)
        for place in range(count):
            found, error = results[place]
            if error is not None:
                raise error
            yield found


class Memory:
    """What a process has in its memory."""

    def __init__(self, kernel: Kernel) -> None:
        self.clients: dict[Any, Any] = {}
        self.turnstile = turnstile.Turnstile()
        self.turnstile._lock = Lock(kernel)  # type: ignore[assignment]
        self.known_sizes: dict[int, Any] = {}


class ClusterMemory:
    """What the processes of one cluster share."""

    def __init__(self) -> None:
        self.slots = (in_hand._Slot * in_hand.SLOTS)()
        self.announced = SimpleNamespace(value=0)
        self.busy, self.samples, self.is_full = (SimpleNamespace(value=0) for _ in range(3))


class Host:
    """Puts in place what the process that goes on has for itself."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.memories: dict[str, Memory] = {}
        self.clusters: dict[str, ClusterMemory] = {}

    def forget(self, process: Process) -> None:
        """It has ended: its successor begins with nothing."""
        self.memories.pop(process.name, None)

    def enter(self, process: Process) -> None:
        memory = self.memories.get(process.name)
        if memory is None:
            memory = self.memories[process.name] = Memory(self.kernel)
        cloud_connection._connected = memory.clients
        turnstile.launches = memory.turnstile
        sizes.KNOWN = memory.known_sizes
        cluster = self.clusters.get(process.machine.name)
        if cluster is None:
            cluster = self.clusters[process.machine.name] = ClusterMemory()
        in_hand._slots = cluster.slots  # type: ignore[assignment]
        stopping._announced = cluster.announced  # type: ignore[assignment]
        reserve._busy, reserve._samples, reserve._is_full = cluster.busy, cluster.samples, cluster.is_full  # type: ignore[assignment]


@contextmanager
def in_place(kernel: Kernel) -> Iterator[tuple[Mail, Host]]:
    """While the block runs the product lives in the kernel's time."""
    mail, host = Mail(kernel), Host(kernel)
    bytes_from = random.Random(f"{kernel.seed} bytes")
    threads = SimpleNamespace(
        Thread=lambda target, name="thread", daemon=True, args=(): SimulatedThread(kernel, target, args, name),
        Event=lambda: Event(kernel),
        Lock=lambda: Lock(kernel),
        current_thread=lambda: kernel.current,
    )

    def executor(at_once: int) -> Executor:
        return Executor(kernel, at_once)

    def process_name() -> str:
        process = kernel.here().process
        return f"{process.machine.name}|namespace|{process.pid}"

    def is_gone(pid: int, _signal: int) -> None:
        if not any(process.pid == pid and process.is_alive for process in kernel.processes.values()):
            raise ProcessLookupError

    def require_alive() -> None:
        if kernel.current is not None and not kernel.current.is_alive:
            raise Killed

    kernel.on_enter_process = host.enter
    urandom = bytes_from.randbytes
    was_disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    random_state = random.getstate()
    random.seed(kernel.seed)
    with ExitStack() as stack:
        put = lambda target, name, value: stack.enter_context(mock.patch.object(target, name, value))  # noqa: E731
        product_clock = ProductClock(kernel)
        stack.enter_context(clock.using(product_clock))
        put(timezone, "now", product_clock.now)
        put(time, "time", product_clock.wall)
        put(os, "urandom", urandom)
        put(random, "_urandom", urandom)
        put(connections, "_connections", Connections(kernel))
        put(mailboxes, "_send_datagrams", mail.send)
        put(mailboxes, "SocketMailbox", mail.open)
        put(tenure, "threading", threads)
        put(turnstile, "threading", threads)
        put(asking, "ThreadPoolExecutor", executor)
        put(look, "ThreadPoolExecutor", executor)
        put(journal, "_log", lambda event: kernel.log(f"{event.sandbox_name or event.pool_name} {event.message}"))
        put(leases, "os", SimpleNamespace(kill=is_gone))
        for module in (this_machine, leases, lifecycle):
            if hasattr(module, "this_process"):
                put(module, "this_process", process_name)
        put(leases, "this_machine", lambda: kernel.here().process.machine.name)
        for name in ("_connected",):
            put(cloud_connection, name, {})
        put(turnstile, "launches", turnstile.launches)
        put(sizes, "KNOWN", {})
        put(in_hand, "_slots", in_hand._slots)
        put(stopping, "_announced", stopping._announced)
        for name in ("_busy", "_samples", "_is_full"):
            put(reserve, name, getattr(reserve, name))
        put(store.hooks, "committed", lambda wrapper: kernel.point("commit"))
        put(store.hooks, "wrote", mail.wrote)
        put(store.hooks, "rolled_back", store.hooks.rolled_back)
        put(store.hooks, "require_alive", require_alive)
        put(locks.held, "require_alive", require_alive)
        put(locks.held, "hold_up", kernel.hold_up)
        put(locks.held, "sleep", kernel.sleep)
        try:
            yield mail, host
        finally:
            logging.disable(was_disabled)
            random.setstate(random_state)
            for thread in _unfinished(kernel):
                thread.process.is_alive = False
            kernel.end()


def _unfinished(kernel: Kernel) -> list[Thread]:
    return [thread for process in kernel.processes.values() for thread in process.threads]
