"""A version of a game is tried as players would get it: a cold launch from its source, in a sandbox of its own whose
time is up like any other's. Its log is the run's."""

from __future__ import annotations

from datetime import datetime

from games import versions
from games.models import GameVersion, VersionState
from runs.clients import OPERATOR, Client
from runs.launching.launch import launch
from runs.limits import LaunchRefused
from runs.models import AskedMode


def try_out(version: GameVersion, now: datetime) -> None:
    """Fetch the version, where that was not done, and launch its trial. What goes wrong is said by the version."""
    if version.state == VersionState.FETCHING and not versions.fetch(version, now):
        return
    game = version.game
    if game is None or version.state != VersionState.FETCHED:
        return
    client = Client(f"{OPERATOR}{version.asked_by}"[:64])
    try:
        launch(game=game.slug, mode=AskedMode.COLD, use_snapshot=False, client=client, now=now, trial=version)
    except LaunchRefused as refused:
        versions.fail(version, refused.code, f"It could not be launched: {refused}", now)
