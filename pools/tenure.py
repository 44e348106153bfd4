"""A lease that is kept while its holder works, so that it can be short: a holder that died or froze is noticed soon.

A thread renews it. The holder calls `require` before each thing that it does, in whichever of its threads: one that was
held up for longer than its lease finds out there whether somebody else has taken over, before it touches anything.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import Error, connections

from pools import clock

LEASE_SECONDS = 15.0
RENEW_SECONDS = 4.0  # three tries within a lease
TRIES = 4  # within a lease of another length

logger = logging.getLogger(__name__)


class TenureLost(Exception):
    """Somebody else may work on it by now: do nothing more."""


class Tenure:
    """The right to go on. `renew` keeps the lease for another term and says whether it is still this holder's."""

    def __init__(self, renew: Callable[[], bool], lease_seconds: float) -> None:
        self._renew = renew
        self._lease_seconds = lease_seconds
        self._lock = threading.Lock()
        self._owner = threading.current_thread()
        self._renewed_at_seconds = clock.steady()
        self.is_lost = False

    def renew(self) -> None:
        """Keep it, if it is still ours. A database that does not answer settles nothing."""
        with self._lock:
            began = clock.steady()
            try:
                if not self._renew():
                    self.is_lost = True
            except Error as error:
                logger.warning("A lease could not be renewed: %s", error)
                if threading.current_thread() is not self._owner:
                    connections.close_all()  # what broke stays broken, and nobody else looks after this thread's
            else:
                self._renewed_at_seconds = began

    def require(self) -> None:
        """Return while the lease is this holder's; raises TenureLost when it is not, or when nobody can say."""
        if not self.is_lost and self._has_run_out():
            self.renew()  # this process was held up, and its thread with it
            if threading.current_thread() is not self._owner:
                connections.close_all()  # opened for this
        if self.is_lost or self._has_run_out():
            raise TenureLost

    def _has_run_out(self) -> bool:
        return clock.steady() - self._renewed_at_seconds >= self._lease_seconds


@contextmanager
def kept(renew: Callable[[], bool], lease_seconds: float | None = None) -> Iterator[Tenure]:
    """`with kept(renew) as tenure:` renews the lease, which was just taken (for LEASE_SECONDS, or as long as is said),
    until the block ends or it is lost."""
    tenure, done = Tenure(renew, LEASE_SECONDS if lease_seconds is None else lease_seconds), threading.Event()
    pause_seconds = RENEW_SECONDS if lease_seconds is None else lease_seconds / TRIES

    def keep() -> None:
        try:
            while not tenure.is_lost and not clock.wait(done, pause_seconds):
                tenure.renew()
        finally:
            connections.close_all()  # this thread's own

    thread = threading.Thread(target=keep, name="tenure", daemon=True)
    thread.start()
    try:
        yield tenure
    finally:
        done.set()
        thread.join(LEASE_SECONDS)
