"""The games' answers to the fleet's signals."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.dispatch import receiver
from django_q.tasks import async_task

from pools.models import Sandbox
from pools.signals import staging_wanted


@receiver(staging_wanted)
def stage(sandbox: Sandbox, now: datetime, **_: Any) -> None:
    async_task("games.tasks.stage", str(sandbox.id), task_name="stage", group="stage")
