"""A transaction may be held up before its first write, and others commit meanwhile, beside what it has read.

That is what READ COMMITTED allows, and SQLite never shows. Only one that has locked no row is held up: so who locks
what it decides by is safe, who has forgotten to is not, and nobody ever waits for a lock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Held:
    """The transaction that is held up, one at a time."""

    def __init__(self) -> None:
        self.by: Any = None
        self.hold_up: Callable[[], float] | None = None  # seconds; 0: not now
        self.sleep: Callable[[float], None] = lambda seconds: None
        self.require_alive: Callable[[], None] = lambda: None


held = Held()


def before_read(wrapper: Any, locks: str) -> None:
    """A read in a transaction that has written nothing. `locks`: the table of which it locks rows."""
    held.require_alive()
    if held.by is None and not wrapper.locked and held.hold_up is not None and (seconds := held.hold_up()):
        held.by = wrapper
        try:
            held.sleep(seconds)
        finally:
            held.by = None
    if locks:
        wrapper.locked.add(locks)


def before_first_write() -> None:
    held.require_alive()


def over(wrapper: Any) -> None:
    wrapper.locked.clear()
