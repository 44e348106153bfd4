"""What the simulated account, the agents and the players know of the world they live in."""

import random
from datetime import datetime
from typing import Protocol


class Killed(BaseException):
    """The simulated process that runs this code is gone; nothing may catch it."""


class World(Protocol):
    rng: random.Random  # the only source of chance

    def now(self) -> datetime:
        """The true time, aware, in UTC; the clocks of processes may differ from it."""

    def point(self, what: str) -> None:
        """Here another process may go on, and this one may be paused for long, or be killed (raises Killed)."""

    def sleep(self, seconds: float) -> None:
        """This process waits in simulated time."""

    def strikes(self, fault: str) -> bool:
        """Whether the seed has that fault happen here; it is logged, numbered and covered."""

    def log(self, line: str) -> None:
        """One line of the run's log: byte for byte the same at each replay."""
