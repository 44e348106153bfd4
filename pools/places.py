"""The places of the fleet: how many there may be, what takes them, and how many are free. Everybody who counts places
counts them here: the plan, the door for new sandboxes, the pages, the API and the metrics."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from pools.models import Fleet


@dataclass(frozen=True, slots=True)
class Places:
    """`sandboxes` are ours that are not known to be gone, `others` another installation's apps under our mark,
    `orphans` our apps without a record: the account holds them all. `promised` are for launches that wait."""

    most: int
    sandboxes: int
    others: int = 0
    orphans: int = 0
    promised: int = 0

    @classmethod
    def of(cls, fleet: Fleet, sandboxes: int, promised: int = 0) -> Places:
        """As the fleet's row has the rest, from the last turn."""
        return cls(settings.MAX_TOTAL_SANDBOXES, sandboxes, fleet.others, fleet.orphans, promised)

    @property
    def taken(self) -> int:
        return self.sandboxes + self.others + self.orphans

    @property
    def left(self) -> int:
        """How many are free and promised to nobody; below zero when more is taken or promised than there is."""
        return self.most - self.taken - self.promised

    @property
    def free(self) -> int:
        return max(0, self.left)

    @property
    def what(self) -> str:
        """Return what takes them, where it is not sandboxes alone: 3 sandboxes, 2 orphans."""
        orphans = f"{self.orphans} orphan{'s' if self.orphans > 1 else ''}"
        sandboxes = f"{self.sandboxes} sandbox{'' if self.sandboxes == 1 else 'es'}"
        rest = [(self.orphans, orphans), (self.others, f"{self.others} of another installation")]
        more = [words for count, words in rest if count]
        return ", ".join([sandboxes, *more]) if more else ""

    @property
    def sentence(self) -> str:
        """Return the count as people read it: 5 of 8 places taken (3 sandboxes, 2 orphans)."""
        what = f" ({self.what})" if self.what else ""
        return f"{self.taken:,} of {self.most:,} places taken{what}"
