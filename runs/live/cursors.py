"""Where a reader goes on, and how much it wants: the numbers in its address, checked and named when they are wrong."""

from __future__ import annotations

from pools.fleet_log import HIGHEST_CURSOR
from pools.problems import Problem
from runs.live.hub import FLEET, Standing, Topic

FLEET_LINES = 50  # that a reader of the fleet's log gets from before it came


def number(text: str | None, field: str, default: int, *, least: int = 0, most: int = HIGHEST_CURSOR) -> int:
    """Read a whole number, or take the default when there is none. Raises Problem that names the field."""
    if text is None:
        return default
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
    if value is None or not least <= value <= most:
        upper = f" to {most}" if most < HIGHEST_CURSOR else " or more"
        raise Problem.field(field, f"It is {text[:40]!r}; it must be a whole number, {least}{upper}.")
    return value


def beginning(topic: Topic, now: Standing) -> int:
    """Where a reader begins that does not say: a run's first line, or the fleet's last lines."""
    return max(0, now.last_seq - FLEET_LINES) if topic is FLEET else 0
