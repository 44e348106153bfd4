"""Processes that end with whoever started them, and the search for those that did not."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

import psutil

MARK = "LOCALCLOUD_APP"
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(parent_pid: int, with_signal: int = signal.SIGKILL) -> Callable[[], None]:
    """A `preexec_fn`: the kernel sends the signal to the child when the thread that started it ends."""

    def prepare() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, with_signal)
            if os.getppid() != parent_pid:  # it ended before we could ask
                os._exit(1)

    return prepare


def marked_processes() -> dict[int, str]:
    """Every process of this user that belongs to a local app: pid to app id."""
    found = {}
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(MARK)
        except (psutil.Error, OSError):
            continue
        if mark:
            found[process.pid] = mark
    return found


def end_marked(app_ids: set[str]) -> int:
    """Kill whatever is left of these apps; how many processes that were."""
    ended = 0
    for pid, app_id in marked_processes().items():
        if app_id in app_ids and pid != os.getpid():
            try:
                os.kill(pid, signal.SIGKILL)
                ended += 1
            except ProcessLookupError:
                continue
    return ended
