"""Which faults happen when: by the seed alone, so that leaving one out moves none of the others.

Storms alternate with calm. In each storm the seed picks, for each kind of fault by itself, whether it takes part, from
when to when, and in how large a share of the cases. Such a fault is named by its kind and the storm's number.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

SHORT_CALM_SECONDS = (60.0, 600.0)
LONG_CALM_SECONDS = (2000.0, 3600.0)  # so long that everything has to be well again
LONG_SHARE = 0.4
STORM_SECONDS = (120.0, 1500.0)
LEAST_STORM_SECONDS = 60.0
TAKES_PART = 0.25
FACTORS = (3, 10, 30, 100)  # how much more often than usual, in its storm
MOST_SHARE = 0.8
USUAL_CHANCE = 0.01


@dataclass(frozen=True, slots=True)
class Storm:
    number: int
    begins: float
    ends: float


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault in one storm. `share`: in how many of the cases it happens, between `begins` and `ends`."""

    id: str
    begins: float
    ends: float
    share: float


class Plan:
    """The faults of a run that lasts `seconds`, of which the last `quiet_seconds` are calm. `chances`: how often each
    kind happens where it could. `only`: all others are left out."""

    def __init__(
        self,
        seed: int,
        seconds: float,
        quiet_seconds: float,
        chances: Mapping[str, float],
        only: Collection[str] | None = None,
    ) -> None:
        self.seed = seed
        self.usual = chances
        self.only = None if only is None else frozenset(only)
        self.storms = list(_storms(random.Random(f"{seed} storms"), seconds - quiet_seconds))
        self.struck: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self._storm: Storm | None = None
        self._begins = self._ends = 0.0
        self._of_kind: dict[str, list[Fault]] = {}
        self._chances: dict[str, random.Random] = {}

    def storm_at(self, seconds: float) -> Storm | None:
        return next((storm for storm in self.storms if storm.begins <= seconds < storm.ends), None)

    def calm_since(self, seconds: float) -> float | None:
        """When the last storm before that moment ended; None in a storm."""
        last = 0.0
        for storm in self.storms:
            if storm.begins <= seconds < storm.ends:
                return None
            if storm.ends <= seconds:
                last = storm.ends
        return last

    def strikes(self, kind: str, seconds: float) -> bool:
        """Whether that kind of fault happens in a case that arises now."""
        if not self._begins <= seconds < self._ends:
            self._find_storm(seconds)
        if self._storm is None:
            return False
        faults = self._of_kind.get(kind)
        if faults is None:
            faults = self._of_kind[kind] = list(self._faults(kind))
        while faults and faults[0].ends <= seconds:
            faults.pop(0)
        if not faults or faults[0].begins > seconds:
            return False
        fault = faults[0]
        chance = self._chances.get(fault.id)
        if chance is None:
            chance = self._chances[fault.id] = random.Random(f"{self.seed} {fault.id}")
        if chance.random() >= fault.share:
            return False
        self.struck[fault.id] += 1
        self.kinds[kind] += 1
        return True

    def _find_storm(self, seconds: float) -> None:
        """Note whether it storms, and from when to when that is so."""
        self._storm = self.storm_at(seconds)
        if self._storm is not None:
            self._begins, self._ends = self._storm.begins, self._storm.ends
        else:
            self._begins = max((storm.ends for storm in self.storms if storm.ends <= seconds), default=0.0)
            self._ends = min((storm.begins for storm in self.storms if storm.begins > seconds), default=float("inf"))

    def moments(self, kind: str, in_a_storm: float) -> list[tuple[str, float]]:
        """The moments of a fault that happens at moments, about so many in each storm; with their names."""
        found = []
        for storm in self.storms:
            chance = random.Random(f"{self.seed} {kind} {storm.number}")
            for count in range(_about(in_a_storm, chance)):
                name = f"{kind}.{storm.number}.{count}"
                at = chance.uniform(storm.begins, storm.ends)
                if self.only is None or name in self.only:
                    found.append((name, at))
        return sorted(found, key=lambda each: each[1])

    def note(self, name: str) -> None:
        """A fault of `moments` has happened."""
        self.struck[name] += 1
        self.kinds[name.partition(".")[0]] += 1

    def _faults(self, kind: str) -> Iterator[Fault]:
        for storm in self.storms:
            chance = random.Random(f"{self.seed} {kind} {storm.number}")
            takes_part = chance.random() < TAKES_PART
            share = min(MOST_SHARE, self.usual.get(kind, USUAL_CHANCE) * chance.choice(FACTORS))
            ends = sorted(chance.uniform(storm.begins, storm.ends) for _ in range(2))
            name = f"{kind}.{storm.number}"
            if takes_part and (self.only is None or name in self.only):
                yield Fault(name, ends[0], ends[1], share)


def _storms(chance: random.Random, until: float) -> Iterator[Storm]:
    at, number = 0.0, 1
    while True:
        is_long = number > 1 and chance.random() < LONG_SHARE
        begins = at + chance.uniform(*(LONG_CALM_SECONDS if is_long else SHORT_CALM_SECONDS))
        ends = min(begins + chance.uniform(*STORM_SECONDS), until)
        if ends - begins < LEAST_STORM_SECONDS:
            return
        yield Storm(number, begins, ends)
        at, number = ends, number + 1


def _about(mean: float, chance: random.Random) -> int:
    whole = int(mean)
    return whole + (chance.random() < mean - whole) if mean < 1 else chance.randint(0, 2 * whole)
