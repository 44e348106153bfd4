"""The courier: fills the outbox and empties it, many webhooks beside one another, each in its order.

One at a time of all machines, by a lease; it stays while there is something to do, and is called by whoever writes
(`pools.webhooks.call`). Each webhook is served for a moment and then goes to the back of the queue, and an owner has a
share of the threads: receivers that hang hold up nobody but their owner. What was sent when a courier dies is sent
again by the next.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import httpx
from django.db import connections

from pools import clock, fleet_log, leases, stopping, webhooks
from pools.tenure import LEASE_SECONDS, Tenure, TenureLost, kept
from pools.webhooks import Courier, DisabledCode, Webhook
from runs.webhooks import outbox, sending, subscriptions
from runs.webhooks.owners import may_still_have

logger = logging.getLogger(__name__)

LEASE = "webhooks"
MOST_AT_ONCE = 16  # receivers that are waited for
MOST_OF_AN_OWNER = 4  # of these
SERVES_SECONDS = 1.0  # one webhook at a time; what is being sent then is sent to its end
STAYS_SECONDS = 50.0  # then another task goes on, so that none lasts for ever
STAYS_BEFORE_OTHERS_SECONDS = 2.0  # the same while other tasks wait for a worker: there may be no other
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


class Job(NamedTuple):
    """A webhook that is being served, for its owner."""

    owner: str
    future: Future[datetime | None]


class Round:
    """One courier's time."""

    def __init__(self, tenure: Tenure) -> None:
        self.tenure = tenure
        self.began_seconds = clock.monotonic()
        self.gives_way = False
        self.busy: dict[UUID, Job] = {}
        self.rests: dict[UUID, datetime] = {}  # webhooks that there is nothing to do for until then
        self.served: dict[UUID, int] = {}  # when each was served last, as the number of that time
        self.broken: dict[UUID, datetime] = {}  # webhooks that can't be filled, and until when they are left alone

    @property
    def is_late(self) -> bool:
        return self.gives_way or stopping.is_announced() or clock.monotonic() - self.began_seconds >= STAYS_SECONDS

    def go(self) -> None:
        with sending.new_client() as client, ThreadPoolExecutor(MOST_AT_ONCE, "webhook") as threads:
            while not self.is_late and self._look(client, threads):
                if self.busy:
                    wait([job.future for job in self.busy.values()], LOOK_SECONDS, FIRST_COMPLETED)
                else:
                    clock.sleep(LOOK_SECONDS)

    def _look(self, client: httpx.Client, threads: ThreadPoolExecutor) -> bool:
        """Begin what there is to do. False when there is nothing, nor soon."""
        self.tenure.require()
        if clock.monotonic() - self.began_seconds >= STAYS_BEFORE_OTHERS_SECONDS and webhooks.do_others_wait():
            self.gives_way = True
            return False
        is_called = Courier.has_come()  # before looking: who writes after the look calls again
        if is_called:
            self.rests.clear()
        now = clock.now()
        self.rests = {each: until for each, until in self.rests.items() if until > now}
        self.broken = {each: until for each, until in self.broken.items() if until > now}
        for webhook_id in [each for each, job in self.busy.items() if job.future.done()]:
            rest = self.busy.pop(webhook_id).future.result()
            if rest is not None:
                self.rests[webhook_id] = rest
        has_filled = self._fill(now)
        for webhook_id, owner in next_served(self._due(now), self.served, [job.owner for job in self.busy.values()]):
            self.served[webhook_id] = 1 + max(self.served.values(), default=0)
            self.busy[webhook_id] = Job(owner, threads.submit(self._serve, client, webhook_id))
        soon = min(self.rests.values(), default=None)
        return bool(is_called or has_filled or self.busy or (soon is not None and soon - now < LINGER))

    def _fill(self, now: datetime) -> bool:
        """Whether there was anything new. What fails for all at once is tried for each by itself."""
        behind = list(Webhook.objects.filter(is_enabled=True, seq__lt=fleet_log.last_seq()))
        behind = [each for each in behind if each.pk not in self.broken]
        if not behind:
            return False
        try:
            while behind and outbox.fill(behind, now):
                behind = list(Webhook.objects.filter(pk__in=[each.pk for each in behind], is_enabled=True))
        except Exception:
            logger.exception("The outbox can't be filled for all webhooks at once.")
            for webhook in behind:
                self._fill_alone(webhook, now)
        return True

    def _fill_alone(self, webhook: Webhook, now: datetime) -> None:
        try:
            while outbox.fill([webhook], now):
                webhook.refresh_from_db(fields=["seq"])
        except Exception:
            logger.exception("The outbox can't be filled for webhook %s.", webhook.pk)
            self.broken[webhook.pk] = now + AFTER_AN_ERROR

    def _due(self, now: datetime) -> dict[UUID, str]:
        """The webhooks that there is something to do for, and whose they are."""
        found = outbox.due(now).values_list("pk", "owner")
        return {each: owner for each, owner in found if each not in self.busy and each not in self.rests}

    def _serve(self, client: httpx.Client, webhook_id: UUID) -> datetime | None:
        """In a thread of its own: send what is due, one after the other, for a moment. Until when there is nothing to
        do for it; None when there may be more at once."""
        until_seconds = clock.monotonic() + SERVES_SECONDS
        try:
            while not self.is_late and not self.tenure.is_lost:
                now = clock.now()
                webhook = Webhook.objects.filter(pk=webhook_id, is_enabled=True).first()
                if webhook is None:
                    return None
                delivery, later = outbox.next_of(webhook_id, now)
                if delivery is None:
                    return later
                if not may_still_have(webhook, now):
                    subscriptions.disable(webhook, DisabledCode.OWNER_GONE, now)
                    return None
                delivery.webhook = webhook
                answer = sending.send(client, delivery, clock.now())
                outbox.note(delivery, answer, chance=random.random(), now=clock.now())  # noqa: S311
                if clock.monotonic() >= until_seconds:
                    break
            return None
        except Exception:
            logger.exception("The deliveries of webhook %s can't be seen to.", webhook_id)
            return clock.now() + AFTER_AN_ERROR
        finally:
            connections.close_all()  # this thread's own


def next_served(
    due: Mapping[UUID, str], served: Mapping[UUID, int], busy_owners: Sequence[str]
) -> Iterator[tuple[UUID, str]]:
    """Who gets a thread, of those that are due: least recently served first, of each owner so many. Pure but for the
    order of those that were not served yet, which is by chance: no round begins with the same ones."""
    at_work = Counter(busy_owners)
    for each in sorted(due, key=lambda each: (served.get(each, 0), random.random())):  # noqa: S311
        owner = due[each]
        if at_work.total() < MOST_AT_ONCE and at_work[owner] < MOST_OF_AN_OWNER:
            at_work[owner] += 1
            yield each, owner
