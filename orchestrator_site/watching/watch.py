"""A thread of each web process that looks every few seconds: when no cluster lives, nobody else can tell of it. Then it
also sends what was queued to be told, which is a worker's work otherwise."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta
from smtplib import SMTPException

from django.db import DatabaseError, InterfaceError, connections

from orchestrator_site.processes.starts import note_start
from orchestrator_site.watching import sights
from orchestrator_site.watching.outage import Outage
from pools import alarm_mail, alarms, clock, stopping
from pools.leases import prove_writable
from runs.webhooks import courier

logger = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
GAP_SECONDS = 30.0  # between two looks: this machine slept, and so did everybody on it

_begun = threading.Lock()


def begin() -> None:
    """Watch for as long as this process serves."""
    if _begun.acquire(blocking=False):
        threading.Thread(target=_watch, name="alarm watch", daemon=True).start()


def _watch() -> None:
    note_start("web")
    watch, pause = Watch(), threading.Event()
    while not stopping.is_announced():
        pause.wait(LOOK_SECONDS)
        try:
            watch.look(clock.now(), clock.steady())
        except Exception:  # whatever it is, somebody has to watch on
            logger.exception("The watch could not look.")
        finally:
            connections.close_all()


class Watch:
    def __init__(self) -> None:
        self.outage = Outage()
        self._since_seconds: float | None = None  # for so long a cluster could have given a sign of life
        self._looked_at_seconds = 0.0
        self._messenger = threading.Thread()

    def look(self, now: datetime, steady: float) -> None:
        """See how things stand, and tell what began or ended."""
        has_slept, self._looked_at_seconds = steady - self._looked_at_seconds > GAP_SECONDS, steady
        try:
            prove_writable()
        except (DatabaseError, InterfaceError) as error:
            self._since_seconds = None
            self.outage.go_on(error, now)
            return
        if has_slept or self._since_seconds is None:
            self._since_seconds = steady
        self.outage.prepare()
        self.outage.settle(now)
        watched = timedelta(seconds=steady - self._since_seconds)
        silent = sights.of_clusters(now) if watched >= sights.SILENT_AFTER else []
        alarms.confirm([*sights.of_disk(), *silent], now)
        if watched >= sights.SILENT_AFTER + alarms.CONFIRMED_FOR:  # before that nobody could have confirmed it
            alarms.end_unconfirmed(now)
        if silent:
            self._send_for_the_cluster()

    def _send_for_the_cluster(self) -> None:
        """In a thread of its own: a receiver may hang."""
        if not self._messenger.is_alive():
            self._messenger = threading.Thread(target=send_what_is_queued, name="alarm messenger", daemon=True)
            self._messenger.start()


def send_what_is_queued() -> None:
    """What a worker would send. Rows are taken one by one, so none is sent twice when a worker comes back meanwhile."""
    try:
        alarm_mail.send_due(clock.now())
    except (SMTPException, OSError) as error:
        logger.warning("E-mails about alarms could not be sent: %s", error)
    except DatabaseError as error:
        logger.warning("E-mails about alarms can't be read: %s", error)
    try:
        courier.deliver()
    except DatabaseError as error:
        logger.warning("Webhooks can't be told: %s", error)
    finally:
        connections.close_all()
