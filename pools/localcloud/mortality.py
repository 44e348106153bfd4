"""Processes that end with whoever started them, and the search for those that did not.

Three nets, one below the other: the kernel ends what a dead agent started itself (Linux); an agent whose cloud is
gone ends everything that hangs below it; and a cloud that starts or deletes an app ends whatever carries its mark.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable

APP_MARK = "LOCALCLOUD_APP"  # in the environment of everything that an app starts: the app's id
FOLDER_MARK = "LOCALCLOUD_DIR"  # and the folder of its cloud
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
BURIAL_SECONDS = 5.0
BURIAL_POLL_SECONDS = 0.005
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(parent_pid: int, with_signal: int = signal.SIGKILL) -> Callable[[], None]:
    """A `preexec_fn`: the kernel sends the signal to the child when the thread that started it ends."""

    def prepare() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, with_signal)
            if os.getppid() != parent_pid:  # it ended before we could ask
                os._exit(1)

    return prepare


def adopt_orphans() -> None:
    """From now on, what our children leave behind becomes our child, wherever it put itself (Linux)."""
    if _libc is not None:
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)


def descendants(pid: int) -> set[int]:
    """The processes below that one, children of children included."""
    import psutil

    try:
        return {process.pid for process in psutil.Process(pid).children(recursive=True)}
    except psutil.Error:
        return set()


def marked(mark: str, values: set[str]) -> set[int]:
    """The processes of this user whose environment says so, without this one."""
    import psutil

    found = set()
    for process in psutil.process_iter():
        try:
            if process.environ().get(mark) in values:
                found.add(process.pid)
        except (psutil.Error, OSError):
            continue
    return found - {os.getpid()}


def end(processes: Callable[[], set[int]], *, rounds: int = 20) -> None:
    """Kill those processes, and again those that they started meanwhile, until there are none."""
    for _ in range(rounds):
        running = {pid for pid in processes() if not _is_zombie(pid)}
        if not running:
            return
        for pid in running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def end_strays(known: set[int]) -> None:
    """End and bury our children but these: what dead children have left to us, see `adopt_orphans`."""
    import psutil

    def strays() -> list[psutil.Process]:
        return [process for process in psutil.Process().children() if process.pid not in known]

    deadline = time.monotonic() + BURIAL_SECONDS
    while found := strays():
        end(lambda: {below.pid for stray in strays() for below in (stray, *stray.children(recursive=True))})
        for stray in found:
            with contextlib.suppress(ChildProcessError):
                # Never waited for: it may have come a moment ago, after the killing, and live for long.
                os.waitpid(stray.pid, os.WNOHANG)
        if time.monotonic() > deadline:
            return  # the next to come here goes on
        time.sleep(BURIAL_POLL_SECONDS)


def _is_zombie(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True
