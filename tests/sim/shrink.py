"""Fewer faults that still make a run fail: found by leaving some out, first many at once, then one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def shrunk(faults: Sequence[str], fails: Callable[[Sequence[str]], bool], most_runs: int) -> list[str]:
    """Return a shorter list with which it still fails, after so many trials at most (delta debugging)."""
    kept, pieces, runs = list(faults), 2, 0
    while len(kept) >= 1 and runs < most_runs:
        size = max(1, len(kept) // pieces)
        for start in range(0, len(kept), size):
            rest = kept[:start] + kept[start + size :]
            runs += 1
            if fails(rest):
                kept, pieces = rest, max(pieces - 1, 2)
                break
            if runs >= most_runs:
                return kept
        else:
            if size == 1:
                return kept
            pieces = min(len(kept), 2 * pieces)
    return kept
