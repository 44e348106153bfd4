"""The site's tasks in Django-Q."""

from __future__ import annotations

from django.utils import timezone

from orchestrator_site import retention

CLEAN_UP_SECONDS = 5.0  # turns may wait for it


def prune() -> None:
    """Delete what nobody will read again, for a while; the next one goes on where this one stopped."""
    retention.clean_up(timezone.now(), CLEAN_UP_SECONDS)
