"""What is counted of how games come into sandboxes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pools import clock
from pools.meters import LONG_SECONDS, Histogram

RESTORE, CLONE, INSTALL, START, ANSWER = STEPS = ("restore", "clone", "install", "start", "answer")
STEP_SECONDS = Histogram(
    "deploy_step_seconds",
    "How long the steps took that bring a game up, in a launch's sandbox or for a snapshot, if they succeeded: restore "
    "a snapshot, or clone and install the source; start the game; wait until it answers.",
    LONG_SECONDS,
    step=STEPS,
)


@contextmanager
def timed(step: str) -> Iterator[None]:
    """Note how long it takes, if it succeeds."""
    began = clock.monotonic()
    yield
    STEP_SECONDS.note(clock.monotonic() - began, step)
