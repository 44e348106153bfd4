from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from pools import api_keys, journal, webhooks
from pools.webhooks import Webhook
from runs import lifecycle, lines
from runs.models import Run
from runs.reasons import RunEndCode
from runs.webhooks import courier, sending, subscriptions
from runs.webhooks.owners import Owner
from tests.fixtures.web import new_run
from tests.integration.webhooks.receiver import Receiver

MakeReceiver = Callable[[], Receiver]


@pytest.fixture(autouse=True)
def inside(transactional_db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Receivers are on loopback; nobody lingers, and what hangs does so for a moment."""
    settings.WEBHOOKS_MAY_GO_INSIDE = True
    monkeypatch.setattr(courier, "LINGER", timedelta())
    monkeypatch.setattr(courier, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(sending, "TOTAL_SECONDS", 1.0)
    webhooks.ARE_THERE.forget()
    yield
    webhooks.ARE_THERE.forget()


@pytest.fixture
def make_receiver() -> Iterator[MakeReceiver]:
    made: list[Receiver] = []

    def make() -> Receiver:
        made.append(Receiver())
        return made[-1]

    yield make
    for receiver in made:
        receiver.stop()


@pytest.fixture
def receiver(make_receiver: MakeReceiver) -> Receiver:
    return make_receiver()


@pytest.fixture
def key(transactional_db: None) -> api_keys.ApiKey:
    return api_keys.make("robot", ["admin"], by="ada", now=timezone.now())[0]


MakeWebhook = Callable[..., Webhook]


@pytest.fixture
def make_webhook(key: api_keys.ApiKey) -> MakeWebhook:
    """`make_webhook(receiver, "run.ended", is_of_all=False)`: told of it from now on."""

    def make(receiver: Receiver, *types: str, is_of_all: bool = True) -> Webhook:
        owner = Owner(key.client, key.actor, is_admin=True, is_key=True)
        now = timezone.now()
        made = subscriptions.make(
            owner, url=receiver.url, is_of_all=is_of_all, types=types or ["run"], description="", now=now
        )
        return Webhook.objects.get(pk=made.pk)

    return make


def launched(visitor: str = "somebody") -> Run:
    run = new_run(visitor=visitor)
    journal.write(lines.launched(run, timezone.now()))
    return run


def ended(visitor: str = "somebody") -> Run:
    run = launched(visitor)
    assert lifecycle.end(run.pk, RunEndCode.ENDED_BY_API, "Ended.", timezone.now())
    return run
