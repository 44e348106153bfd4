"""Webhooks: who is told of which events, what was told and what is yet to be, and whom to call when there is something.

The rows are here, below all who write the orchestrator log; `runs.webhooks` fills and empties them.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.db import connection, models, transaction
from django.db.models import Q
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.tasks import async_task

from pools import clock
from pools.shared import Shared

URL_CHARACTERS = 500
DESCRIPTION_CHARACTERS = 200
BELIEVED_SECONDS = 5.0  # so long a process believes that there are no webhooks
COMES_WITHIN = timedelta(seconds=30)  # else it is called again: the one that was called may have died
DELIVER = "runs.tasks.deliver_webhooks"


class DisabledCode(models.TextChoices):
    """Reasons for sending nothing."""

    SWITCHED_OFF = "switched_off", "Switched off"
    GONE = "gone", "Its receiver answered 410"
    GIVEN_UP = "given_up", "Too many deliveries were given up"
    OWNER_GONE = "owner_gone", "Its owner may not have it any more"


class WebhookCode(models.TextChoices):
    """What else is done with a webhook."""

    MADE = "made", "Made"
    CHANGED = "changed", "Changed"
    ROTATED = "rotated", "Has a new secret"
    ENABLED = "enabled", "Enabled"
    DELETED = "deleted", "Deleted"


class Webhook(models.Model):
    """One address that is told of events. `runs.webhooks` alone writes it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    url = models.CharField(max_length=URL_CHARACTERS)
    owner = models.CharField(max_length=150, db_index=True, help_text="A key, as key:<prefix>, or an operator.")
    is_of_all = models.BooleanField(default=False, help_text="Told of everything, and not of its owner's runs alone.")
    types = models.JSONField(default=list, blank=True, help_text="The events that it wants; all when there are none.")
    description = models.CharField(max_length=DESCRIPTION_CHARACTERS, blank=True)
    secret = models.CharField(max_length=100, editable=False)
    old_secret = models.CharField(max_length=100, blank=True, db_default="", default="", editable=False)
    old_secret_until = models.DateTimeField(null=True, blank=True, help_text="Until then the old one signs, too.")
    is_enabled = models.BooleanField(default=True)
    disabled_code = models.CharField(max_length=20, choices=DisabledCode.choices, blank=True)
    seq = models.PositiveBigIntegerField(help_text="The last line of the orchestrator log that was looked at for it.")
    given_up = models.PositiveIntegerField(default=0, help_text="Deliveries given up since the last that was taken.")
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150)
    last_success_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(is_enabled=True, disabled_code="") | Q(is_enabled=False) & ~Q(disabled_code=""),
                name="webhook_disabled_with_a_code",
            ),
        ]

    def __str__(self) -> str:
        return f"webhook {self.short_id}"

    @property
    def short_id(self) -> str:
        return self.pk.hex[:8]

    def secrets(self, now: datetime) -> list[str]:
        """Those that sign, the newest first."""
        is_old_good = self.old_secret_until is not None and now < self.old_secret_until
        return [self.secret, self.old_secret] if is_old_good else [self.secret]


class DeliveryState(models.TextChoices):
    PENDING = "pending", "Not tried yet"
    FAILED = "failed", "Failed, and is tried again"
    DELIVERED = "delivered", "Delivered"
    GIVEN_UP = "given_up", "Given up"


OPEN = (DeliveryState.PENDING, DeliveryState.FAILED)


class Delivery(models.Model):
    """One event for one webhook. Its number gives the order."""

    number = models.BigAutoField(primary_key=True)
    id = models.CharField(max_length=40, unique=True, editable=False, help_text="The same however often it is sent.")
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    seq = models.PositiveBigIntegerField(null=True, blank=True, help_text="The event's line; none for a test.")
    type = models.CharField(max_length=40)
    payload = models.JSONField()
    state = models.CharField(max_length=10, choices=DeliveryState.choices, default=DeliveryState.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    last_status = models.PositiveIntegerField(null=True, blank=True, help_text="Empty when it did not answer.")
    last_error = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(db_index=True)
    delivered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ["-number"]
        indexes = [models.Index(fields=["webhook", "state", "number"], name="delivery_next")]
        constraints = [
            models.UniqueConstraint(fields=["webhook", "seq"], name="delivery_once"),
            models.CheckConstraint(condition=Q(state__in=DeliveryState.values), name="delivery_state_valid"),
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    def is_due(self, now: datetime) -> bool:
        return self.next_attempt_at is None or self.next_attempt_at <= now


class Courier(models.Model):
    """The one row that says whether somebody is called to deliver and has not come yet."""

    called_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="courier_is_one_row")]

    def __str__(self) -> str:
        return "courier"

    @classmethod
    def has_come(cls) -> bool:
        """From now on whoever writes calls again. Whether somebody had."""
        return bool(cls.objects.filter(pk=1).exclude(called_at=None).update(called_at=None))

    @classmethod
    def is_called(cls) -> bool:
        return cls.objects.filter(pk=1).exclude(called_at=None).exists()


ARE_THERE = Shared(lambda: Webhook.objects.filter(is_enabled=True).exists(), lambda _: BELIEVED_SECONDS)


def call_on_commit() -> None:
    """Have what the current transaction writes delivered once it is committed. Costs nothing without webhooks."""
    transaction.on_commit(call, robust=True)


def call() -> None:
    """Queue the delivery, where there are webhooks, and unless it is queued and has not begun. Outside of transactions
    that hold anything."""
    if not ARE_THERE.get():
        return
    with transaction.atomic():
        if _is_first(clock.now()):
            async_task(DELIVER, task_name="webhooks", group="webhooks")


def do_others_wait() -> bool:
    """Whether tasks besides this one are due and no worker has fetched them."""
    due = OrmQ.objects.filter(key=Conf.CLUSTER_NAME, lock__lte=clock.now())
    return any(row.func() != DELIVER for row in due)


def _is_first(now: datetime) -> bool:
    table = Courier._meta.db_table
    at, long_ago = (connection.ops.adapt_datetimefield_value(each) for each in (now, now - COMES_WITHIN))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (id, called_at) VALUES (1, %s) ON CONFLICT (id) DO UPDATE "  # noqa: S608
            f"SET called_at = %s WHERE {table}.called_at IS NULL OR {table}.called_at NOT BETWEEN %s AND %s",
            [at, at, long_ago, at],
        )
        return bool(cursor.rowcount)
