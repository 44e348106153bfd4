"""The median launch, warm beside cold, as two lanes of a race."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runs.pages import statistics


@dataclass(frozen=True, slots=True)
class Lane:
    key: str
    title: str
    ms: int
    share: float  # of the slowest, in percent


def race(times: Sequence[statistics.Distribution]) -> list[Lane]:
    """The median launch, warm and cold; none before both have been seen."""
    warm = next((each.p50_ms for each in times if each.key in ("staged", "warm")), None)
    cold = next((each.p50_ms for each in times if each.key in ("fallback", "cold")), None)
    if warm is None or cold is None:
        return []
    slowest = max(warm, cold, 1)
    lanes = [("warm", "A warm start", warm), ("cold", "A cold start", cold)]
    return [Lane(key, title, ms, round(max(1.5, 100 * ms / slowest), 1)) for key, title, ms in lanes]
