"""How many launches of a process are worked on at once.

Threads of one process share one processor. Thirty launches that are worked on at once all end when the last one does,
and the pages of those that have ended wait with them. Two at a time, the first player plays after a fiftieth of the
time, and nobody later.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

AT_ONCE = 2  # while one waits for the database, another has the processor
PATIENCE_SECONDS = 5.0


class Turnstile:
    """Lets so many through at once, in the order in which they came. It only spaces them out: whoever has waited for
    too long goes on."""

    def __init__(self, places: int = AT_ONCE, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._free = places
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._back: deque[threading.Event] = deque()  # before all of those

    @contextmanager
    def passed(self, *, is_back: bool = False) -> Iterator[None]:
        """Hold a place. `is_back`: who was in before and has waited for something else meanwhile goes first."""
        self._take(is_back)
        try:
            yield
        finally:
            self._leave()

    def _take(self, is_back: bool) -> None:
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return
            turn = threading.Event()
            queue = self._back if is_back else self._waiting
            queue.append(turn)
        if turn.wait(self._patience_seconds):
            return
        with self._lock:
            if turn in queue:
                queue.remove(turn)
                self._free -= 1  # one more than there are places, until somebody leaves

    def _leave(self) -> None:
        with self._lock:
            queue = self._back or self._waiting
            if queue and self._free >= 0:
                queue.popleft().set()  # the place changes hands
            else:
                self._free += 1


launches = Turnstile()
