"""E-mails about alarms: rows that are written with the alarm, and sent by whoever lives, a worker or a web process.

Before each attempt the row is taken by a compare-and-set, so that two processes never send one both. A process that
dies while it sends leaves the row, and the next attempt has the same Message-ID.
"""

from __future__ import annotations

import logging
import secrets
from datetime import datetime, timedelta
from email.utils import parseaddr
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django_q.tasks import async_task

from pools import clock
from pools.alarm_rows import AlarmMail

logger = logging.getLogger("pools")
SEND = "pools.tasks.send_alarm_mails"
PAUSES = [timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 240, 720)]  # after each failure
SUBJECT_CHARACTERS = 200


def new_message_id() -> str:
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].partition("@")[2] or "localhost"
    return f"<alarm-{secrets.token_hex(12)}@{domain}>"


def subject_of(title: str) -> str:
    return f"[{settings.ORCHESTRATOR_ID}] {title}"[:SUBJECT_CHARACTERS]


def write(title: str, text: str, now: datetime) -> None:
    """Have one sent, to those whom alarms are for, once the transaction is committed."""
    if settings.ALERT_EMAILS:
        AlarmMail.objects.create(
            message_id=new_message_id(), subject=subject_of(title), text=text, created_at=now, next_attempt_at=now
        )
        transaction.on_commit(call, robust=True)


def call() -> None:
    async_task(SEND, task_name="mail", group="mail")


def call_if_due(now: datetime) -> None:
    """Those that failed are tried again."""
    if AlarmMail.objects.filter(next_attempt_at__lte=now).exists():
        call()


def send_due(now: datetime) -> None:
    """Send those that are due. Raises what the last one failed of."""
    trouble: Exception | None = None
    for mail in AlarmMail.objects.filter(next_attempt_at__lte=now).order_by("pk"):
        try:
            _send(mail, clock.now())  # those before it may have taken long
        except (SMTPException, OSError) as error:
            trouble = error
    if trouble is not None:
        raise trouble


def send(subject: str, text: str, message_id: str) -> None:
    """Send one now. Raises SMTPException, OSError."""
    EmailMessage(subject, text, None, settings.ALERT_EMAILS, headers={"Message-ID": message_id}).send()


def _send(mail: AlarmMail, now: datetime) -> None:
    is_last = mail.attempts >= len(PAUSES)
    again_at = now + PAUSES[min(mail.attempts, len(PAUSES) - 1)]
    same = AlarmMail.objects.filter(pk=mail.pk, attempts=mail.attempts)
    if not same.update(attempts=mail.attempts + 1, next_attempt_at=again_at):
        return  # another process sends it
    try:
        send(mail.subject, mail.text, mail.message_id)
    except (SMTPException, OSError):
        if is_last:
            logger.exception("The e-mail %r is given up.", mail.subject)
            AlarmMail.objects.filter(pk=mail.pk).delete()
        raise
    AlarmMail.objects.filter(pk=mail.pk).delete()
