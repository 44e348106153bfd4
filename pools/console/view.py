"""The fleet as operators are shown it.

Of a small fleet each look is a new picture. Of thousands one takes seconds of the processor: there it is made for all
who look, and kept for longer the larger it is. Whatever is acted on makes a picture of its own (`fleet_page.picture`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pools.console.alarms import Alarm, fleet_alarms
from pools.console.fleet_page import FleetPicture, picture

SMALL_ROWS = 1_000
ROWS_A_SECOND = 500  # a tenth of a processor at the most goes into pictures, however many look on


@dataclass(frozen=True, slots=True)
class FleetView:
    """A picture and its alarms. `kept_seconds`: for so long it is shown; 0 when each look is new."""

    picture: FleetPicture
    alarms: Sequence[Alarm]
    kept_seconds: int

    def is_shown_at(self, now: datetime) -> bool:
        return timedelta() <= now - self.picture.now < timedelta(seconds=self.kept_seconds)


class _Shown:
    """What this process shows."""

    def __init__(self) -> None:
        self._making = threading.Lock()
        self._kept: FleetView | None = None
        self._acts = 0

    def at(self, now: datetime) -> FleetView:
        with self._making:
            kept = self._kept
            if kept is None or not kept.is_shown_at(now):
                acts, made = self._acts, picture(now)
                rows = len(made.rows)
                kept_seconds = rows // ROWS_A_SECOND if rows > SMALL_ROWS else 0
                kept = FleetView(made, fleet_alarms(made), kept_seconds)
                self._kept = kept if acts == self._acts else None  # else it may be from before somebody's act
            return kept

    def forget(self) -> None:
        self._acts += 1
        self._kept = None


_shown = _Shown()


def view(now: datetime) -> FleetView:
    """Return what is shown now. Who comes while it is made waits for it."""
    return _shown.at(now)


def forget() -> None:
    """Somebody has done something: the next look is new."""
    _shown.forget()
