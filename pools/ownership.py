"""The mark by which we know our apps in the account."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

from django.conf import settings

from pools.cloud.records import App


class Named(Protocol):
    """Whatever has an app's name and the value of its ORCHESTRATOR_ID."""

    @property
    def name(self) -> str: ...

    @property
    def owner(self) -> str | None: ...


def carries_mark(app: Named, *, orchestrator_id: str, name_prefix: str) -> bool:
    """Whether the app has that id and a name that only that orchestrator gives. Both: the orchestrator's own app may
    carry the id, but never such a name."""
    is_our_name = re.fullmatch(re.escape(name_prefix) + r"[0-9a-f]{8}", app.name)
    return app.owner == orchestrator_id and is_our_name is not None


def ours(apps: Iterable[App]) -> list[App]:
    """Those that carry our mark."""
    mark = {"orchestrator_id": settings.ORCHESTRATOR_ID, "name_prefix": settings.SANDBOX_NAME_PREFIX}
    return [app for app in apps if carries_mark(app, **mark)]
