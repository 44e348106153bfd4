"""What is in a simulated sandbox: its files by name, and its processes."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.sim.apps import NEVER, SimApp


@dataclass(slots=True)
class Process:
    """Something that was started and is left running. `leader_until`: what the agent lists; `until`: all of it."""

    pid: int
    command: str
    started_at: float
    until: float = NEVER
    leader_until: float = NEVER
    was_ended: bool = False  # by a command of the product's
    # A game:
    slug: str = ""
    port: int = 0
    stamp: str = ""
    listens_from: float = NEVER
    never_answers: bool = False
    is_unwell: bool = False
    # A long command:
    output: bytes = b""
    exit_code: int = 0

    def is_alive(self, now: float) -> bool:
        return now < self.until

    def listens(self, port: int, now: float) -> bool:
        return self.port == port and self.listens_from <= now < self.until

    def end(self, now: float) -> None:
        self.until, self.leader_until = min(self.until, now), min(self.leader_until, now)


@dataclass(slots=True)
class Container:
    """What is in a sandbox, until it is restarted."""

    app: SimApp
    born_at: float
    up_from: float
    is_dead: bool = False
    silent_until: float = 0.0
    next_pid: int = 100
    folders: set[str] = field(default_factory=lambda: {"/workspace", "/tmp"})
    files: set[str] = field(default_factory=set)
    processes: dict[int, Process] = field(default_factory=dict)
    runs: set[str] = field(default_factory=set)

    def empty(self, now: float, down_seconds: float) -> None:
        """Its container is restarted."""
        self.processes.clear()
        self.files.clear()
        self.folders = {"/workspace", "/tmp"}
        self.born_at, self.up_from = now, now + down_seconds
        self.runs.clear()

    def write(self, path: str) -> None:
        self.files.add(path)
        parts = path.split("/")[1:-1]
        self.folders.update("/" + "/".join(parts[: count + 1]) for count in range(len(parts)))

    def games(self, now: float) -> list[Process]:
        return [process for process in self.processes.values() if process.port and process.is_alive(now)]
