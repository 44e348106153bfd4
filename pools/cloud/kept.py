"""Connections that are kept for the next request, for each address apart.

httpcore looks at every connection of a pool, several times, whenever a request comes or goes. In one pool for all
sandboxes that took longer than everything else about a request.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pools import clock

Pool = TypeVar("Pool")


@dataclass(slots=True)
class _Kept(Generic[Pool]):
    pool: Pool
    users: int = 0
    used_at_seconds: float = 0.0


class KeptPools(Generic[Pool]):
    """A pool of connections for each address, made when it is first asked for. Thread-safe."""

    def __init__(self, make: Callable[[], Pool], *, idle_seconds: float, most: int) -> None:
        self._make, self._idle_seconds, self._most = make, idle_seconds, most
        self._kept: OrderedDict[str, _Kept[Pool]] = OrderedDict()  # what was used last is last
        self._lock = threading.Lock()

    def take(self, origin: str) -> tuple[Pool, list[Pool]]:
        """The pool for this address, in use until `give_back`; and those that nobody has used for `idle_seconds`, or
        that are more than `most`, which the caller is to close: they are forgotten here."""
        now_seconds = clock.monotonic()
        with self._lock:
            kept = self._kept.get(origin)
            if kept is None:
                kept = self._kept[origin] = _Kept(self._make())
            kept.users += 1
            self._touch(origin, kept, now_seconds)
            return kept.pool, self._unused(now_seconds)

    def give_back(self, origin: str) -> None:
        with self._lock:
            kept = self._kept[origin]
            kept.users -= 1
            self._touch(origin, kept, clock.monotonic())

    def _touch(self, origin: str, kept: _Kept[Pool], now_seconds: float) -> None:
        kept.used_at_seconds = now_seconds
        self._kept.move_to_end(origin)

    def _unused(self, now_seconds: float) -> list[Pool]:
        unused = []
        for _ in range(len(self._kept)):
            origin, oldest = next(iter(self._kept.items()))
            is_old = oldest.used_at_seconds < now_seconds - self._idle_seconds
            if not is_old and len(self._kept) <= self._most:
                break
            if oldest.users:
                self._touch(origin, oldest, now_seconds)
            else:
                unused.append(self._kept.pop(origin).pool)
        return unused
