"""Lines of the log that say the same again and again, as one line with how often and for how long. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pools.models import FleetEvent

APART = timedelta(minutes=5)  # two that are further apart are two lines
MINUTE_SECONDS = 60


@dataclass(slots=True)
class Joined:
    """The newest of some lines that are alike."""

    event: FleetEvent
    count: int
    first_at: datetime

    @property
    def times(self) -> str:
        """How often and for how long; empty for one line alone."""
        if self.count == 1:
            return ""
        seconds = (self.event.at - self.first_at).total_seconds()
        span = f"{seconds:.0f} s" if seconds < MINUTE_SECONDS else f"{-(-seconds // MINUTE_SECONDS):.0f} min"
        return f"\N{MULTIPLICATION SIGN}{self.count} in {span}"


def joined(newest_first: Iterable[FleetEvent]) -> list[Joined]:
    """The same lines, newest first; those that repeat another are one, at the place of the newest. What a person did is
    never joined."""
    found: list[Joined] = []
    open_: dict[object, Joined] = {}
    for event in newest_first:
        alike = (event.kind, event.code, event.level, event.message, event.sandbox_name, event.pool_name, event.run_id)
        last = open_.get(alike)
        if last is not None and not event.actor and last.first_at - event.at <= APART:
            last.count += 1
            last.first_at = event.at
            continue
        found.append(Joined(event, 1, event.at))
        if not event.actor:
            open_[alike] = found[-1]
    return found
