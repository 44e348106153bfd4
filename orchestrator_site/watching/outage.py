"""While the database can't be written to, nobody can write down who tells of it. So the process tells that had the
lease of the watch when it went, by its own means: e-mail, and the webhooks that it has read before. When the database
is back the log gets both lines; webhooks that were told of the beginning are not told again."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from smtplib import SMTPException
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from orchestrator_site.watching.sights import words_of
from pools import alarm_mail, alarms, here, journal, leases
from pools.alarm_rows import AlarmCode, RaisedAlarm
from pools.alarms import Standing
from pools.models import Level
from pools.reasons import LogKind
from pools.webhooks import Delivery, Webhook
from runs import feed
from runs.event_types import EventType
from runs.webhooks import sending
from runs.webhooks.outbox import view_of

logger = logging.getLogger(__name__)

LEASE, LEASE_SECONDS = "alarm watch", 60.0
MAY_LAST = timedelta(seconds=30)  # a failover, a restart, a backup's lock
AGAIN_AFTER = timedelta(seconds=60)  # what could not be told
AT_ONCE = 8


class Outage:
    """What this process knows of the database, and whom it has told."""

    def __init__(self) -> None:
        self.lease: leases.Held | None = None
        self.receivers: list[Webhook] = []
        self._forget()

    def _forget(self) -> None:
        self.began_at: datetime | None = None
        self.is_teller = False  # who had the lease when it began: it may run out meanwhile
        self.alarm: RaisedAlarm | None = None
        self.told: set[str] = set()  # webhooks
        self.mail_id = ""
        self.is_mailed = False
        self.tried_at: datetime | None = None
        here.STANDING.clear()

    def prepare(self) -> None:
        """The database is there: see to it that one process tells when it goes, and knows whom."""
        try:
            if self.lease is None:
                self.lease = leases.take(LEASE, LEASE_SECONDS)
            else:
                self.lease.renew()
        except (leases.LeaseHeld, leases.LeaseLost):
            self.lease = None
            return
        enabled = Webhook.objects.filter(is_enabled=True)
        self.receivers = [each for each in enabled if is_told(each)]

    def go_on(self, error: Exception, now: datetime) -> None:
        """It can't be written to: tell of that when it has lasted for a while, once."""
        if self.began_at is None:
            self.began_at, self.is_teller = now, self.lease is not None
        if now - self.began_at < MAY_LAST:
            return
        if self.alarm is None:
            self.alarm = Standing(AlarmCode.DATABASE_UNWRITABLE, words_of(error)).row(self.began_at)
            here.STANDING[self.alarm.subject] = self.alarm
            logger.error("%s", alarms.sentence_of(self.alarm))
        if self.is_teller and (self.tried_at is None or now - self.tried_at >= AGAIN_AFTER):
            self.tried_at = now
            self._mail(self.alarm)
            self._call(self.alarm, now)

    def settle(self, now: datetime) -> None:
        """It can be written to: what was told is written down, and its end is told as every other's."""
        alarm = self.alarm
        if alarm is not None and self.is_teller:
            try:
                with transaction.atomic():
                    alarm.save(force_insert=True)
                    if not self.is_mailed:
                        alarm_mail.write(alarm.title, alarms.letter_of(alarm), now)
                    alarms.note_beginning(alarm, told=self.told)
                    alarms.end(alarm, now)
            except IntegrityError:
                logger.warning("Another process has told of the same outage.")
        self._forget()

    def _mail(self, alarm: RaisedAlarm) -> None:
        if self.is_mailed or not settings.ALERT_EMAILS:
            return
        self.mail_id = self.mail_id or alarm_mail.new_message_id()
        try:
            alarm_mail.send(alarm_mail.subject_of(alarm.title), alarms.letter_of(alarm), self.mail_id)
            self.is_mailed = True
        except (SMTPException, OSError) as error:
            logger.warning("The e-mail about the database could not be sent: %s", error)

    def _call(self, alarm: RaisedAlarm, now: datetime) -> None:
        untold = [each for each in self.receivers if str(each.pk) not in self.told]
        if not untold:
            return
        payload = event_of(alarm)
        with sending.new_client() as client, ThreadPoolExecutor(AT_ONCE, "alarm") as threads:

            def send(webhook: Webhook) -> bool:
                delivery = Delivery(
                    id=f"msg_{alarm.occurrence}", webhook=webhook, type=payload["type"], payload=payload
                )
                return sending.send(client, delivery, now).is_taken

            answers = list(threads.map(send, untold))
        self.told |= {str(webhook.pk) for webhook, is_taken in zip(untold, answers, strict=True) if is_taken}


def is_told(webhook: Webhook) -> bool:
    """Whether it hears of alarms."""
    types = view_of(webhook).types
    return webhook.is_of_all and (types is None or EventType.ALARM_RAISED in types)


def event_of(alarm: RaisedAlarm) -> dict[str, Any]:
    """The event that it begins, as it would stand in the feed if it had a number."""
    line = journal.line(
        LogKind.ALARM, alarms.sentence_of(alarm), code=alarm.code, now=alarm.raised_at, level=Level.ERROR,
        data=alarms.data_of(alarm),
    )  # fmt: skip
    return feed.as_json(line) | {"id": f"evt_{alarm.occurrence}"}
