"""Webhooks are told of each event once it is committed: signed, in order, again and again until they take it."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ

from pools import api_keys, fleet_log, journal, leases, webhooks
from pools.models import FleetEvent
from pools.reasons import LogKind
from pools.webhooks import Courier, Delivery, DeliveryState, DisabledCode, Webhook
from runs import feed, upkeep
from runs.webhooks import courier, outbox, retries, sending, signing, subscriptions
from tests.fixtures.waiting import until
from tests.integration.webhooks.conftest import ended, launched
from tests.integration.webhooks.receiver import answers, closes, floods, trickles

DELIVER = "runs.tasks.deliver_webhooks"


def states() -> list[str]:
    return list(Delivery.objects.order_by("number").values_list("state", flat=True))


def make_all_due() -> None:
    """The time until the next attempts has passed."""
    Delivery.objects.exclude(next_attempt_at=None).update(next_attempt_at=timezone.now() - timedelta(seconds=1))


# What is sent.


def test_a_receiver_gets_each_event_as_the_feed_has_it_and_signed(receiver, make_webhook):
    webhook = make_webhook(receiver)
    run = ended()
    courier.deliver()
    assert receiver.events() == ["run.launched", "run.ended"]
    for got, event in zip(receiver.got, FleetEvent.objects.filter(run_id=run.pk).order_by("seq"), strict=True):
        assert got.event == feed.as_json(event)
        assert signing.why_refused(webhook.secret, got.headers, got.body, time.time()) == ""
        assert got.headers["content-type"] == "application/json"
    assert states() == [DeliveryState.DELIVERED] * 2
    assert {got.id for got in receiver.got} == set(Delivery.objects.values_list("id", flat=True))
    webhook.refresh_from_db()
    assert webhook.last_success_at is not None


def test_for_a_day_an_old_secret_signs_beside_the_new_one(receiver, make_webhook):
    """So a receiver that has the one loses nothing until it has the other."""
    webhook, now = make_webhook(receiver), timezone.now()
    secrets = [webhook.secret, subscriptions.rotate(webhook, now, "ada")]
    launched()
    courier.deliver()
    Webhook.objects.update(old_secret_until=now)
    launched()
    courier.deliver()

    def taken(got, secret: str) -> bool:
        return signing.why_refused(secret, got.headers, got.body, time.time()) == ""

    assert [[taken(got, secret) for secret in secrets] for got in receiver.got] == [[True, True], [False, True]]


def test_a_secret_that_was_rotated_twice_signs_nothing_more(receiver, make_webhook):
    webhook = make_webhook(receiver)
    for _ in range(2):
        subscriptions.rotate(webhook, timezone.now(), "ada")
    launched()
    courier.deliver()
    assert signing.why_refused(webhook.secret, receiver.got[0].headers, receiver.got[0].body, time.time())


def test_each_is_told_of_what_it_wants_and_may_see(make_receiver, make_webhook, key):
    all_ends, own, fleet = make_receiver(), make_receiver(), make_receiver()
    make_webhook(all_ends, "run.ended")
    make_webhook(own, is_of_all=False)
    make_webhook(fleet, "pool", "fleet")
    ended()
    mine = launched(key.client)
    journal.record(LogKind.POOL, "pool python paused")
    courier.deliver()
    assert all_ends.events() == ["run.ended"]
    assert [got.event["run_id"] for got in own.got] == [str(mine.pk)]
    assert fleet.events() == ["pool.changed"]


def test_nothing_is_told_from_before_it_was_made_nor_twice(receiver, make_webhook):
    ended()
    make_webhook(receiver)
    courier.deliver()
    assert receiver.got == []
    launched()
    courier.deliver()
    courier.deliver()
    assert receiver.events() == ["run.launched"]


def test_of_two_who_fill_the_outbox_at_once_one_does(receiver, make_webhook):
    webhook = make_webhook(receiver)
    for _ in range(5):
        launched()
    as_seen = [Webhook.objects.get() for _ in range(2)]
    for each in as_seen:
        outbox.fill([each], timezone.now())
    assert Delivery.objects.count() == 5
    webhook.refresh_from_db()
    assert webhook.seq == fleet_log.last_seq()


def test_many_events_come_in_their_order(receiver, make_webhook, monkeypatch):
    monkeypatch.setattr(outbox, "LINES", 3)
    make_webhook(receiver, "run.launched")
    runs = [str(launched().pk) for _ in range(10)]
    courier.deliver()
    assert [got.event["run_id"] for got in receiver.got] == runs


# Receivers that fail.


@pytest.mark.parametrize(
    ("behaviour", "status", "said"),
    [
        (answers(500), 500, "500"),
        (answers(404), 404, "404"),
        (closes, None, "could not be asked"),
        (trickles, None, "within"),
    ],
)
def test_what_fails_is_sent_again_under_the_same_id(receiver, make_webhook, behaviour, status, said):
    make_webhook(receiver)
    receiver.then(behaviour, answers(204))
    launched()
    courier.deliver()
    failed = Delivery.objects.get()
    assert (failed.state, failed.attempts, failed.last_status) == (DeliveryState.FAILED, 1, status)
    assert said in failed.last_error
    assert 3 < (failed.next_attempt_at - timezone.now()).total_seconds() < 7
    make_all_due()
    courier.deliver()
    first, second = receiver.got
    assert (first.id, first.body) == (second.id, second.body)
    assert states() == [DeliveryState.DELIVERED]


def test_a_receiver_that_hangs_holds_up_nobody_else(make_receiver, make_webhook, monkeypatch):
    monkeypatch.setattr(sending, "TOTAL_SECONDS", 60.0)
    hanging, well = make_receiver(), make_receiver()
    hanging.then(hanging.hang)
    make_webhook(hanging)
    make_webhook(well)
    launched()
    delivering = threading.Thread(target=lambda: (courier.deliver(), connection.close()))
    delivering.start()
    until(lambda: well.got, "the other has it")
    launched()
    until(lambda: len(well.got) == 2, "it also gets what comes meanwhile")
    hanging.hangs.set()
    delivering.join()
    assert len(hanging.got) == 1
    waiting = Delivery.objects.filter(webhook__url=hanging.url).order_by("number")
    assert [each.state for each in waiting] == [DeliveryState.FAILED, DeliveryState.PENDING]


def test_what_can_not_be_sent_at_all_is_an_attempt_that_failed(receiver, make_webhook):
    webhook = make_webhook(receiver)
    Webhook.objects.filter(pk=webhook.pk).update(url="http://xn--.com/")
    launched()
    courier.deliver()
    failed = Delivery.objects.get()
    assert (failed.state, failed.attempts) == (DeliveryState.FAILED, 1)
    assert "could not be asked" in failed.last_error


def test_an_answer_without_an_end_is_not_read_to_it(receiver, make_webhook):
    make_webhook(receiver)
    receiver.then(floods)
    launched()
    courier.deliver()
    assert states() == [DeliveryState.DELIVERED]


def test_a_redirect_is_a_failure_and_not_followed(make_receiver, make_webhook):
    receiver, other = make_receiver(), make_receiver()
    make_webhook(receiver)
    receiver.then(answers(302, Location=other.url))
    launched()
    courier.deliver()
    failed = Delivery.objects.get()
    assert (failed.state, failed.last_status) == (DeliveryState.FAILED, 302)
    assert "redirect" in failed.last_error
    assert other.got == []


def test_a_receiver_that_is_gone_is_told_of_nothing_more(receiver, make_webhook):
    webhook = make_webhook(receiver)
    receiver.then(answers(410))
    launched()
    launched()
    courier.deliver()
    launched()
    courier.deliver()
    webhook.refresh_from_db()
    assert (webhook.is_enabled, webhook.disabled_code) == (False, DisabledCode.GONE)
    assert len(receiver.got) == 1
    assert states() == [DeliveryState.GIVEN_UP] * 2
    line = FleetEvent.objects.get(kind=LogKind.WEBHOOK, code=DisabledCode.GONE)
    assert receiver.url not in line.message, "everybody may read the log"


@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_says_when_it_wants_to_be_asked_again(receiver, make_webhook, status):
    make_webhook(receiver)
    receiver.then(answers(status, Retry_After="600"))
    launched()
    courier.deliver()
    wait = (Delivery.objects.get().next_attempt_at - timezone.now()).total_seconds()
    assert 590 < wait <= 600


def test_after_one_that_failed_the_others_wait_to_come_in_their_order_but_not_for_ever(receiver, make_webhook):
    make_webhook(receiver)
    receiver.then(answers(500))
    first, second = str(launched().pk), str(launched().pk)
    for _ in range(retries.HELD_BACK_ATTEMPTS):
        courier.deliver()
        make_all_due()
    assert {got.event["run_id"] for got in receiver.got} == {first}
    receiver.then(answers(500), answers(200))
    courier.deliver()
    assert [got.event["run_id"] for got in receiver.got][-2:] == [first, second]
    assert states() == [DeliveryState.FAILED, DeliveryState.DELIVERED]


def test_a_webhook_whose_deliveries_are_given_up_one_after_the_other_is_disabled(receiver, make_webhook, monkeypatch):
    monkeypatch.setattr(outbox, "MOST_GIVEN_UP", 3)
    webhook = make_webhook(receiver)
    receiver.then(answers(500))
    for _ in range(4):
        launched()
    courier.deliver()
    Delivery.objects.update(attempts=len(retries.PAUSES_SECONDS), next_attempt_at=None)
    courier.deliver()
    webhook.refresh_from_db()
    assert webhook.disabled_code == DisabledCode.GIVEN_UP
    assert states() == [DeliveryState.GIVEN_UP] * 4
    assert len(receiver.got) == 4, "the last one was closed with the webhook"
    assert FleetEvent.objects.filter(kind=LogKind.WEBHOOK, code=DisabledCode.GIVEN_UP).count() == 1


def test_one_delivery_that_is_taken_makes_good_those_given_up_before(receiver, make_webhook):
    webhook = make_webhook(receiver)
    Webhook.objects.update(given_up=9)
    launched()
    courier.deliver()
    webhook.refresh_from_db()
    assert webhook.given_up == 0


def test_a_receiver_on_the_inside_is_never_asked(receiver, make_webhook, settings):
    """Also when its name led out when the webhook was made."""
    make_webhook(receiver)
    settings.WEBHOOKS_MAY_GO_INSIDE = False
    launched()
    courier.deliver()
    assert receiver.got == []
    assert "no public address" in Delivery.objects.get().last_error


def test_with_its_owners_key_a_webhook_ends(receiver, make_webhook, key):
    webhook = make_webhook(receiver)
    api_keys.revoke(key, by="ada", now=timezone.now())
    launched()
    courier.deliver()
    webhook.refresh_from_db()
    assert webhook.disabled_code == DisabledCode.OWNER_GONE
    assert receiver.got == []


# Who delivers.


def queued() -> int:
    return sum(row.task["func"] == DELIVER for row in OrmQ.objects.all())


def test_whoever_writes_calls_the_courier_and_however_many_write_once(receiver, make_webhook, worker):
    make_webhook(receiver)
    OrmQ.objects.all().delete()
    Courier.objects.all().delete()
    for _ in range(3):
        launched()
    assert queued() == 1
    assert DELIVER in worker.work()
    assert len(receiver.got) == 3
    launched()
    assert queued() == 1


def test_a_turn_calls_the_courier_for_what_it_writes(receiver, make_webhook, worker):
    """What a turn writes is fenced by its lease."""
    make_webhook(receiver)
    worker.work()
    with leases.hold("turn", 60) as lease, lease.fencing():
        journal.record(LogKind.LISTING, "the listing is complete again")
    assert queued() == 1


def test_without_webhooks_nobody_is_called(worker):
    launched()
    upkeep.call_courier(timezone.now())
    assert queued() == 0


def test_a_turn_calls_again_when_the_one_that_was_called_has_died(receiver, make_webhook, worker):
    make_webhook(receiver)
    launched()
    worker.lose()
    upkeep.call_courier(timezone.now())
    assert queued() == 0, "it may be on its way"
    Courier.objects.update(called_at=timezone.now() - webhooks.COMES_WITHIN - timedelta(seconds=1))
    upkeep.call_courier(timezone.now())
    assert queued() == 1


def test_while_one_courier_is_at_it_another_leaves_it_to_that_one(receiver, make_webhook):
    make_webhook(receiver)
    receiver.then(receiver.hang, answers(200))
    launched()
    delivering = threading.Thread(target=lambda: (courier.deliver(), connection.close()))
    delivering.start()
    until(lambda: receiver.got, "it is being sent")
    courier.deliver()
    assert len(receiver.got) == 1
    delivering.join()


def test_what_is_written_while_a_courier_packs_up_is_not_left_behind(receiver, make_webhook, monkeypatch):
    """Whoever writes then finds the lease taken, and calls: the one that goes looks again."""
    make_webhook(receiver)
    looks = []
    look = courier.Round._look

    def last_look(self, client, threads):
        goes_on = look(self, client, threads)
        if not goes_on and not looks:
            looks.append(1)
            launched()  # its task, if it ran now, would find the lease held
            courier.deliver()
        return goes_on

    monkeypatch.setattr(courier.Round, "_look", last_look)
    courier.deliver()
    assert receiver.events() == ["run.launched"]


def test_a_delivery_that_is_to_be_sent_again_while_it_is_sent_is(receiver, make_webhook):
    webhook = make_webhook(receiver)
    launched()
    assert not outbox.fill([webhook], timezone.now())
    delivery, _ = outbox.next_of(webhook.pk, timezone.now())
    assert delivery is not None
    Delivery.objects.update(attempts=5)
    assert not outbox.note(delivery, retries.Answer(500), chance=0, now=timezone.now())
    assert Delivery.objects.get().attempts == 5


def test_one_that_was_disabled_is_told_of_what_happens_once_it_is_enabled_again(receiver, make_webhook):
    webhook, now = make_webhook(receiver), timezone.now()
    assert subscriptions.disable(webhook, DisabledCode.SWITCHED_OFF, now)
    launched()
    assert subscriptions.enable(webhook, now, "ada")
    assert not subscriptions.enable(webhook, now, "ada")
    run = launched()
    courier.deliver()
    assert [got.event["run_id"] for got in receiver.got] == [str(run.pk)]
