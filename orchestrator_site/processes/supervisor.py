"""Several services in one terminal: started together, restarted when they die, stopped with nothing left over."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from orchestrator_site import places
from orchestrator_site.processes import process_sessions
from pools import clock

LEASH = Path(__file__).with_name("leash.py")
LOOK_SECONDS = 0.25
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 1.0, 30.0
STEADY_SECONDS = 60.0  # alive that long, and the next death is a new story
ENDS_BEFORE_GIVING_UP = 3  # of a service that never answered once
MOST_UNSHOWN_LINES = 10_000
DRAIN_SECONDS = 2.0
COLOURS = ["36", "33", "35", "32"]


class GivenUp(Exception):
    """A service ended again and again before it ever answered."""


def _nothing() -> None:
    pass


@dataclass
class Service:
    """One process to keep alive."""

    name: str
    command: Sequence[str]
    answers: Callable[[], bool]  # whether it does its work, as far as can be asked quickly
    before_start: Callable[[], None] = _nothing
    stop_order: int = 0  # lower ones are stopped first
    grace_seconds: float = 5.0
    settings: Mapping[str, str] = field(default_factory=dict)  # of its own, beside the environment's
    must_restart: str = ""  # set by whoever found out that it lives and does not work: why
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    has_answered: bool = field(default=False, init=False)
    started_at_seconds: float = field(default=0, init=False)
    restart_at_seconds: float = field(default=0, init=False)
    ends: int = field(default=0, init=False)
    ended: str = field(default="", init=False)  # how its last process did

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    def is_up(self) -> bool:
        if not self.has_answered and self.process is not None:
            self.has_answered = self.answers()
        return self.has_answered


RecordOf = Callable[[str, str, str], str]  # of a process's name, a line of its, and a level


class Terminal:
    """Whole lines from several sources, each with its prefix, or as a record of a log where `record_of` makes one. A
    line that can't be shown is lost, and nothing else: a disk may be full, or whoever read us gone, or stand still. A
    terminal that is closed sends SIGHUP."""

    def __init__(self, width: int, record_of: RecordOf | None) -> None:
        self.width, self.record_of = width, record_of
        self.is_coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self.lines: queue.Queue[str] = queue.Queue(MOST_UNSHOWN_LINES)
        threading.Thread(target=self._show, name="terminal", daemon=True).start()

    def say(self, line: str, level: str = "INFO") -> None:
        self._put(self.record_of("supervisor", line, level) if self.record_of else line)

    def _put(self, line: str) -> None:
        with suppress(queue.Full):
            self.lines.put_nowait(line)

    def drain(self) -> None:
        """Wait until what was said is shown, unless it takes too long."""
        until = clock.monotonic() + DRAIN_SECONDS
        while self.lines.unfinished_tasks and clock.monotonic() < until:
            clock.sleep(0.01)

    def _show(self) -> None:
        while True:
            line = self.lines.get()
            with suppress(OSError, ValueError):
                sys.stdout.flush()  # what commands have printed comes first
            # Not by print: what it could not write it would keep, and fail again with each line.
            with suppress(OSError, ValueError):
                os.write(sys.stdout.fileno(), f"{line}\n".encode())
            self.lines.task_done()

    def relay(self, name: str, colour: str, output: IO[bytes]) -> None:
        prefix = f"{name:<{self.width}} |"
        if self.is_coloured:
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        for line in output:
            text = line.decode(errors="replace").rstrip()
            if self.record_of is None:
                self._put(f"{prefix} {text}")
            elif text:
                with suppress(Exception):  # else nobody would read what the process says, and it would stand still
                    self._put(self.record_of(name, text, "INFO"))


class Supervisor:
    def __init__(
        self,
        services: Sequence[Service],
        register: process_sessions.Register,
        record_of: RecordOf | None = None,
        note_restart: Callable[[str, str], None] | None = None,
    ) -> None:
        """`note_restart` is told which service was started again and how it had ended, in a thread of its own."""
        self.services = services
        self.register = register
        self.note_restart = note_restart
        self.stopping = threading.Event()
        self.terminal = Terminal(max(len(service.name) for service in services), record_of)

    def stop_on_signals(self) -> None:
        """One signal stops everything politely, a second one kills."""

        def stop(_number: int, _frame: object) -> None:
            if self.stopping.is_set():
                for service in self.services:
                    process_sessions.kill(service.pid)
                os._exit(1)
            self.stopping.set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, stop)

    def start(self, service: Service) -> None:
        service.before_start()
        service.has_answered, service.must_restart = False, ""
        service.process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), *service.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**places.for_python(os.environ), "PYTHONUNBUFFERED": "1", **service.settings},
        )
        service.started_at_seconds = clock.monotonic()
        self.register.add(service.name, service.pid)
        colour = COLOURS[self.services.index(service) % len(COLOURS)]
        threading.Thread(
            target=self.terminal.relay, args=(service.name, colour, service.process.stdout), daemon=True
        ).start()
        if service.ended and self.note_restart is not None:
            threading.Thread(target=self.note_restart, args=(service.name, service.ended), daemon=True).start()

    def run(self, when_ready: Callable[[], None]) -> None:
        """Keep all services alive until a signal, then stop them. Raises GivenUp."""
        is_ready = False
        try:
            while not self.stopping.is_set():
                self.register.look_after_reaper()
                for service in self.services:
                    self._look_after(service, is_ready)
                if not is_ready and all(service.is_up() for service in self.services):
                    is_ready = True
                    when_ready()
                self.stopping.wait(LOOK_SECONDS)
        finally:
            self.stop()

    def _look_after(self, service: Service, is_ready: bool) -> None:
        if service.process is None:
            if clock.monotonic() >= service.restart_at_seconds:
                try:
                    self.start(service)
                except (OSError, RuntimeError) as error:  # no memory, no processes or threads left, a full disk
                    self._give_up_start(service)
                    service.restart_at_seconds = clock.monotonic() + LONGEST_BACKOFF_SECONDS
                    self.terminal.say(f"{service.name} can't be started ({error}); again in a while.", "ERROR")
            return
        if service.must_restart:
            self.terminal.say(f"{service.name} is restarted: {service.must_restart}.", "WARNING")
            process_sessions.kill(service.pid)
            service.process.wait()
        code = service.process.poll()
        if code is None:
            return
        process_sessions.kill(service.pid)  # what it started must not go on beside its successor
        self.register.remove(service.name)
        service.process = None
        if clock.monotonic() - service.started_at_seconds > STEADY_SECONDS:
            service.ends = 0
        service.ends += 1
        if not is_ready and service.ends >= ENDS_BEFORE_GIVING_UP:
            raise GivenUp(f"{service.name} ended {service.ends} times before it answered; its lines above say why.")
        delay = min(FIRST_BACKOFF_SECONDS * 2 ** (service.ends - 1), LONGEST_BACKOFF_SECONDS)
        service.restart_at_seconds = clock.monotonic() + delay
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
        service.ended = service.must_restart or f"it ended {how}"
        self.terminal.say(f"{service.name} ended {how}; it starts again in {delay:g} s.", "WARNING")

    def _give_up_start(self, service: Service) -> None:
        """Nothing of a start that failed half-way goes on."""
        if service.process is not None:
            with suppress(OSError):
                process_sessions.kill(service.pid)
            service.process.kill()
            service.process.wait()
            self.register.remove(service.name)
            service.process = None

    def stop(self) -> None:
        """Stop every service, those of the lowest order first, and everything they started."""
        for order in sorted({service.stop_order for service in self.services}):
            group = [service for service in self.services if service.stop_order == order and service.process]
            process_sessions.end([service.pid for service in group], max((s.grace_seconds for s in group), default=0))
            for service in group:
                if service.process:
                    service.process.wait()
                    self.register.remove(service.name)
                    service.process = None
