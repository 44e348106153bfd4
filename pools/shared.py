"""What is the same for everybody: made at most once a second in each process, however many look on.

Nothing personal belongs here: no visitor's runs, no keys of forms, no tokens. And nothing that is acted on: what is
kept may be a second old, so it is for people to read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import Generic, TypeVar

KEPT_SECONDS = 1.0

T = TypeVar("T")


class Shared(Generic[T]):
    """One thing that many are shown. It is never older than KEPT_SECONDS, counted from when its making began."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._began = 0.0
        self._made: Future[T] | None = None

    def get(self) -> T:
        """Return it as it was within the last second. Who comes while it is made waits for that, and fails with it;
        what failed is not kept."""
        with self._lock:
            made, now = self._made, monotonic()
            if made is None or not 0 <= now - self._began < KEPT_SECONDS or _has_failed(made):
                made, is_mine = Future(), True
                self._made, self._began = made, now
            else:
                is_mine = False
        if is_mine:
            try:
                made.set_result(self._make())
            except BaseException as error:
                made.set_exception(error)
        return made.result()


def _has_failed(made: Future[T]) -> bool:
    return made.done() and made.exception() is not None
