"""Webhooks and their deliveries in the admin: what was sent, what came of it, and what operators do about it."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from pools import clock
from pools.console.operations import Refused
from pools.console.rights import MachineOwned
from pools.problems import Problem
from pools.webhooks import OPEN, Delivery, DisabledCode, Webhook
from runs.webhooks import outbox, subscriptions


def enable(webhook: Webhook, *, actor: str, reason: str) -> str:
    if not subscriptions.enable(webhook, clock.now(), actor, reason):
        raise Refused(f"{webhook} is enabled.")
    return f"{webhook} enabled"


def disable(webhook: Webhook, *, actor: str, reason: str) -> str:
    if not subscriptions.disable(webhook, DisabledCode.SWITCHED_OFF, clock.now(), actor, reason):
        raise Refused(f"{webhook} is disabled already.")
    return f"{webhook} disabled"


def send_test(webhook: Webhook, *, actor: str, reason: str) -> str:
    try:
        made = outbox.add_test(webhook, clock.now())
    except Problem as problem:
        raise Refused(f"{webhook}: {problem.detail}") from None
    return f"{webhook} is sent the test {made}"


def redeliver(delivery: Delivery, *, actor: str, reason: str) -> str:
    try:
        outbox.add_again(delivery, clock.now())
    except Problem as problem:
        raise Refused(f"{delivery}: {problem.detail}") from None
    return f"{delivery} is sent once more"


@admin.register(Webhook)
class WebhookAdmin(MachineOwned):
    list_display = ("short_id", "url", "owner", "of", "wants", "is_enabled", "disabled_code", "last_success_at", "open")
    list_filter = ("is_enabled", "disabled_code", "is_of_all")
    search_fields = ("url", "owner", "description")
    actions = ("test_chosen", "enable_chosen", "disable_chosen")
    fields = (
        *("id", "url", "owner", "of", "wants", "description", "is_enabled", "disabled_code", "given_up", "seq"),
        *("created_at", "created_by", "last_success_at", "its_deliveries"),
    )
    readonly_fields = ("of", "wants", "its_deliveries")

    @admin.display(description="Webhook", ordering="id")
    def short_id(self, webhook: Webhook) -> str:
        return webhook.short_id

    @admin.display(description="Told of", ordering="is_of_all")
    def of(self, webhook: Webhook) -> str:
        return "everything" if webhook.is_of_all else "its own runs"

    @admin.display(description="Events")
    def wants(self, webhook: Webhook) -> str:
        return ", ".join(webhook.types) or "all"

    @admin.display(description="To be sent")
    def open(self, webhook: Webhook) -> int:
        return webhook.deliveries.filter(state__in=OPEN).count()

    @admin.display(description="Deliveries")
    def its_deliveries(self, webhook: Webhook) -> str:
        found = reverse("admin:pools_delivery_changelist")
        return format_html('<a href="{}?webhook__id__exact={}">What was sent</a>', found, webhook.pk)

    @admin.action(description="Send a test", permissions=["destroy"])
    def test_chosen(self, request: HttpRequest, chosen: QuerySet[Webhook]) -> None:
        self.act_on_each(request, chosen, send_test)

    @admin.action(description="Enable", permissions=["destroy"])
    def enable_chosen(self, request: HttpRequest, chosen: QuerySet[Webhook]) -> None:
        self.act_on_each(request, chosen, enable)

    @admin.action(description="Disable", permissions=["destroy"])
    def disable_chosen(self, request: HttpRequest, chosen: QuerySet[Webhook]) -> None:
        self.act_on_each(request, chosen, disable)


@admin.register(Delivery)
class DeliveryAdmin(MachineOwned):
    list_display = (
        *("id", "type", "state", "attempts", "last_status", "last_error", "created_at", "next_attempt_at", "webhook"),
    )
    list_filter = ("state", "type", "created_at", ("webhook", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("webhook",)
    list_per_page = 100
    search_fields = ("id",)
    search_help_text = "The id of a delivery: msg_…"
    actions = ("redeliver_chosen",)
    fields = (
        *("id", "webhook", "type", "state", "attempts", "next_attempt_at", "last_status", "last_error", "created_at"),
        *("delivered_at", "sent"),
    )
    readonly_fields = ("sent",)

    @admin.display(description="What is sent")
    def sent(self, delivery: Delivery) -> str:
        return format_html("<pre>{}</pre>", json.dumps(delivery.payload, indent=2, ensure_ascii=False))

    @admin.action(description="Send once more", permissions=["destroy"])
    def redeliver_chosen(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        self.act_on_each(request, chosen.select_related("webhook"), redeliver)
