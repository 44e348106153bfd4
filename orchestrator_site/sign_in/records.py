"""What is written down about signing in: to the orchestrator log, and with it to the process's own."""

from __future__ import annotations

from datetime import datetime, timedelta

from orchestrator_site.sign_in.addresses import told
from orchestrator_site.sign_in.reasons import SignInCode
from pools import clock, journal
from pools.cloud.fitting import fitted
from pools.models import FleetEvent, Level
from pools.reasons import LogKind

SHOWN_CHARACTERS = 60
FLOOD_WITHIN = timedelta(minutes=10)
FLOOD_LINES = 30  # of failures within that time; what comes beyond is only counted


def shown(text: str, most: int = SHOWN_CHARACTERS) -> str:
    """What somebody sent, cut, and with nothing in it that ends a line or steers a terminal."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in fitted(text, most))


def signed_in(account: str, network: str | None, *, has_given_code: bool) -> None:
    how = "password and code" if has_given_code else "password"
    message = f"{shown(account)} signed in from {told(network)} ({how})"
    _write(message, SignInCode.SIGNED_IN, account=account, network=network, actor=account)


def failed(
    account: str,
    network: str | None,
    code: SignInCode,
    now: datetime,
    *,
    lock: tuple[SignInCode, datetime] | None,
) -> None:
    """One line; a lock that comes of it is told in the same. In a flood there are no more lines, but one that says so.

    Call it last in a transaction, as `journal.record`.
    """
    lately = FleetEvent.objects.filter(at__gt=now - FLOOD_WITHIN, kind=LogKind.SIGN_IN, level=Level.WARNING).order_by()
    lines = lately.count()
    if lines > FLOOD_LINES:
        return
    if lines == FLOOD_LINES:
        message = f"more sign-ins fail than {FLOOD_LINES} in ten minutes: more are counted, and not logged one by one"
        _write(message, SignInCode.MANY, level=Level.WARNING, now=now)
        return
    message = f"a sign-in as {shown(account)} from {told(network)} failed: {code.label}"
    if lock is not None:
        code, ends_at = lock
        message += f"; {code.label} is locked until {ends_at:%H:%M} UTC"
    _write(message, code, account=account, network=network, level=Level.WARNING, now=now)


def changed(account: str, code: SignInCode, how: str, *, network: str | None = None, actor: str) -> None:
    """Something about how an account signs in."""
    _write(f"{code.label} for {shown(account)}: {how}", code, account=account, network=network, actor=actor)


def _write(
    message: str,
    code: SignInCode,
    *,
    account: str = "",
    network: str | None = None,
    actor: str = "",
    level: str = Level.INFO,
    now: datetime | None = None,
) -> None:
    data = {"account": shown(account), "address": network or ""} if account else {}
    journal.record(
        LogKind.SIGN_IN, message, code=code, level=level, actor=fitted(actor, 150), data=data, now=now or clock.now()
    )
