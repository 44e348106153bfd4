"""Long commands tell how far they have come, on a terminal and nowhere else."""

from __future__ import annotations

import io
import time

import pytest

from pools.management import progress as module
from pools.management.progress import CLEAR, Progress, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_says_what_is_done_and_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(module, "TELL_SECONDS", 0.01)
    terminal = Terminal()
    with progress("Exporting", "rows", terminal) as told:
        assert list(told.count("abc")) == ["a", "b", "c"]
        give_up_at = time.monotonic() + 60
        while "3 rows" not in terminal.getvalue() and time.monotonic() < give_up_at:
            time.sleep(0.01)
    said = terminal.getvalue()
    assert f"{CLEAR}Exporting: 3 rows, 0 s" in said
    assert said.endswith(CLEAR)


def test_what_is_short_says_nothing():
    terminal = Terminal()
    with progress("Exporting", "rows", terminal):
        pass
    assert terminal.getvalue() == ""


def test_without_a_terminal_nothing_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.0)
    stream = io.StringIO()
    with progress("Exporting", "rows", stream) as told:
        list(told.count(range(5)))
    assert stream.getvalue() == ""


def test_a_line_fits_and_counts_up_to_what_there_is():
    told = Progress("Importing", "rows")
    told.done, told.of = 12_400, 20_000
    assert told.line(8.2) == "Importing: 12,400 of 20,000 rows, 8 s"
    assert len(Progress("x" * 200).line(1)) == 79
