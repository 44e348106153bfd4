"""Webhooks are made, changed and disabled here, and nowhere else. Each is a line of the orchestrator log, which anybody
may read: it names no address, for there may be a secret in it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F

from pools import fleet_log, journal, webhooks
from pools.models import Level
from pools.problems import Problem
from pools.reasons import LogKind
from pools.webhooks import OPEN, Delivery, DeliveryState, DisabledCode, Webhook, WebhookCode
from runs.webhooks import signing
from runs.webhooks.owners import Owner

MOST = 10  # of one owner
OLD_SECRET_SIGNS_FOR = timedelta(hours=24)  # in which its receiver gets to know the new one
CLOSED = "The webhook was disabled before it could be delivered."


@transaction.atomic
def make(
    owner: Owner, *, url: str, is_of_all: bool, types: Collection[str], description: str, now: datetime
) -> Webhook:
    """A new webhook, told of what happens from now on. `url` was looked at before. Raises Problem."""
    if Webhook.objects.filter(owner=owner.name).count() >= MOST:
        raise Problem(409, f"There are {MOST} webhooks already, the most that one may have.", code="too_many_webhooks")
    webhook = Webhook.objects.create(
        url=url,
        owner=owner.name,
        is_of_all=is_of_all,
        types=sorted(types),
        description=description,
        secret=signing.new_secret(),
        seq=fleet_log.last_seq(),
        created_at=now,
        created_by=owner.actor,
    )
    _note(webhook, WebhookCode.MADE, "was made", now, owner.actor)
    return webhook


@transaction.atomic
def change(webhook: Webhook, fields: dict[str, Any], now: datetime, actor: str) -> None:
    """`fields`: url, types or description."""
    Webhook.objects.filter(pk=webhook.pk).update(**fields)
    _note(webhook, WebhookCode.CHANGED, f"was changed: {', '.join(sorted(fields))}", now, actor)


@transaction.atomic
def rotate(webhook: Webhook, now: datetime, actor: str) -> str:
    """Its new secret. The old one signs beside it for a day; one older than that signs nothing more."""
    secret = signing.new_secret()
    old = {"old_secret": F("secret"), "old_secret_until": now + OLD_SECRET_SIGNS_FOR}
    Webhook.objects.filter(pk=webhook.pk).update(secret=secret, **old)
    _note(webhook, WebhookCode.ROTATED, "has a new secret", now, actor)
    return secret


@transaction.atomic
def enable(webhook: Webhook, now: datetime, actor: str, why: str = "") -> bool:
    """Tell it of what happens from now on. False when it is enabled. `why`: what an operator says."""
    off = Webhook.objects.filter(pk=webhook.pk, is_enabled=False)
    if not off.update(is_enabled=True, disabled_code="", given_up=0, seq=fleet_log.last_seq()):
        return False
    _note(webhook, WebhookCode.ENABLED, _because("was enabled", why), now, actor)
    return True


@transaction.atomic
def disable(webhook: Webhook, code: DisabledCode, now: datetime, actor: str = "", why: str = "") -> bool:
    """Send it nothing more; what was to be delivered is given up. False when it is disabled already."""
    if not Webhook.objects.filter(pk=webhook.pk, is_enabled=True).update(is_enabled=False, disabled_code=code):
        return False
    waiting = Delivery.objects.filter(webhook=webhook.pk, state__in=OPEN)
    waiting.update(state=DeliveryState.GIVEN_UP, next_attempt_at=None, last_error=CLOSED)
    level = Level.INFO if code == DisabledCode.SWITCHED_OFF else Level.WARNING
    _note(webhook, code, _because(f"is disabled: {code.label.lower()}", why), now, actor, level=level)
    return True


@transaction.atomic
def delete(webhook: Webhook, now: datetime, actor: str) -> None:
    """It goes with its deliveries."""
    Webhook.objects.filter(pk=webhook.pk).delete()
    _note(webhook, WebhookCode.DELETED, "was deleted", now, actor)


def _because(done: str, why: str) -> str:
    return f"{done}; an operator: {why}" if why else done


def _note(webhook: Webhook, code: str, done: str, now: datetime, actor: str, *, level: str = Level.INFO) -> None:
    webhooks.ARE_THERE.forget()
    message, data = f"webhook {webhook.short_id} {done}", {"webhook": str(webhook.pk)}
    journal.record(LogKind.WEBHOOK, message, code=code, now=now, level=level, actor=actor, data=data)
