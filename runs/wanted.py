"""What a launch was asked for. The same idempotency key with another wish is the caller's mistake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runs.models import AskedMode, OnMiss, Run


@dataclass(frozen=True, slots=True)
class Wanted:
    """A client's wish. Without `on_miss` the pool's own rule holds."""

    game: str
    mode: AskedMode
    use_snapshot: bool = True
    on_miss: OnMiss | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Run) -> Wanted:
        """What that run was asked for with."""
        on_miss = OnMiss(run.on_miss) if run.on_miss else None
        return cls(run.game.slug, run.asked_for, run.use_snapshot, on_miss, run.labels)

    def fields(self) -> dict[str, Any]:
        """What of it is kept with its run, beside the game."""
        return {
            "asked_mode": self.mode,
            "use_snapshot": self.use_snapshot,
            "on_miss": self.on_miss or "",
            "labels": dict(self.labels),
        }
