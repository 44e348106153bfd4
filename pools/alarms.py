"""Alarms for those who do not look at the admin: each is a line of the log when it begins and when it ends, from which
webhooks hear of it, and an e-mail to ALERT_EMAILS. Who finds one is `pools.turn.alarm_watch`, and beside the turns
whoever serves pages (`orchestrator_site.watching`): what no turn can see lasts while somebody confirms it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from pools import alarm_mail, journal
from pools.alarm_rows import SUBJECT_CHARACTERS, AlarmCode, AlarmInHand, RaisedAlarm, occurrence_of
from pools.models import Level, Pool
from pools.reasons import LogKind
from pools.runbook import SECTION_OF

FLEET_PAGE = "/admin/pools/fleet/"
CONFIRMED = (AlarmCode.CLUSTER_SILENT, AlarmCode.DISK_LOW, AlarmCode.DISK_FULL, AlarmCode.DATABASE_UNWRITABLE)
CONFIRMED_FOR = timedelta(seconds=45)  # some looks of whoever watches


@dataclass(frozen=True, slots=True)
class Standing:
    """An alarm as things are. Everybody may read `detail`; what machine it is about is for operators."""

    code: AlarmCode
    detail: str
    pool_name: str = ""
    host: str = ""

    @property
    def subject(self) -> str:
        about = self.pool_name or self.host
        room = SUBJECT_CHARACTERS - len(self.code) - 1
        return f"{self.code}:{about[-room:]}" if about else self.code.value  # the ends of machines' names differ

    def row(self, now: datetime) -> RaisedAlarm:
        """As it is kept, when it begins now."""
        return RaisedAlarm(
            subject=self.subject, code=self.code, pool_name=self.pool_name, host=self.host, detail=self.detail,
            raised_at=now, seen_at=now,
        )  # fmt: skip


def sentence_of(alarm: RaisedAlarm) -> str:
    """How its beginning is told."""
    return f"ALARM: {AlarmCode(alarm.code).label}. {alarm.detail}".strip()


def data_of(alarm: RaisedAlarm) -> dict[str, Any]:
    """What programs and operators are told beside it: where it is taken in hand, and what to do about it."""
    occurrence = occurrence_of(alarm.subject, alarm.raised_at)
    told = {
        "alarm": occurrence,
        "alarm_url": f"{settings.PUBLIC_URL}{FLEET_PAGE}#alarm-{occurrence}",
        "runbook_url": settings.PUBLIC_URL + SECTION_OF[AlarmCode(alarm.code)].url,
    }
    return told | ({"host": alarm.host} if alarm.host else {})


def letter_of(alarm: RaisedAlarm) -> str:
    """The e-mail about its beginning."""
    told = data_of(alarm)
    return (
        f"{alarm.title}\n{alarm.detail}\n\nSince {alarm.raised_at:%Y-%m-%d %H:%M:%S} UTC.\n\n"
        f"Say that you have it: {told['alarm_url']}\nWhat to do: {told['runbook_url']}\n"
    )


def begin(standing: Standing, now: datetime) -> bool:
    """Tell of an alarm that began. False when that was told."""
    alarm = standing.row(now)
    try:
        with transaction.atomic():
            alarm.save(force_insert=True)
            alarm_mail.write(alarm.title, letter_of(alarm), now)
            note_beginning(alarm)
    except IntegrityError:
        return False  # another process was first
    return True


def note_beginning(alarm: RaisedAlarm, *, told: Iterable[str] = ()) -> None:
    """Write its line. `told`: the webhooks that have heard of it by another way."""
    data = data_of(alarm) | ({"told": sorted(told)} if told else {})
    journal.record(
        LogKind.ALARM, sentence_of(alarm), code=alarm.code, pool=_pool(alarm), now=alarm.raised_at, level=Level.ERROR,
        data=data,
    )  # fmt: skip


def end(alarm: RaisedAlarm, now: datetime) -> None:
    """Tell of an alarm that is over, unless that was told. Who had it has it no more: it may come again."""
    seconds = round((now - alarm.raised_at).total_seconds())
    message = f"all clear after {seconds} s: {AlarmCode(alarm.code).label}"
    message += f" (pool {alarm.pool_name})" if alarm.pool_name else ""
    with transaction.atomic():
        if not RaisedAlarm.objects.filter(pk=alarm.pk, seen_at=alarm.seen_at).delete()[0]:
            return
        had_by = AlarmInHand.objects.filter(pk=alarm.occurrence).values_list("by", flat=True).first()
        alarm_mail.write(f"All clear: {alarm.title}", f"{message}\n", now)
        data = data_of(alarm) | {"lasted_seconds": seconds} | ({"had_by": had_by} if had_by else {})
        journal.record(LogKind.ALL_CLEAR, message, code=alarm.code, pool=_pool(alarm), now=now, data=data)


def confirm(standing: Iterable[Standing], now: datetime) -> None:
    """These stand, as one sees who watches beside the turns."""
    for each in standing:
        if not RaisedAlarm.objects.filter(pk=each.subject).update(seen_at=now, detail=each.detail):
            begin(each, now)


def end_unconfirmed(now: datetime) -> None:
    """Those that nobody has confirmed for a while are over: also when whoever saw them is gone."""
    for alarm in RaisedAlarm.objects.filter(code__in=CONFIRMED, seen_at__lt=now - CONFIRMED_FOR):
        end(alarm, now)


def _pool(alarm: RaisedAlarm) -> Pool | None:
    return Pool(name=alarm.pool_name) if alarm.pool_name else None
