"""The first demo's words for a launch: its four statuses and its three types. Ours say more and stand beside them."""

from __future__ import annotations

from collections.abc import Mapping

from django.db.models import TextChoices

from runs.reasons import StatusCode


class Status(TextChoices):
    CREATING = "creating", "Creating"
    RUNNING = "running", "Running"
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"


TYPES = ("cold", "warm", "snapshot")  # as it was asked for; the demo never made a `snapshot`, and neither do we
STATUS_OF_STATE: Mapping[str, Status] = {
    "acquiring": Status.CREATING,
    "deploying": Status.CREATING,
    "running": Status.RUNNING,
    "ended": Status.COMPLETED,
    "failed": Status.FAILED,
}
TOLD_WHILE_RUNNING = frozenset({StatusCode.EXTENDED, StatusCode.GAME_STOPPED, StatusCode.GAME_BACK})


def status_told_by(code: str) -> Status:
    """The status of a run whose log has a status line with this code."""
    return Status.RUNNING if code in TOLD_WHILE_RUNNING else Status.CREATING
