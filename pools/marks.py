"""Which apps of the account are ours."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings
from django.utils import timezone

from pools.cloud.records import App
from pools.facts import AppFacts, FleetFacts
from pools.planner import carries_our_mark


def ours(apps: Iterable[App]) -> list[App]:
    """Those that carry our mark: our id, and a name that only we give."""
    facts = FleetFacts(
        pools=(),
        sandboxes=(),
        apps=(),
        listed_at=timezone.now(),
        orchestrator_id=settings.ORCHESTRATOR_ID,
        name_prefix=settings.SANDBOX_NAME_PREFIX,
    )
    return [app for app in apps if carries_our_mark(AppFacts(app.id, app.name, app.owner, app.phase), facts)]
