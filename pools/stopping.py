"""Whether this process was asked to stop. What it has begun is then finished soon or handed back, and nothing long is
begun. The processes that are forked from one know it together, as those of a Django-Q cluster do."""

from __future__ import annotations

import mmap
from ctypes import c_uint64

_shared = mmap.mmap(-1, mmap.PAGESIZE)
_announced = c_uint64.from_buffer(_shared, 0)


class Stopping(Exception):
    """This process stops: what it has in hand is for another one."""


def announce() -> None:
    """From now on this process, and all that are forked from it, are to stop."""
    _announced.value = 1


def is_announced() -> bool:
    return bool(_announced.value)


def require_time() -> None:
    """Raises Stopping once this process was asked to stop."""
    if is_announced():
        raise Stopping
