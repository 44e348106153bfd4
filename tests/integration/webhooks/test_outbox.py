"""The outbox: each webhook's rows, at the cost of one look for all, and one that is broken is nobody else's trouble."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pools import fleet_log
from pools.webhooks import Delivery, DeliveryState, Webhook
from runs.webhooks import courier, outbox, retries
from tests.integration.webhooks.conftest import ended, launched
from tests.integration.webhooks.receiver import answers


def test_types_of_a_later_version_are_passed_over(receiver, make_webhook):
    """They are left behind when somebody goes back. The courier died of them, for all webhooks."""
    webhook, other = make_webhook(receiver), make_webhook(receiver)
    Webhook.objects.filter(pk=webhook.pk).update(types=["game.paused", "run.ended"])
    Webhook.objects.filter(pk=other.pk).update(types=["game.paused"])
    ended()
    courier.deliver()
    assert receiver.events() == ["run.ended"]


def test_one_that_can_not_be_filled_is_left_alone_and_the_others_are_served(receiver, make_webhook, monkeypatch):
    broken, well = make_webhook(receiver), make_webhook(receiver)
    view_of, looks = outbox.view_of, []

    def breaks(webhook):
        if webhook.pk == broken.pk:
            looks.append(webhook)
            raise ValueError("it is broken")
        return view_of(webhook)

    monkeypatch.setattr(outbox, "view_of", breaks)
    launched()
    courier.deliver()
    assert [got.event["type"] for got in receiver.got] == ["run.launched"]
    assert Delivery.objects.get().webhook_id == well.pk
    assert len(looks) == 2, "with the others, and once by itself"
    monkeypatch.setattr(outbox, "view_of", view_of)
    courier.deliver()
    assert len(receiver.got) == 2, "nothing is lost to it"


def test_filling_costs_as_much_for_many_webhooks_as_for_one(receiver, make_webhook):
    def queries() -> int:
        ended()
        with CaptureQueriesContext(
            connection,
        ) as sent:
            assert not outbox.fill(list(Webhook.objects.all()), timezone.now())
        return len(sent)

    make_webhook(receiver)
    one = queries()
    for _ in range(9):
        make_webhook(receiver)
    assert queries() == one
    assert Delivery.objects.count() == 2 + 20


def test_each_goes_on_where_it_was(receiver, make_webhook, monkeypatch):
    monkeypatch.setattr(outbox, "LINES", 3)
    behind = make_webhook(receiver)
    for _ in range(4):
        launched()
    later = make_webhook(receiver)
    for _ in range(4):
        launched()
    webhooks = list(Webhook.objects.all())
    while outbox.fill(webhooks, timezone.now()):
        webhooks = list(Webhook.objects.all())
    for webhook, count in ((behind, 8), (later, 4)):
        assert Delivery.objects.filter(webhook=webhook).count() == count
    assert set(Webhook.objects.values_list("seq", flat=True)) == {fleet_log.last_seq()}


def test_what_was_delivered_is_not_looked_through_for_what_is_due(receiver, make_webhook):
    webhook = make_webhook(receiver)
    now = timezone.now()
    Delivery.objects.bulk_create(
        Delivery(id=f"msg_{n}", webhook=webhook, type="x", payload={}, state="delivered", created_at=now)
        for n in range(500)
    )
    assert list(outbox.due(now)) == []
    if connection.vendor == "sqlite":
        plan = outbox.due(now).explain()
        assert "delivery_next" in plan
        assert "SCAN U0" not in plan
    outbox.add_test(webhook, now)
    assert list(outbox.due(now)) == [webhook]


@pytest.mark.parametrize("age", [timedelta(), retries.OLDEST * 2])
def test_an_old_delivery_that_is_sent_once_more_has_its_time(receiver, make_webhook, age):
    """It was given up at its first failure, and ten of them disabled the webhook."""
    webhook = make_webhook(receiver)
    launched()
    courier.deliver()
    Delivery.objects.update(created_at=timezone.now() - age)
    receiver.then(answers(500))
    outbox.add_again(Delivery.objects.select_related("webhook").get(), timezone.now())
    courier.deliver()
    assert Delivery.objects.get().state == DeliveryState.FAILED
    webhook.refresh_from_db()
    assert webhook.given_up == 0
