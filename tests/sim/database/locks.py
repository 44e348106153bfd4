"""Who waits for whom: a transaction may be held up before its first write, and what it has locked stays locked.

One is held up at a time. The others go on meanwhile: they commit beside what it has read, as under READ COMMITTED,
unless they want what it has locked; then they wait until it is over. That is told by table, and so sometimes more than
PostgreSQL would make wait, which only leaves out a few orders of events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import OperationalError


class Held:
    """The transaction that is held up; what it has locked; and who waits until it is over."""

    def __init__(self) -> None:
        self.by: Any = None
        self.hold_up: Callable[[], float] | None = None  # seconds; 0: not now
        self.sleep: Callable[[float], None] = lambda seconds: None
        self.require_alive: Callable[[], None] = lambda: None
        self.deadlock: Callable[[str], None] = lambda table: None
        self.written: dict[str, int] = {}

    def note_write(self, table: str) -> None:
        self.written[table] = self.written.get(table, 0) + 1


WAIT_SECONDS = 0.002
held = Held()


def before_read(wrapper: Any, locks: str) -> None:
    """A read in a transaction that has written nothing. `locks`: the table of which it locks rows."""
    held.require_alive()
    if held.by is None and held.hold_up is not None and (seconds := held.hold_up()):
        held.by = wrapper
        try:
            held.sleep(seconds)
        finally:
            held.by = None
    if locks:
        _wait(wrapper, locks)
        wrapper.locked.add(locks)


def before_first_write(wrapper: Any) -> None:
    """From here on the transaction is not held up any more, and so waits for all that is locked."""
    held.require_alive()
    _wait(wrapper, "")


def before_write(wrapper: Any, table: str) -> None:
    """One write outside of a transaction."""
    if held.by is not None:
        _wait(wrapper, table)


def over(wrapper: Any) -> None:
    wrapper.locked.clear()


def _wait(wrapper: Any, table: str) -> None:
    """Until the one that is held up has not locked that table; any, where none is named."""
    if held.by is None or held.by is wrapper:
        return
    before = {mine: held.written.get(mine, 0) for mine in wrapper.locked}
    while held.by is not None and (table in held.by.locked if table else held.by.locked):
        held.sleep(WAIT_SECONDS)
    for mine, count in before.items():
        if held.written.get(mine, 0) != count:
            held.deadlock(mine)
            raise OperationalError(f"deadlock detected: rows of {mine} were written while they were locked")
