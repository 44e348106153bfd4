"""The fleet as operators are shown it.

Of a small fleet each look is a new picture. Of thousands one takes seconds of the processor: there it is made for all
who look, and kept for longer the larger it is. Whatever is acted on makes a picture of its own (`fleet_page.picture`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pools import clock
from pools.console.alarms import Alarm, fleet_alarms
from pools.console.fleet_page import FleetPicture, picture
from pools.shared import Shared

SMALL_ROWS = 1_000
ROWS_A_SECOND = 500  # a tenth of a processor at the most goes into pictures, however many look on


@dataclass(frozen=True, slots=True)
class FleetView:
    """A picture and its alarms."""

    picture: FleetPicture
    alarms: Sequence[Alarm]

    @property
    def kept_seconds(self) -> int:
        """For so long it is shown; 0 when each look is new."""
        rows = len(self.picture.rows)
        return rows // ROWS_A_SECOND if rows > SMALL_ROWS else 0


def _made() -> FleetView:
    seen = picture(clock.now())
    return FleetView(seen, fleet_alarms(seen))


SHOWN = Shared(_made, lambda view: view.kept_seconds)


def view() -> FleetView:
    """Return what this process shows now."""
    return SHOWN.get()


def forget() -> None:
    """Somebody has done something: the next look is new."""
    SHOWN.forget()
