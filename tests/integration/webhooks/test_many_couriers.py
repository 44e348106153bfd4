"""Many processes that write and deliver at once, on both databases; one of them is killed."""

from __future__ import annotations

import subprocess
from collections import Counter

import pytest

from tests.fixtures.databases import Database
from tests.fixtures.waiting import until
from tests.integration.webhooks.receiver import Receiver

WRITERS, LINES, COURIERS = 2, 40, 3
PRELUDE = """
import os, sys, time
from datetime import timedelta
from django.utils import timezone
from pools import api_keys, journal, webhooks
from pools.reasons import LogKind
from pools.webhooks import Delivery, Webhook
from runs.webhooks import courier, subscriptions
from runs.webhooks.owners import Owner
courier.LINGER = timedelta()
"""
MAKE = (
    PRELUDE
    + """
key, _ = api_keys.make("robot", ["admin"], by="ada", now=timezone.now())
owner = Owner(key.client, key.actor, True, True)
for _ in range(2):
    subscriptions.make(owner, url=sys.argv[1], is_of_all=True, types=["pool"], description="", now=timezone.now())
"""
)
WRITE = PRELUDE + "[journal.record(LogKind.POOL, f'pool {n}') for n in range(int(sys.argv[1]))]"
DELIVER = (
    PRELUDE
    + """
print("begins", flush=True)
while True:
    courier.deliver()
    time.sleep(0.05)
"""
)
LEFT = PRELUDE + "print(Delivery.objects.count(), Delivery.objects.exclude(state='delivered').count())"


@pytest.fixture
def receiver() -> Receiver:
    made = Receiver()
    yield made
    made.stop()


def test_each_event_is_delivered_in_order_to_each_webhook_whoever_dies(database: Database, receiver: Receiver) -> None:
    database.environment["WEBHOOKS_MAY_GO_INSIDE"] = "true"
    database.answer(MAKE, receiver.url)
    couriers = [database.script(DELIVER) for _ in range(COURIERS)]
    try:
        writers = [database.script(WRITE, str(LINES)) for _ in range(WRITERS)]
        until(lambda: len(receiver.got) > 10, "they deliver", seconds=60)
        couriers[0].kill()
        for writer in writers:
            assert writer.wait(60) == 0, writer.stderr.read()
        all_of_them = 2 * WRITERS * LINES
        until(lambda: len({got.id for got in receiver.got}) == all_of_them, "all have come", seconds=60)
        until(lambda: database.answer(LEFT).split() == [str(all_of_them), "0"], "all are written down", seconds=60)
    finally:
        ended = [ended_by_kill(courier) for courier in couriers]
    assert [error for error in ended if "Traceback" in error] == []
    times = Counter(got.id for got in receiver.got)
    assert sum(times.values()) <= all_of_them + 2, "what was on its way when one died may come twice"
    seqs = Counter(got.event["seq"] for got in {got.id: got for got in receiver.got}.values())
    assert set(seqs.values()) == {2}
    assert len(seqs) == WRITERS * LINES


def ended_by_kill(courier: subprocess.Popen[str]) -> str:
    """What it complained of."""
    courier.kill()
    return courier.communicate()[1]
