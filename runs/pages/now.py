"""How things stand right now, as every page tells everybody: looked up once a second, whoever asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from games.models import Game
from pools import clock
from pools.census import Census, census
from pools.shared import Shared
from runs.launching.outlook import Speed, speeds
from runs.limits import launches_left


@dataclass(frozen=True, slots=True)
class Now:
    games: Sequence[Game]
    speeds: Mapping[str, Speed]
    launches_left: int
    there_are: Census

    def speed(self, game: Game) -> Speed:
        """How soon it would start; also of a game that came within the last second."""
        return self.speeds.get(game.slug) or speeds([game], clock.now())[game.slug]


def look() -> Now:
    """Return how things stand at this moment."""
    now = clock.now()
    games, there_are = list(Game.objects.playable()), census()
    return Now(games, speeds(games, now, there_are), launches_left(now), there_are)


NOW = Shared(look)
