"""A game that was staged in a sandbox: where it lies and whether it runs. Stored as JSON in the sandbox's row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class StagedGame:
    """`dir` is below /workspace; `pid` is None when the game was not started, or did not come up."""

    sha256: str = ""
    dir: str = ""
    port: int = 0
    pid: int | None = None
    started: bool = False


def read(stored: Mapping[str, Any]) -> dict[str, StagedGame]:
    """Return the staged games by slug. Unknown fields and entries of another shape are passed over."""
    known = StagedGame.__slots__
    return {
        slug: StagedGame(**{name: value for name, value in entry.items() if name in known})
        for slug, entry in stored.items()
        if isinstance(entry, dict)
    }


def write(games: Mapping[str, StagedGame]) -> dict[str, Any]:
    """Return the games as they are stored."""
    return {slug: asdict(game) for slug, game in games.items()}
