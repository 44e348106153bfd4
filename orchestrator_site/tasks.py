"""The site's tasks in Django-Q."""

from __future__ import annotations

from orchestrator_site import retention
from pools import clock

CLEAN_UP_SECONDS = 5.0  # turns may wait for it


def prune() -> None:
    """Delete what nobody will read again, for a while; the next one goes on where this one stopped."""
    retention.clean_up(clock.now(), CLEAN_UP_SECONDS)
