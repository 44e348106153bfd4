"""The runs' tasks in Django-Q."""

from __future__ import annotations

from uuid import UUID

from games.models import GameVersion
from pools import clock
from runs.launching import deployment, trial
from runs.lifecycle import Attempt
from runs.play import packed
from runs.webhooks import courier


def deploy(run_id: str, sandbox_id: str | None = None, number: int | None = None) -> None:
    """Deploy a run's game. A task that was queued before attempts were carried along has the run's id alone."""
    if sandbox_id is not None and number is not None:
        deployment.deploy(Attempt(UUID(run_id), UUID(sandbox_id), number))
    elif attempt := deployment.next_attempt(UUID(run_id)):
        deployment.deploy(attempt)


def try_version(version_id: int) -> None:
    """Fetch a version of a game that an operator has asked for, and launch its trial."""
    if version := GameVersion.objects.select_related("game").filter(pk=version_id).first():
        trial.try_out(version, clock.now())


def deliver_webhooks() -> None:
    """Deliver what webhooks are to be told of."""
    courier.deliver()


def look_for_packing(run_id: str, path: str) -> None:
    """Tell a run's log when its game packs what it answers for that path."""
    packed.look_for_packing(UUID(run_id), path)
