"""One worker of each cluster is for turns and the clean-up alone: installs that take minutes never keep them waiting.

The cluster fetches a task of the common queue only while fewer of these are with its workers than there are workers
besides the reserved one. A task is with them from its fetch until its row is gone. One whose result was lost stays
for ten minutes, so the guard, which sees how many workers are busy, tells how many tasks there can be at most.
"""

from __future__ import annotations

import mmap
from collections.abc import Collection, Iterable
from ctypes import c_uint64
from dataclasses import dataclass

RESERVED_WORKERS = 1
SAMPLES_TO_ARRIVE = 3  # of the guard, two a second: by then a fetched task is in the queue of the workers, or with one

# Shared with the processes that are forked from this one.
_shared = mmap.mmap(-1, mmap.PAGESIZE)
_busy = c_uint64.from_buffer(_shared, 0)
_samples = c_uint64.from_buffer(_shared, 8)
_is_full = c_uint64.from_buffer(_shared, 16)


@dataclass(frozen=True, slots=True)
class Sample:
    """What the guard saw last: `busy` are the workers at work and the tasks that wait for one."""

    busy: int
    number: int


def note_busy(busy: int) -> None:
    """The guard has looked."""
    _busy.value, _samples.value = busy, _samples.value + 1


def last_sample() -> Sample:
    return Sample(_busy.value, _samples.value)


def note_full(*, is_full: bool) -> None:
    """Tell the guard whether tasks of the common queue are left there on purpose."""
    _is_full.value = is_full


def is_full() -> bool:
    return bool(_is_full.value)


class Reserve:
    """The tasks of the common queue that are with this cluster's workers."""

    def __init__(self, workers: int) -> None:
        self.most = max(1, workers - RESERVED_WORKERS)
        self._fetched: dict[int, int] = {}  # each task's id, and the number of the guard's sample at its fetch

    @property
    def ids(self) -> Collection[int]:
        return self._fetched.keys()

    def add(self, ids: Iterable[int], sample: Sample) -> None:
        self._fetched |= dict.fromkeys(ids, sample.number)

    def has_room(self, unfinished: Collection[int], sample: Sample) -> bool:
        """Whether one more may be fetched. `unfinished`: those whose rows are still there."""
        self._fetched = {pk: number for pk, number in self._fetched.items() if pk in unfinished}
        arrived = [pk for pk, number in self._fetched.items() if sample.number - number >= SAMPLES_TO_ARRIVE]
        for pk in arrived[: max(0, len(arrived) - sample.busy)]:
            del self._fetched[pk]  # more than there are workers at work: theirs were killed
        return len(self._fetched) < self.most
