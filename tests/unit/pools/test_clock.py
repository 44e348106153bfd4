"""The product has one clock, and another can be put in its place."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pools import clock

ROOT = Path(__file__).resolve().parents[3]
THEN = datetime(2031, 1, 1, tzinfo=UTC)


class Stopped:
    """It is always the same moment, and waiting takes no time."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return THEN

    def wall(self) -> float:
        return THEN.timestamp()

    def monotonic(self) -> float:
        return 7.0

    def steady(self) -> float:
        return 8.0

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.sleep(seconds)
        return event.is_set()


def test_a_clock_that_is_put_in_place_is_asked_for_everything_and_taken_out_again():
    stopped = Stopped()
    with clock.using(stopped):
        assert (clock.now(), clock.wall(), clock.monotonic(), clock.steady()) == (THEN, THEN.timestamp(), 7.0, 8.0)
        clock.sleep(3600)
        assert clock.wait(threading.Event(), 60) is False
    assert stopped.slept == [3600, 60]
    assert clock.now() != THEN


@pytest.mark.parametrize(
    "line",
    [
        "import time\n\ntime.sleep(1)\n",
        "import time\n\nprint(time.time())\n",
        "from time import monotonic\n\nprint(monotonic())\n",
        "from django.utils import timezone\n\nprint(timezone.now())\n",
        "from datetime import UTC, datetime\n\nprint(datetime.now(UTC))\n",
    ],
)
def test_who_asks_the_machine_for_the_time_is_told_by_lint(line: str):
    ruff = [sys.executable, "-m", "ruff", "check", "--select", "TID251", "--stdin-filename", "runs/example.py", "-"]
    found = subprocess.run(ruff, cwd=ROOT, input=line, capture_output=True, text=True, check=False)
    assert found.returncode == 1, found.stderr
    assert "Ask pools.clock." in found.stdout
