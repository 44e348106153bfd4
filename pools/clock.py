"""The time, and waiting for it: all of the product asks here, so that another clock can be put in the machine's place.

What is compared with other processes' writings is `now`: on PostgreSQL that is the database's time, whatever this
machine's clock says. Durations are measured by `monotonic`; by `steady` where a machine may sleep in between.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

from django.utils import timezone


class Clock(Protocol):
    """See the functions below."""

    def now(self) -> datetime: ...
    def wall(self) -> float: ...
    def monotonic(self) -> float: ...
    def steady(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...
    def wait(self, event: threading.Event, seconds: float) -> bool: ...


class MachineClock:
    """The real one."""

    def now(self) -> datetime:
        return timezone.now()

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def steady(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds)


_clock: Clock = MachineClock()


@contextmanager
def using(clock: Clock) -> Iterator[None]:
    """`with using(a_clock):` puts it in the machine's place, for all threads of this process."""
    global _clock  # noqa: PLW0603
    before, _clock = _clock, clock
    try:
        yield
    finally:
        _clock = before


def now() -> datetime:
    """The moment, aware: the one that is written down and compared."""
    return _clock.now()


def wall() -> float:
    """Seconds since the epoch by this machine's own clock, which may be set."""
    return _clock.wall()


def monotonic() -> float:
    """Seconds from an unknown beginning, never set: only differences say something."""
    return _clock.monotonic()


def steady() -> float:
    """As `monotonic`, and it runs on while the machine sleeps, where the system has such a clock."""
    return _clock.steady()


def sleep(seconds: float) -> None:
    """Wait in this thread."""
    _clock.sleep(seconds)


def wait(event: threading.Event, seconds: float) -> bool:
    """Wait for the event; whether it has come in time."""
    return _clock.wait(event, seconds)
