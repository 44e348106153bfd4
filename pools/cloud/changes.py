"""Requests that change something in the cloud are sent only while whoever decided on them may still act.

The cloud knows no fence: what is sent is done. So the holder is asked right before each of them, however long ago it
decided, and in whichever thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

CHANGES = frozenset({"create", "delete"})  # pydo's names

_require: ContextVar[Callable[[], None] | None] = ContextVar("require", default=None)


@contextmanager
def only_while(require: Callable[[], None]) -> Iterator[None]:
    """`with only_while(tenure.require):` calls it before each request of the block that changes something, also in
    threads that have this context. What it raises is raised, and nothing is sent."""
    before = _require.set(require)
    try:
        yield
    finally:
        _require.reset(before)


def require_for(operation: str) -> None:
    """Return when the operation may be sent; raises what the holder's `require` raises."""
    require = _require.get()
    if require is not None and operation in CHANGES:
        require()
