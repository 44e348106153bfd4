"""Process sessions: each service runs in one of its own, so that ending the session ends all that it started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import psutil

from orchestrator_site import places
from pools import clock

LOOK_SECONDS = 0.05


def members(session: int) -> list[int]:
    """The processes of a session that still run."""
    found = []
    for pid in psutil.pids():
        with suppress(OSError, psutil.Error):  # it may end while we look
            if os.getsid(pid) == session and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def kill(session: int) -> None:
    """End every process of a session, now."""
    for pid in members(session):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


class Register:
    """The sessions that were started, told to a reaper that ends them when this process dies.

    They are in a file as well: should the reaper be killed too, the next start ends what is left over.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sessions: dict[str, tuple[int, float]] = {}
        self.reaper: subprocess.Popen[str] | None = None
        self.grace_seconds = 0.0

    def start_reaper(self, grace_seconds: float) -> None:
        """From now on; in a session of its own, so that Ctrl-C in the terminal does not reach it."""
        self.grace_seconds = grace_seconds
        self.reaper = subprocess.Popen(
            [sys.executable, "-m", "orchestrator_site.processes.reaper", str(grace_seconds)],
            env=places.for_python(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._write()

    def look_after_reaper(self) -> None:
        """Start another one when it was killed; later when there is no room for it now."""
        if self.reaper and self.reaper.poll() is not None:
            with suppress(OSError):
                self.start_reaper(self.grace_seconds)

    def close(self) -> None:
        """Let the reaper go."""
        if self.reaper:
            self.reaper.communicate()

    def add(self, name: str, session: int) -> None:
        with suppress(psutil.NoSuchProcess):
            self.sessions[name] = (session, psutil.Process(session).create_time())
            self._write()

    def remove(self, name: str) -> None:
        self.sessions.pop(name, None)
        self._write()

    def _write(self) -> None:
        text = json.dumps(self.sessions)
        if self.reaper and self.reaper.stdin:
            with suppress(BrokenPipeError):  # it was killed just now; the file is there
                print(text, file=self.reaper.stdin, flush=True)
        temporary = self.path.with_suffix(".new")
        try:
            temporary.write_text(text)
            temporary.replace(self.path)
        except OSError:  # a full disk, say: the reaper knows, and the next change is written again
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def left_over(self) -> list[int]:
        """The sessions in the file that still have processes."""
        try:
            return left_over(self.path.read_text())
        except OSError:
            return []


def left_over(text: str) -> list[int]:
    """The sessions of a register's text that still have processes."""
    try:
        entries = json.loads(text).values()
    except ValueError:
        return []
    return [session for session, began in entries if not _is_another(session, began) and members(session)]


def _is_another(pid: int, began: float) -> bool:
    """Whether the number was given to a process that is not the one that led the session."""
    try:
        return abs(psutil.Process(pid).create_time() - began) > 5  # seconds: the clock may be set
    except psutil.NoSuchProcess:
        return False


def end(sessions: Collection[int], grace_seconds: float) -> None:
    """Ask the leaders to stop, wait for the whole sessions, then kill what is left of them."""
    for session in sessions:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(session, signal.SIGTERM)
    deadline = clock.monotonic() + grace_seconds
    while any(map(members, sessions)) and clock.monotonic() < deadline:
        clock.sleep(LOOK_SECONDS)
    for session in sessions:
        kill(session)
