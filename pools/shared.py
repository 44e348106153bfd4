"""What is the same for everybody: made once for all who look on in a process, at most once a second.

Nothing personal belongs here: no visitor's runs, no keys of forms, no tokens. And nothing that is acted on: what is
kept may be old, so it is for people to read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from pools import clock

KEPT_SECONDS = 1.0

T = TypeVar("T")


def for_a_second(_made: object) -> float:
    return KEPT_SECONDS


def for_a_minute(_made: object) -> float:
    """What costs much and changes little."""
    return 60 * KEPT_SECONDS


class Shared(Generic[T]):
    """One thing that many are shown. It is never older than what `kept_seconds` says of it, counted from when its
    making began."""

    def __init__(self, make: Callable[[], T], kept_seconds: Callable[[T], float] = for_a_second) -> None:
        self._make, self._kept_seconds = make, kept_seconds
        self._lock = threading.Lock()
        self._began = 0.0
        self._made: Future[T] | None = None

    def get(self) -> T:
        """Return it as it is kept, or make it. Who comes while it is made waits for that, and fails with it; what
        failed is not kept."""
        with self._lock:
            made, now = self._made, clock.monotonic()
            is_mine = made is None or not self._is_kept(made, now - self._began)
            if made is None or is_mine:
                made = Future()
                self._made, self._began = made, now
        if is_mine:
            try:
                made.set_result(self._make())
            except BaseException as error:
                made.set_exception(error)
        return made.result()

    def forget(self) -> None:
        """Have it made anew for whoever comes from now on; what is just being made is from before."""
        with self._lock:
            self._made = None

    def _is_kept(self, made: Future[T], age_seconds: float) -> bool:
        if not made.done():
            return True
        return made.exception() is None and 0 <= age_seconds < self._kept_seconds(made.result())


def sparingly(make: Callable[[], T], times: float = 50) -> Callable[[], T]:
    """`make`, for what is dear where there is much: what it made is returned for so many times as long as it took, and
    for a second at least, so that all who ask take a fiftieth of a processor together."""

    def timed() -> tuple[T, float]:
        began = clock.monotonic()
        return make(), clock.monotonic() - began

    shared = Shared(timed, lambda made: max(KEPT_SECONDS, times * made[1]))
    return lambda: shared.get()[0]
