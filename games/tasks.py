"""The games' tasks in Django-Q."""

from __future__ import annotations

from uuid import UUID

from django_q.tasks import async_task

from games import builds, snapshots, staging
from games.models import Game, Snapshot
from pools import clock
from pools.cloud.errors import AgentError
from pools.models import Sandbox
from pools.occupants import occupants
from pools.stopping import Stopping


def stage(sandbox_id: str) -> None:
    """Stage the games in a warming sandbox."""
    staging.stage(UUID(sandbox_id))


def restage() -> None:
    """Bring warm sandboxes up to the current snapshots, one after the other."""
    try:
        staging.restage()
    except Stopping:
        async_task("games.tasks.restage", task_name="restage", group="stage")


def end_other_games(sandbox_id: str, slug: str) -> None:
    """Mark a sandbox that serves one game now, and free what its other staged games use."""
    sandbox = Sandbox.objects.filter(pk=sandbox_id).first()
    game = Game.objects.filter(slug=slug).first()
    if sandbox is not None and game is not None:
        try:
            occupant = occupants([sandbox.pk]).get(sandbox.pk)
            if occupant is not None and occupant.run_id is not None:
                staging.end_others(sandbox, game, occupant.run_id)
        except AgentError:
            return  # it is on its way out


def build_missing_snapshots(number: int = 1, of: int = 0) -> None:
    """Build the next snapshot that is missing, where that creates nothing in an account that somebody pays for, and
    ask for the one after it. Then bring warm sandboxes up to date."""
    games = builds.due(clock.now()) if builds.may_build_by_itself() else []
    if not games:
        restage()
        return
    of = max(of, number + len(games) - 1)
    try:
        builds.build(games[:1], first=number, of=of)
    except builds.Busy:
        return  # whoever builds goes on with the others
    except Stopping:
        number -= 1  # it is to be built once more
    async_task("games.tasks.build_missing_snapshots", number + 1, of, task_name="snapshots", group="snapshots")


def follow_published(game_id: int) -> None:
    """Another version of the game is published: its snapshot is made current again where it is kept, else built."""
    game = Game.objects.filter(pk=game_id).first()
    if game is not None and _has_snapshot(game):
        async_task("games.tasks.restage", task_name="restage", group="stage")
    elif game is not None:
        async_task("games.tasks.build_missing_snapshots", task_name="snapshots", group="snapshots")


def _has_snapshot(game: Game) -> bool:
    try:
        return snapshots.take_back(game)
    except Exception:  # each storage has errors of its own; then one is built
        return False


def check_snapshot(snapshot_id: int) -> None:
    """A sandbox could not restore it: is it still what was built? If not, build it again."""
    snapshot = Snapshot.objects.select_related("game").filter(pk=snapshot_id).first()
    if snapshot is not None and not snapshots.check(snapshot):
        async_task("games.tasks.build_missing_snapshots", task_name="snapshots", group="snapshots")
