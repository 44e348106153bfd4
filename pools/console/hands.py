"""To take an alarm in hand: who and when is shown to the others, and kept in the log. The alarm goes on until its cause
ends; when it comes again, somebody has to take it in hand again."""

from __future__ import annotations

from datetime import datetime

from django.db import IntegrityError, transaction

from pools import journal
from pools.alarm_rows import AlarmCode, AlarmInHand, RaisedAlarm
from pools.console.operations import Refused
from pools.reasons import LogKind


def raised(occurrence: str) -> RaisedAlarm | None:
    """The alarm that stands by that name."""
    return next((alarm for alarm in RaisedAlarm.objects.all() if alarm.occurrence == occurrence), None)


def take(occurrence: str, title: str, *, actor: str, now: datetime, code: str = "", pool_name: str = "") -> str:
    """Write down that `actor` has it. Refused when somebody has it already. Which machine the title names is for
    operators: the line has what the code says."""
    try:
        with transaction.atomic():
            AlarmInHand.objects.create(occurrence=occurrence, title=title, by=actor, at=now)
            # Everybody may read the line: its words name nobody.
            said = AlarmCode(code).label if code in AlarmCode.values else ""
            about = f" (pool {pool_name})" if said and pool_name else ""
            message = (
                f"an operator has the alarm in hand: {said}{about}" if said else "an operator has an alarm in hand"
            )
            journal.record(LogKind.IN_HAND, message, code=code, actor=actor, now=now, data={"alarm": occurrence})
    except IntegrityError:
        has = AlarmInHand.objects.get(pk=occurrence)
        raise Refused(f"{has.by} has had it since {has.at:%H:%M:%S} UTC.") from None
    return f"You have it: {title}"
