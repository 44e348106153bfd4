"""Webhooks in the admin: operators look, and those who may destroy test, disable and send again."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from pools import webhooks
from pools.models import FleetEvent
from pools.webhooks import Delivery, DeliveryState, Webhook
from runs.webhooks import outbox, subscriptions
from runs.webhooks.owners import Owner
from tests.integration.admin.conftest import Person

WEBHOOKS, DELIVERIES = "/admin/pools/webhook/", "/admin/pools/delivery/"


@pytest.fixture
def webhook(db: None) -> Webhook:
    owner = Owner("ada", "ada", is_admin=True, is_key=False)
    url, now = "https://example.com/hooks", timezone.now()
    made = subscriptions.make(owner, url=url, is_of_all=True, types=["run"], description="", now=now)
    return Webhook.objects.get(pk=made.pk)


@pytest.fixture
def delivery(webhook: Webhook) -> Delivery:
    outbox.add_test(webhook, timezone.now())
    Delivery.objects.update(state=DeliveryState.GIVEN_UP, attempts=11, last_status=500, last_error="It answered 500.")
    return Delivery.objects.get()


def test_the_lists_and_pages_show_what_was_sent_and_never_the_secret(viewer: Person, delivery: Delivery):
    webhook = delivery.webhook
    for path in (WEBHOOKS, f"{WEBHOOKS}{webhook.pk}/change/", DELIVERIES, f"{DELIVERIES}{delivery.pk}/change/"):
        page = viewer.get(path)
        assert page.status_code == 200
        assert webhook.secret not in page.content.decode()
    shown = viewer.get(DELIVERIES).content.decode()
    assert delivery.id in shown
    assert "It answered 500." in shown
    assert "webhook.test" in viewer.get(f"{DELIVERIES}{delivery.pk}/change/").content.decode()


def test_nobody_makes_or_changes_one_by_hand(destroyer: Person, delivery: Delivery):
    for path in (f"{WEBHOOKS}add/", f"{DELIVERIES}add/"):
        assert destroyer.get(path).status_code == 403
    destroyer.post(f"{WEBHOOKS}{delivery.webhook_id}/change/", url="https://elsewhere.example/")
    assert Webhook.objects.get().url == "https://example.com/hooks"


def test_one_is_disabled_and_enabled_with_a_reason_that_is_written_down(destroyer: Person, webhook: Webhook):
    destroyer.act(WEBHOOKS, "disable_chosen", webhook, reason="it floods them")
    webhook.refresh_from_db()
    assert webhook.disabled_code == "switched_off"
    line = FleetEvent.objects.get(code="switched_off")
    assert (line.actor, "it floods them" in line.message) == (destroyer.name, True)
    assert LogEntry.objects.filter(change_message__contains="it floods them").exists()
    assert "disabled already" in destroyer.act(WEBHOOKS, "disable_chosen", webhook).content.decode()
    destroyer.act(WEBHOOKS, "enable_chosen", webhook)
    webhook.refresh_from_db()
    assert webhook.is_enabled


def test_a_test_is_sent_and_a_delivery_once_more(destroyer: Person, delivery: Delivery):
    destroyer.act(WEBHOOKS, "test_chosen", delivery.webhook)
    assert Delivery.objects.filter(type="webhook.test").count() == 2
    destroyer.act(DELIVERIES, "redeliver_chosen", delivery)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == (DeliveryState.PENDING, 0)


def test_operators_who_may_not_destroy_may_not(operator: Person, delivery: Delivery):
    assert operator.act(WEBHOOKS, "disable_chosen", delivery.webhook).status_code == 403
    assert operator.act(DELIVERIES, "redeliver_chosen", delivery).status_code == 403
    assert Webhook.objects.get().is_enabled


@pytest.fixture(autouse=True)
def forgotten() -> None:
    webhooks.ARE_THERE.forget()
