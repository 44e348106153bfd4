"""What Django-Q runs for the games."""

from __future__ import annotations

from uuid import UUID

from games import snapshots, staging
from games.models import Game
from pools.cloud.errors import AgentError
from pools.models import Sandbox


def stage(sandbox_id: str) -> None:
    """Stage the games in a warming sandbox."""
    staging.stage(UUID(sandbox_id))


def end_other_games(sandbox_id: str, slug: str) -> None:
    """Free what the other staged games of a sandbox use, once it serves one."""
    sandbox = Sandbox.objects.filter(pk=sandbox_id).first()
    game = Game.objects.filter(slug=slug).first()
    if sandbox is not None and game is not None:
        try:
            staging.end_others(sandbox, game)
        except AgentError:
            return  # it is on its way out


def build_missing_snapshots() -> None:
    """Build what is missing, where that creates nothing in an account that somebody pays for."""
    if snapshots.may_build_by_itself() and (games := snapshots.missing()):
        snapshots.build(games)
