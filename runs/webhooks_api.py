"""Webhooks over HTTP: for a key those about its own runs, for administrators all."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router

from pools import clock
from pools.api_keys import Scope
from pools.described import described
from pools.problems import Problem
from pools.webhooks import Delivery, DisabledCode, Webhook
from runs.webhook_schemas import (
    DeliveriesAsked,
    DeliveriesOut,
    DeliveryOut,
    SecretOut,
    WebhookChangeIn,
    WebhookIn,
    WebhookMadeOut,
    WebhookOut,
    WebhookScope,
    WebhooksOut,
)
from runs.webhooks import outbox, subscriptions
from runs.webhooks.owners import Owner, owner_of
from runs.webhooks.targets import require_allowed

router = Router(tags=["webhooks"])


MADE = {"webhook_id": "$response.body#/id"}  # of an answer, for what one can do next
SENT = {"webhook_id": "$request.path.webhook_id", "delivery_id": "$response.body#/id"}
NEXT = ("get_webhook", "change_webhook", "send_test", "rotate_secret", "list_deliveries", "delete_webhook")


def _described(*codes: str, **more: Any) -> dict[str, Any]:
    """Keys with `launch` have webhooks of their own, administrators all."""
    return described(*codes, scope=Scope.LAUNCH, **more)


@router.get("/webhooks", response=WebhooksOut, summary="The webhooks, newest first", openapi_extra=_described())
def list_webhooks(request: HttpRequest) -> dict[str, Any]:
    """For keys with `launch` their own, for administrators all."""
    owner = owner_of(request)
    found = Webhook.objects.all() if owner.is_admin else Webhook.objects.filter(owner=owner.name)
    return {"webhooks": [_out(webhook) for webhook in found]}


@router.post(
    "/webhooks",
    response={201: WebhookMadeOut},
    summary="Be told of events",
    openapi_extra=_described(
        "invalid", "bad_target", "too_many_webhooks", links={201: [(each, MADE) for each in NEXT]}
    ),
)
def make_webhook(request: HttpRequest, body: WebhookIn) -> tuple[int, dict[str, Any]]:
    """Each event is sent with POST, signed with the `secret` of this answer, as docs/webhooks.md says."""
    owner = owner_of(request)
    if body.scope == WebhookScope.ALL and not owner.is_admin:
        raise Problem(403, "Webhooks about everything are for administrators.", code="scope_missing")
    if body.scope == WebhookScope.OWN and not owner.is_key:
        raise Problem.field("scope", "an operator has no runs of their own: take `all`")
    types = outbox.wanted_types(body.types)
    require_allowed(body.url)
    webhook = subscriptions.make(
        owner,
        url=body.url,
        is_of_all=body.scope == WebhookScope.ALL,
        types=types,
        description=body.description,
        now=clock.now(),
    )
    return 201, _out(webhook) | {"secret": webhook.secret}


@router.get(
    "/webhooks/{uuid:webhook_id}", response=WebhookOut, summary="A webhook", openapi_extra=_described("no_such_webhook")
)
def get_webhook(request: HttpRequest, webhook_id: UUID) -> dict[str, Any]:
    return _out(_find(owner_of(request), webhook_id))


@router.patch(
    "/webhooks/{uuid:webhook_id}",
    response=WebhookOut,
    summary="Change a webhook",
    openapi_extra=_described("no_such_webhook", "invalid", "bad_target"),
)
def change_webhook(request: HttpRequest, webhook_id: UUID, body: WebhookChangeIn) -> dict[str, Any]:
    """What is left out stays. One that is enabled again is told of what happens from then on."""
    owner, now = owner_of(request), clock.now()
    webhook = _find(owner, webhook_id)
    fields = body.dict(exclude_none=True, exclude={"is_enabled"})
    if "types" in fields:
        fields["types"] = outbox.wanted_types(fields["types"])
    if "url" in fields:
        require_allowed(fields["url"])
    if fields:
        subscriptions.change(webhook, fields, now, owner.actor)
    if body.is_enabled:
        subscriptions.enable(webhook, now, owner.actor)
    elif body.is_enabled is not None:
        subscriptions.disable(webhook, DisabledCode.SWITCHED_OFF, now, owner.actor)
    return _out(_find(owner, webhook_id))


@router.delete(
    "/webhooks/{uuid:webhook_id}",
    response={204: None},
    summary="Delete a webhook",
    openapi_extra=_described("no_such_webhook"),
)
def delete_webhook(request: HttpRequest, webhook_id: UUID) -> tuple[int, None]:
    """With its deliveries, also those that are to be made."""
    owner = owner_of(request)
    subscriptions.delete(_find(owner, webhook_id), clock.now(), owner.actor)
    return 204, None


@router.post(
    "/webhooks/{uuid:webhook_id}/rotate",
    response=SecretOut,
    summary="A new secret",
    openapi_extra=_described("no_such_webhook"),
)
def rotate_secret(request: HttpRequest, webhook_id: UUID) -> dict[str, str]:
    """From now on deliveries are signed with it, and for 24 hours with the old one, too."""
    owner = owner_of(request)
    return {"secret": subscriptions.rotate(_find(owner, webhook_id), clock.now(), owner.actor)}


@router.post(
    "/webhooks/{uuid:webhook_id}/test",
    response={202: DeliveryOut},
    summary="Send a test",
    openapi_extra=_described(
        "no_such_webhook", "webhook_disabled", "too_many_tests", links={202: [("send_delivery_again", SENT)]}
    ),
)
def send_test(request: HttpRequest, webhook_id: UUID) -> tuple[int, Delivery]:
    """An event of the type `webhook.test`, at once. What comes of it stands in the list of deliveries."""
    return 202, outbox.add_test(_find(owner_of(request), webhook_id), clock.now())


@router.get(
    "/webhooks/{uuid:webhook_id}/deliveries",
    response=DeliveriesOut,
    summary="What was sent",
    openapi_extra=_described("no_such_webhook", "invalid"),
)
def list_deliveries(request: HttpRequest, webhook_id: UUID, asked: Query[DeliveriesAsked]) -> dict[str, Any]:
    """And what is to be sent, with what came of it; for a week."""
    found = Delivery.objects.filter(webhook=_find(owner_of(request), webhook_id)).order_by("-number")
    if asked.state is not None:
        found = found.filter(state=asked.state)
    if asked.before is not None:
        found = found.filter(number__lt=asked.before)
    rows = list(found[: asked.limit + 1])
    shown = rows[: asked.limit]
    return {"deliveries": shown, "next": shown[-1].number if len(rows) > asked.limit else None}


@router.post(
    "/webhooks/{uuid:webhook_id}/deliveries/{delivery_id}/redeliver",
    response={202: DeliveryOut},
    summary="Send a delivery once more",
    openapi_extra=_described("no_such_webhook", "no_such_delivery", "webhook_disabled"),
)
def send_delivery_again(request: HttpRequest, webhook_id: UUID, delivery_id: str) -> tuple[int, Delivery]:
    """Under its own id, so a receiver that has seen it can tell."""
    webhook = _find(owner_of(request), webhook_id)
    delivery = Delivery.objects.select_related("webhook").filter(webhook=webhook, id=delivery_id[:40]).first()
    if delivery is None:
        raise Problem(404, "There is no such delivery.", code="no_such_delivery")
    outbox.add_again(delivery, clock.now())
    delivery.refresh_from_db()
    return 202, delivery


def _find(owner: Owner, webhook_id: UUID) -> Webhook:
    """Raises Problem where there is none that they may see."""
    webhook = Webhook.objects.filter(pk=webhook_id).first()
    if webhook is None or not (owner.is_admin or webhook.owner == owner.name):
        raise Problem(404, "There is no such webhook.", code="no_such_webhook")
    return webhook


def _out(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": webhook.pk,
        "url": webhook.url,
        "scope": WebhookScope.ALL if webhook.is_of_all else WebhookScope.OWN,
        "types": webhook.types,
        "description": webhook.description,
        "is_enabled": webhook.is_enabled,
        "disabled_code": webhook.disabled_code,
        "created_at": webhook.created_at,
        "created_by": webhook.created_by,
        "last_success_at": webhook.last_success_at,
    }
