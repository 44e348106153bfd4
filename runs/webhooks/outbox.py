"""What is to be delivered: the lines of the orchestrator log that a webhook wants, each one row and once."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q

from pools import webhooks
from pools.moments import as_text
from pools.problems import Problem
from pools.webhooks import OPEN, Delivery, DeliveryState, DisabledCode, Webhook
from runs import feed
from runs.event_types import named
from runs.webhooks import subscriptions
from runs.webhooks.retries import HELD_BACK_ATTEMPTS, Answer, next_attempt_at

LINES = 200  # of one transaction
MOST_GIVEN_UP = 10  # one after the other; then the webhook is disabled
MOST_TESTS = 5  # of a webhook, that are to be sent
TEST = "webhook.test"


def view_of(webhook: Webhook) -> feed.View:
    """The events that it is told of."""
    types = named(webhook.types) if webhook.types else None
    return feed.View(None if webhook.is_of_all else webhook.owner, types)


def fill(webhook: Webhook, now: datetime) -> bool:
    """Make rows of the next lines, and move its cursor beyond them. False when there are no more lines, or somebody was
    first."""
    page = feed.page(view_of(webhook), webhook.seq, LINES)
    if page.after == webhook.seq:
        return False
    with transaction.atomic():
        same = Webhook.objects.filter(pk=webhook.pk, is_enabled=True, seq=webhook.seq)
        if not same.update(seq=page.after):
            return False
        Delivery.objects.bulk_create(
            Delivery(
                id=_new_id(),
                webhook=webhook,
                seq=event["seq"],
                type=event["type"],
                payload=event,
                created_at=now,
            )
            for event in map(feed.as_json, page.events)
        )
    webhook.seq = page.after
    return page.has_more


def add_test(webhook: Webhook, now: datetime) -> Delivery:
    """A delivery that tells of nothing. Raises Problem."""
    require_enabled(webhook)
    if Delivery.objects.filter(webhook=webhook, state__in=OPEN, seq=None).count() >= MOST_TESTS:
        raise Problem(429, f"{MOST_TESTS} tests are to be sent already: wait for these.", code="too_many_tests")
    payload = {
        "id": f"evt_test_{secrets.token_hex(4)}",
        "type": TEST,
        "at": as_text(now),
        "data": {"webhook": str(webhook.pk)},
    }
    made = Delivery.objects.create(id=_new_id(), webhook=webhook, type=TEST, payload=payload, created_at=now)
    webhooks.call_on_commit()
    return made


def add_again(delivery: Delivery) -> None:
    """Have it sent once more, under its own id. Raises Problem."""
    require_enabled(delivery.webhook)
    same = Delivery.objects.filter(pk=delivery.pk)
    over = same.exclude(state__in=OPEN)
    if not over.update(state=DeliveryState.PENDING, attempts=0, next_attempt_at=None, delivered_at=None):
        same.filter(state__in=OPEN).update(next_attempt_at=None)
    webhooks.call_on_commit()


def require_enabled(webhook: Webhook) -> None:
    """Raises Problem."""
    if not webhook.is_enabled:
        raise Problem(409, "The webhook is disabled: enable it first.", code="webhook_disabled")


def next_of(webhook_id: UUID, now: datetime) -> tuple[Delivery | None, datetime | None]:
    """What is to be sent now; if there is nothing, when there may be, where that is known. Tests wait for nobody, and
    for one that failed those after it wait a while, to come in their order."""
    waiting = Delivery.objects.filter(webhook=webhook_id, state__in=OPEN)
    due = Q(next_attempt_at=None) | Q(next_attempt_at__lte=now)
    if (test := waiting.filter(due, seq=None).order_by("number").first()) is not None:
        return test, None
    first = waiting.filter(due | Q(attempts__lte=HELD_BACK_ATTEMPTS)).order_by("number").first()
    if first is not None:
        return (first, None) if first.is_due(now) else (None, first.next_attempt_at)
    later = waiting.order_by("next_attempt_at").values_list("next_attempt_at", flat=True).first()
    return None, later


@transaction.atomic
def note(delivery: Delivery, answer: Answer, *, chance: float, now: datetime) -> bool:
    """Write down what an attempt came to. False when that changed nothing: it was to be sent again meanwhile, say."""
    Webhook.objects.select_for_update(no_key=True).filter(pk=delivery.webhook_id).first()  # before its deliveries
    attempts = delivery.attempts + 1
    told: dict[str, Any] = {"attempts": attempts, "last_status": answer.status, "last_error": answer.error}
    same = Delivery.objects.filter(pk=delivery.pk, attempts=delivery.attempts, state__in=OPEN)
    webhook = Webhook.objects.filter(pk=delivery.webhook_id)
    if answer.is_taken:
        told |= {"state": DeliveryState.DELIVERED, "delivered_at": now, "next_attempt_at": None}
        webhook.update(last_success_at=now, given_up=0)
        return bool(same.update(**told))
    at = next_attempt_at(answer, attempts=attempts, created_at=delivery.created_at, chance=chance, now=now)
    told |= {"state": DeliveryState.FAILED if at else DeliveryState.GIVEN_UP, "next_attempt_at": at}
    if not same.update(**told):
        return False
    if answer.is_gone:
        subscriptions.disable(delivery.webhook, DisabledCode.GONE, now)
    elif at is None:
        webhook.update(given_up=F("given_up") + 1)
        if webhook.filter(given_up__gte=MOST_GIVEN_UP).exists():
            subscriptions.disable(delivery.webhook, DisabledCode.GIVEN_UP, now)
    return True


def wanted_types(names: list[str]) -> list[str]:
    """The names of types as they are kept. Raises Problem."""
    try:
        named(names)
    except ValueError as unknown:
        raise Problem.field("types", f"there are no events of the type {str(unknown)[:40]!r}") from None
    return sorted(set(names))


def _new_id() -> str:
    return f"msg_{secrets.token_hex(12)}"
