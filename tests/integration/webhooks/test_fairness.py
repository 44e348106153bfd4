"""Receivers that hang, or that much is to be sent to, hold up nobody else's deliveries."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ
from django_q.tasks import async_task

from pools import api_keys, webhooks
from pools.webhooks import DisabledCode, Webhook
from runs.webhooks import courier, sending
from tests.fixtures.waiting import until
from tests.integration.webhooks.conftest import launched
from tests.integration.webhooks.receiver import answers


def in_background() -> threading.Thread:
    thread = threading.Thread(target=lambda: (courier.deliver(), connection.close()))
    thread.start()
    return thread


def test_however_many_receivers_of_one_owner_hang_anothers_are_served(make_receiver, make_webhook, monkeypatch):
    monkeypatch.setattr(courier, "MOST_AT_ONCE", 6)
    monkeypatch.setattr(sending, "TOTAL_SECONDS", 60.0)
    hanging, well = make_receiver(), make_receiver()
    hanging.then(hanging.hang)
    for _ in range(8):
        make_webhook(hanging)
    other = make_webhook(well)
    Webhook.objects.filter(pk=other.pk).update(
        owner=api_keys.make("other", ["admin"], by="ada", now=timezone.now())[0].client
    )
    launched()
    delivering = in_background()
    until(lambda: well.got, "the other has it")
    assert len(hanging.got) <= courier.MOST_OF_AN_OWNER
    hanging.hangs.set()
    delivering.join()
    assert len({got.id for got in hanging.got}) == 8


def test_webhooks_take_turns(make_receiver, make_webhook, monkeypatch):
    """With one thread, and much to be sent to each."""
    monkeypatch.setattr(courier, "MOST_AT_ONCE", 1)
    monkeypatch.setattr(courier, "SERVES_SECONDS", 0.0)
    receiver = make_receiver()
    made = [make_webhook(receiver) for _ in range(3)]
    for _ in range(3):
        launched()
    order: list[object] = []
    note = courier.outbox.note

    def noted(delivery, *args, **kwargs):
        order.append(delivery.webhook_id)
        return note(delivery, *args, **kwargs)

    monkeypatch.setattr(courier.outbox, "note", noted)
    courier.deliver()
    turns = [set(order[start : start + 3]) for start in (0, 3, 6)]
    assert turns == [{webhook.pk for webhook in made}] * 3


def test_what_is_to_be_sent_still_is_not_once_the_owners_key_is_revoked(receiver, make_webhook, key):
    """Also when nothing has happened since."""
    webhook = make_webhook(receiver)
    launched()
    assert not courier.outbox.fill([webhook], timezone.now())
    api_keys.revoke(key, by="ada", now=timezone.now())
    courier.deliver()
    assert receiver.got == []
    webhook.refresh_from_db()
    assert webhook.disabled_code == DisabledCode.OWNER_GONE


@pytest.mark.parametrize(("task", "gives_way"), [("runs.tasks.deploy", True), (webhooks.DELIVER, False)])
def test_a_courier_gives_way_to_tasks_that_wait_for_a_worker(receiver, make_webhook, monkeypatch, task, gives_way):
    """With two workers, one of them for turns, no game was deployed while a courier stayed."""
    monkeypatch.setattr(courier, "STAYS_BEFORE_OTHERS_SECONDS", 0.2)
    stays_seconds = 60.0 if gives_way else 1.0
    monkeypatch.setattr(courier, "STAYS_SECONDS", stays_seconds)
    monkeypatch.setattr(courier, "LINGER", timedelta(minutes=1))
    make_webhook(receiver)
    receiver.then(answers(500))
    launched()
    OrmQ.objects.all().delete()
    async_task(task, "x")
    began = time.monotonic()
    courier.deliver()
    assert (time.monotonic() - began < stays_seconds / 2) is gives_way
    assert webhooks.DELIVER in [row.func() for row in OrmQ.objects.all()], "it goes on after them"
