"""A cluster all of whose processes are sent SIGTERM at once stops as one whose leader alone is: systemd does so by
default, `kill -- -PGID` and Ctrl-C's kin as well. The leader says that the cluster stops; the others end then as they
do, and not in the middle of a task. One that is meant alone ends."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

from django_q.cluster import Cluster, Sentinel

from pools import clock, stopping

LEADER_SECONDS = 1.0  # by then the leader has had its own signal, if it was sent one
LOOK_SECONDS = 0.01


def heed(number: int, _frame: FrameType | None) -> None:
    """A signal to another process than the leader."""
    until = clock.monotonic() + LEADER_SECONDS
    while clock.monotonic() < until:
        if stopping.is_announced():
            return
        clock.sleep(LOOK_SECONDS)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


class PoliteCluster(Cluster):  # type: ignore[misc]  # django-q has no types
    """The leader."""

    def sig_handler(self, signum: int, frame: Any) -> None:
        stopping.announce()
        super().sig_handler(signum, frame)


class PoliteSentinel(Sentinel):  # type: ignore[misc]
    """The guard; whom it forks heeds signals as it does."""

    def start(self) -> None:
        signal.signal(signal.SIGTERM, heed)
        super().start()
