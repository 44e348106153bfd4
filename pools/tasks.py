"""The fleet's tasks in Django-Q."""

from __future__ import annotations

from django.conf import settings
from django.core.mail import send_mail
from django.db import InterfaceError, OperationalError, close_old_connections

from pools import alarm_mail, clock, leases, stopping
from pools.models import Fleet
from pools.nudge import nudge
from pools.stopping import Stopping
from pools.tenure import kept
from pools.turn.reconciler import LEASE_SECONDS, turn_when_free

LOOP_SECONDS = 55.0  # up to the next scheduled one
LOOK_SECONDS = 0.5
DATABASE_PAUSE_SECONDS = 1.0  # before a database that went is tried again
NUDGE_WAITS_SECONDS = 2.0  # for a worker of its own
PATIENCE_SECONDS = 20.0


def reconcile() -> None:
    """Take a turn, and further ones while something is in flight. Scheduled every minute and queued by `nudge`.

    However many of these run, turns are taken one at a time (the lease "turn") and one of them goes on (the lease
    "turns"); the others end after their first. In a process that stops, it asks another one to. When the database goes
    in the middle of it, what was asked for is still wanted: nobody asks again while the row says that a turn is queued.
    """
    until = clock.monotonic() + LOOP_SECONDS
    while True:
        try:
            return _reconcile(until)
        except (OperationalError, InterfaceError):
            if clock.monotonic() > until:
                raise
            clock.sleep(DATABASE_PAUSE_SECONDS)
            close_old_connections()


def _reconcile(until: float) -> None:
    try:
        if not _turn_when_free():
            return
        # Again, because another's turn may have wanted the next one just when we let go.
        while _due_in_seconds(until) is not None:
            with leases.hold("turns", LEASE_SECONDS) as loop, kept(loop.is_renewed, LEASE_SECONDS):
                _go_on(loop, until)
    except Stopping:
        nudge()
    except (leases.LeaseHeld, leases.LeaseLost):
        return


def send_alarm_mails() -> None:
    """Write to those whom alarms are for. What fails is tried again later, for about a day."""
    alarm_mail.send_due(clock.now())


def mail(subject: str, text: str, _failures: int = 0) -> None:
    """The same, as a former version has queued it."""
    send_mail(subject, text, None, settings.ALERT_EMAILS)


def _go_on(loop: leases.Held, until: float) -> None:
    """Turns as they become due. The row says when, not our own last turn: one that was nudged may have found something
    to do sooner. A nudge that nobody takes for a while, because all others are at work, is taken here. Raises
    Stopping."""
    heeded_at_seconds = clock.monotonic()
    while (due_in_seconds := _due_in_seconds(until)) is not None:
        stopping.require_time()
        if not Fleet.get().nudged:
            heeded_at_seconds = clock.monotonic()
        if due_in_seconds > 0 and clock.monotonic() - heeded_at_seconds < NUDGE_WAITS_SECONDS:
            clock.sleep(min(due_in_seconds, LOOK_SECONDS))
        elif _turn_when_free():
            loop.renew()


def _due_in_seconds(until: float) -> float | None:
    """Return the seconds until the next turn is due, 0 when it is; None when that is after `until` or not known."""
    due_at = Fleet.get().due_at
    if due_at is None:
        return None
    seconds = max(0.0, (due_at - clock.now()).total_seconds())
    return seconds if clock.monotonic() + seconds < until else None


def _turn_when_free() -> bool:
    """One turn, after the one that is being taken now; False when that one does not end."""
    try:
        turn_when_free(PATIENCE_SECONDS)
    except leases.LeaseHeld:
        return False
    return True
