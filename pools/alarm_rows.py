"""The alarms that stand: a row for each while it lasts, so that its beginning and its end are told once; who has which;
and the e-mails about them that are yet to be sent."""

from __future__ import annotations

import hashlib
from datetime import datetime

from django.db import models

OCCURRENCE_CHARACTERS = 16
SUBJECT_CHARACTERS = 80


class AlarmCode(models.TextChoices):
    """What operators are woken for: `code` of the lines about it."""

    TOKEN_REFUSED = "token_refused", "DigitalOcean refuses the token"
    LISTING_FAILS = "listing_fails", "DigitalOcean can't be listed"
    TURNS_DIE = "turns_die", "Turns end in an error"
    DELETIONS_STOPPED = "deletions_stopped", "Deletions wait for an operator"
    DELETIONS_FAIL = "deletions_fail", "Nothing can be deleted"
    DELETE_REFUSED = "delete_refused", "DigitalOcean refuses a deletion"
    ORPHANS = "orphans", "Apps carry our mark, and are in no record"
    BREAKER_OPEN = "breaker_open", "A pool creates nothing after failures"
    CLUSTER_SILENT = "cluster_silent", "No cluster gives a sign of life"
    DISK_LOW = "disk_low", "A disk is nearly full"
    DISK_FULL = "disk_full", "A disk is full"
    DATABASE_UNWRITABLE = "database_unwritable", "The database can't be written to"


def occurrence_of(subject: str, since: object) -> str:
    """The name of one occurrence of an alarm: the next one, which begins at another time, has another."""
    told = since.isoformat() if isinstance(since, datetime) else str(since)
    return hashlib.sha256(f"{subject} {told}".encode()).hexdigest()[:OCCURRENCE_CHARACTERS]


class RaisedAlarm(models.Model):
    """One alarm that stands. Written only by `pools.alarms`."""

    subject = models.CharField(
        max_length=SUBJECT_CHARACTERS, primary_key=True, help_text="Its code, and the pool or machine that it is about."
    )
    code = models.CharField(max_length=30, choices=AlarmCode.choices)
    pool_name = models.CharField(max_length=40, blank=True)
    host = models.CharField(max_length=255, blank=True, db_default="", default="", help_text="The machine, if of one.")
    detail = models.TextField(blank=True, db_default="", default="")
    raised_at = models.DateTimeField()
    seen_at = models.DateTimeField(
        null=True, blank=True, help_text="When it was last confirmed, by those who watch without turns."
    )

    def __str__(self) -> str:
        return self.subject

    @property
    def occurrence(self) -> str:
        return occurrence_of(self.subject, self.raised_at)

    @property
    def title(self) -> str:
        """What is wrong, for operators."""
        about = f"pool {self.pool_name}" if self.pool_name else self.host
        label = AlarmCode(self.code).label
        return f"{label} ({about})" if about else str(label)


class AlarmInHand(models.Model):
    """An occurrence of an alarm that an operator has taken in hand: it is not repeated to anybody."""

    occurrence = models.CharField(max_length=OCCURRENCE_CHARACTERS, primary_key=True)
    title = models.CharField(max_length=400)
    by = models.CharField(max_length=150, help_text="An operator, or a key.")
    at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = "alarm in hand"
        verbose_name_plural = "alarms in hand"

    def __str__(self) -> str:
        return self.title


class AlarmMail(models.Model):
    """An e-mail about an alarm that is yet to be sent. Written only by `pools.alarm_mail`."""

    message_id = models.CharField(max_length=200, help_text="The same however often it is sent.")
    subject = models.CharField(max_length=400)
    text = models.TextField()
    created_at = models.DateTimeField()
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.subject
