"""Deliveries are kept for a week."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from pools import retention
from pools.webhooks import Delivery
from runs.webhooks import outbox


def test_deliveries_are_deleted_after_a_week_and_not_before(receiver, make_webhook):
    webhook, now = make_webhook(receiver), timezone.now()
    old, young = (outbox.add_test(webhook, now - age) for age in (timedelta(days=7, seconds=1), timedelta(days=6)))
    assert sum(retention.deliveries(now)) == 1
    assert list(Delivery.objects.values_list("id", flat=True)) == [young.id]
    assert old.id != young.id
