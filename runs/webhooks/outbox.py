"""What is to be delivered: the lines of the orchestrator log that a webhook wants, each one row and once."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from pools import fleet_log, webhooks
from pools.moments import as_text
from pools.problems import Problem
from pools.webhooks import OPEN, Delivery, DeliveryState, DisabledCode, Webhook
from runs import feed
from runs.event_types import known, named, type_of
from runs.webhooks import subscriptions
from runs.webhooks.retries import HELD_BACK_ATTEMPTS, Answer, next_attempt_at

LINES = 200  # of one transaction
MOST_GIVEN_UP = 10  # one after the other; then the webhook is disabled
MOST_TESTS = 5  # of a webhook, that are to be sent
TEST = "webhook.test"


def view_of(webhook: Webhook) -> feed.View:
    """The events that it is told of. Types that this version does not know were asked for in a later one."""
    types = known(webhook.types) if webhook.types else None
    return feed.View(None if webhook.is_of_all else webhook.owner, types)


def fill(behind: Sequence[Webhook], now: datetime) -> bool:
    """Make rows of the next lines, read once for all of these, and move their cursors beyond them. Whether there are
    more lines."""
    newest = fleet_log.last_seq()
    lines = fleet_log.events_after(min(webhook.seq for webhook in behind), LINES)
    upto = lines[-1].seq if len(lines) == LINES else newest
    lines = [line for line in lines if line.seq <= upto]  # the number was read first: what came since is for next time
    visitors = feed.visitors_of(lines)
    with transaction.atomic():
        same = Webhook.objects.filter(pk__in=[webhook.pk for webhook in behind], is_enabled=True, seq__lt=upto)
        told = list(same.select_for_update(no_key=True).order_by("pk"))
        Delivery.objects.bulk_create(
            Delivery(
                id=_new_id(),
                webhook=webhook,
                seq=line.seq,
                type=type_of(line.kind, line.code) or "",
                payload=feed.as_json(line),
                created_at=now,
            )
            for webhook in told
            for view in [view_of(webhook)]
            for line in lines
            if line.seq > webhook.seq
            and str(webhook.pk) not in line.data.get("told", ())  # it has heard of it by another way
            and view.has(line, visitors.get(line.run_id) if line.run_id else None)
        )
        Webhook.objects.filter(pk__in=[webhook.pk for webhook in told]).update(seq=upto)
    return upto < newest


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


def add_again(delivery: Delivery, now: datetime) -> None:
    """Have it sent once more, under its own id, as if it were new. Raises Problem."""
    require_enabled(delivery.webhook)
    same = Delivery.objects.filter(pk=delivery.pk)
    over = same.exclude(state__in=OPEN)
    if not over.update(
        state=DeliveryState.PENDING, attempts=0, next_attempt_at=None, delivered_at=None, created_at=now
    ):
        same.filter(state__in=OPEN).update(next_attempt_at=None)
    webhooks.call_on_commit()


def require_enabled(webhook: Webhook) -> None:
    """Raises Problem."""
    if not webhook.is_enabled:
        raise Problem(409, "The webhook is disabled: enable it first.", code="webhook_disabled")


def due(now: datetime) -> QuerySet[Webhook]:
    """The webhooks that there is something to send to. From them to their open deliveries, by the index: most rows are
    of deliveries that were made, and kept."""
    open_ = Delivery.objects.filter(_is_due(now), webhook=OuterRef("pk"), state__in=OPEN)
    return Webhook.objects.filter(Exists(open_.order_by()), is_enabled=True).order_by()


def next_of(webhook_id: UUID, now: datetime) -> tuple[Delivery | None, datetime | None]:
    """What is to be sent now; if there is nothing, when there may be, where that is known. Tests wait for nobody, and
    for one that failed those after it wait a while, to come in their order."""
    waiting = Delivery.objects.filter(webhook=webhook_id, state__in=OPEN)
    due = _is_due(now)
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


def _is_due(now: datetime) -> Q:
    return Q(next_attempt_at=None) | Q(next_attempt_at__lte=now)


def _new_id() -> str:
    return f"msg_{secrets.token_hex(12)}"
