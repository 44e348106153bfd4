"""The database's time, which several machines share although their clocks differ.

Each new connection and each health check of a kept one brings the database's time along; in between this process counts
on from there, by a clock that nobody sets. `timezone.now` is this time, so that all that is written and compared (runs'
ends, leases, signs of life, Django-Q's queue and schedules, sessions) is of one clock.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from datetime import UTC, datetime

from django.db import connection
from django.utils import timezone

from pools.clock import steady, wall

LONGEST_ASKING_SECONDS = 1.0  # an answer that took longer says little about now
ASK_AGAIN_SECONDS = 5.0  # a database that can't be asked is not asked with each look at the clock

machine_now = timezone.now


class DatabaseClock:
    def __init__(self) -> None:
        self._at_zero: float | None = None  # the database's epoch seconds when our steady clock was at zero
        self._asked_at_seconds = -ASK_AGAIN_SECONDS
        self._asking = threading.RLock()

    def note(self, epoch_seconds: float, asked_at_seconds: float) -> None:
        """The database said it is `epoch_seconds`; it was asked at `asked_at_seconds` of `steady`."""
        took_seconds = steady() - asked_at_seconds
        if self._at_zero is None or took_seconds <= LONGEST_ASKING_SECONDS:
            self._at_zero = epoch_seconds + took_seconds / 2 - steady()

    def now(self) -> datetime:
        """Return the database's time; this machine's while the database can't be asked."""
        if self._at_zero is None:
            self._ask()
        if self._at_zero is None:
            return machine_now()
        return datetime.fromtimestamp(self._at_zero + steady(), tz=UTC)

    def _ask(self) -> None:
        """The first look at the clock may come before the first query: a connection brings the time along. Who comes
        meanwhile waits for it, but for the event loop, which never does."""
        if _on_the_event_loop():
            return
        with self._asking:
            if self._at_zero is not None or steady() - self._asked_at_seconds < ASK_AGAIN_SECONDS:
                return
            # Whoever needs the database hears of its trouble. What was opened for this alone is closed: this process
            # may fork next.
            with suppress(Exception):
                if connection.connection is None:
                    connection.ensure_connection()
                    connection.close()
            self._asked_at_seconds = steady()

    def machine_ahead_seconds(self) -> float:
        """Return by how much this machine's clock is ahead of the database's; negative when it is behind."""
        return 0.0 if self._at_zero is None else wall() - (self._at_zero + steady())


def _on_the_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


database_clock = DatabaseClock()


class Now:
    """In the place of Django's function, and equal to it: what migrations have as a default is no other than before."""

    def __call__(self) -> datetime:
        return database_clock.now()

    def __eq__(self, other: object) -> bool:
        return other is machine_now or isinstance(other, Now)

    def __hash__(self) -> int:
        return hash(machine_now)


def install() -> None:
    """Make it this process's time, unless a test has a time of its own."""
    if timezone.now is machine_now:
        timezone.now = Now()
