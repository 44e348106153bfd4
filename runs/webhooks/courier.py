"""The courier: fills the outbox and empties it, all webhooks beside one another, each in its order.

One at a time of all machines, by a lease; it stays while there is something to do, and is called by whoever writes
(`pools.webhooks.call`). A receiver that hangs holds up nobody but itself. What was sent when a courier dies is sent
again by the next.
"""

from __future__ import annotations

import logging
import random
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from uuid import UUID

import httpx
from django.db import connections
from django.db.models import Q
from django.utils import timezone

from pools import fleet_log, leases, webhooks
from pools.tenure import LEASE_SECONDS, Tenure, TenureLost, kept
from pools.webhooks import OPEN, Courier, Delivery, DisabledCode, Webhook
from runs.webhooks import outbox, sending, subscriptions
from runs.webhooks.owners import may_still_have

logger = logging.getLogger(__name__)

LEASE = "webhooks"
MOST_AT_ONCE = 16  # receivers that are waited for
STAYS_SECONDS = 50.0  # then another task goes on, so that none lasts for ever
LOOK_SECONDS = 0.5
LINGER = timedelta(seconds=7)  # for a delivery's first retry
AFTER_AN_ERROR = timedelta(minutes=1)


def deliver() -> None:
    """Deliver what there is, unless another one is at it. Who calls while it goes finds it back: it looks again."""
    is_left = True
    while is_left:
        try:
            with leases.hold(LEASE, LEASE_SECONDS) as lease, kept(lease.is_renewed) as tenure:
                round_ = Round(tenure)
                round_.go()
        except (leases.LeaseHeld, TenureLost):
            return
        if round_.is_late:
            Courier.has_come()
            webhooks.call()
            return
        is_left = Courier.is_called()


class Round:
    """One courier's time."""

    def __init__(self, tenure: Tenure) -> None:
        self.tenure = tenure
        self.until_seconds = time.monotonic() + STAYS_SECONDS
        self.busy: dict[UUID, Future[datetime | None]] = {}
        self.rests: dict[UUID, datetime] = {}  # webhooks that there is nothing to do for until then
        self._asked_of: set[UUID] = set()

    @property
    def is_late(self) -> bool:
        return time.monotonic() >= self.until_seconds

    def go(self) -> None:
        with sending.new_client() as client, ThreadPoolExecutor(MOST_AT_ONCE, "webhook") as threads:
            while not self.is_late and self._look(client, threads):
                if self.busy:
                    wait(self.busy.values(), LOOK_SECONDS, FIRST_COMPLETED)
                else:
                    time.sleep(LOOK_SECONDS)

    def _look(self, client: httpx.Client, threads: ThreadPoolExecutor) -> bool:
        """Begin what there is to do. False when there is nothing, nor soon."""
        self.tenure.require()
        is_called = Courier.has_come()  # before looking: who writes after the look calls again
        if is_called:
            self.rests.clear()
        now = timezone.now()
        self.rests = {each: until for each, until in self.rests.items() if until > now}
        for webhook_id in [each for each, job in self.busy.items() if job.done()]:
            rest = self.busy.pop(webhook_id).result()
            if rest is not None:
                self.rests[webhook_id] = rest
        has_filled = self._fill(now)
        for webhook_id in self._due(now):
            self.busy[webhook_id] = threads.submit(self._empty, client, webhook_id)
        soon = min(self.rests.values(), default=None)
        return bool(is_called or has_filled or self.busy or (soon is not None and soon - now < LINGER))

    def _fill(self, now: datetime) -> bool:
        """Whether there was anything new."""
        newest = fleet_log.last_seq()
        behind = list(Webhook.objects.filter(is_enabled=True, seq__lt=newest))
        for webhook in behind:
            if webhook.pk not in self._asked_of and not may_still_have(webhook, now):
                subscriptions.disable(webhook, DisabledCode.OWNER_GONE, now)
                continue
            self._asked_of.add(webhook.pk)
            while outbox.fill(webhook, now):
                pass
        return bool(behind)

    def _due(self, now: datetime) -> list[UUID]:
        due = Delivery.objects.filter(Q(next_attempt_at=None) | Q(next_attempt_at__lte=now), state__in=OPEN)
        found = due.filter(webhook__is_enabled=True).order_by().values_list("webhook_id", flat=True).distinct()
        return [each for each in found if each not in self.busy and each not in self.rests]

    def _empty(self, client: httpx.Client, webhook_id: UUID) -> datetime | None:
        """In a thread of its own: send what is due, one after the other. When there may be more, where that is
        known."""
        try:
            while not self.is_late and not self.tenure.is_lost:
                webhook = Webhook.objects.filter(pk=webhook_id, is_enabled=True).first()
                if webhook is None:
                    return None
                delivery, later = outbox.next_of(webhook_id, timezone.now())
                if delivery is None:
                    return later
                delivery.webhook = webhook
                answer = sending.send(client, delivery, timezone.now())
                outbox.note(delivery, answer, chance=random.random(), now=timezone.now())  # noqa: S311
            return None
        except Exception:
            logger.exception("The deliveries of webhook %s can't be seen to.", webhook_id)
            return timezone.now() + AFTER_AN_ERROR
        finally:
            connections.close_all()  # this thread's own
