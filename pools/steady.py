"""A clock that nobody can set, and that runs on while the machine sleeps, where the system has one."""

from __future__ import annotations

import time


def steady_seconds() -> float:
    """Seconds from an unknown beginning: only differences say something."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
