"""How far a long command has come: one line on the terminal, and nothing where there is none."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeVar

from pools import clock

TELL_SECONDS = 0.5
FIRST_SECONDS = 1.0  # what takes less needs no line
LINE_CHARACTERS = 79
CLEAR = "\r\x1b[K"

Item = TypeVar("Item")


class Progress:
    """What is being done, and how many of what are done."""

    def __init__(self, what: str, unit: str = "") -> None:
        self.what, self.unit = what, unit
        self.done, self.of = 0, 0

    def count(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items as they come, counted."""
        for item in items:
            yield item
            self.done += 1

    def line(self, seconds: float) -> str:
        """Such as "Exporting: 12,400 rows, 8 s"."""
        so_far = f"{self.done:,} of {self.of:,}" if self.of else f"{self.done:,}"
        counted = f": {so_far} {self.unit}," if self.unit else ","
        return f"{self.what}{counted} {seconds:.0f} s"[:LINE_CHARACTERS]


@contextmanager
def progress(what: str, unit: str = "", stream: TextIO | None = None) -> Iterator[Progress]:
    """Tell it on standard error while the block runs, if that is a terminal; the line is gone when it ends."""
    stream = stream or sys.stderr
    made, over = Progress(what, unit), threading.Event()
    if not stream.isatty():
        yield made
        return
    teller = threading.Thread(target=_tell, args=(made, stream, over), daemon=True)
    teller.start()
    try:
        yield made
    finally:
        over.set()
        teller.join()


def _tell(made: Progress, stream: TextIO, over: threading.Event) -> None:
    began, has_told = clock.monotonic(), False
    pause_seconds = FIRST_SECONDS
    while not over.wait(pause_seconds):
        stream.write(CLEAR + made.line(clock.monotonic() - began))
        stream.flush()
        has_told, pause_seconds = True, TELL_SECONDS
    if has_told:
        stream.write(CLEAR)
        stream.flush()
