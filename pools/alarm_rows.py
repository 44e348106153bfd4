"""The alarms that stand: a row for each while it lasts, so that its beginning and its end are told once."""

from __future__ import annotations

from django.db import models


class AlarmCode(models.TextChoices):
    """What operators are woken for: `code` of the lines about it."""

    TOKEN_REFUSED = "token_refused", "DigitalOcean refuses the token"
    LISTING_FAILS = "listing_fails", "DigitalOcean can't be listed"
    TURNS_DIE = "turns_die", "Turns end in an error"
    DELETIONS_STOPPED = "deletions_stopped", "Deletions wait for an operator"
    DELETIONS_FAIL = "deletions_fail", "Nothing can be deleted"
    ORPHANS = "orphans", "Apps carry our mark, and are in no record"
    BREAKER_OPEN = "breaker_open", "A pool creates nothing after failures"


class RaisedAlarm(models.Model):
    """One alarm that stands. Written only by `pools.turn.alarm_watch`."""

    subject = models.CharField(max_length=80, primary_key=True, help_text="Its code, and the pool that it is about.")
    code = models.CharField(max_length=30, choices=AlarmCode.choices)
    pool_name = models.CharField(max_length=40, blank=True)
    raised_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.subject
