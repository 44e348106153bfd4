"""What no turn can tell, because no worker lives or the database can't be written to, is told once all the same: by the
web processes, one for all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from django.core import mail
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from orchestrator_site import unavailable
from orchestrator_site.models import Beat
from orchestrator_site.watching import sights, watch
from orchestrator_site.watching.sights import full_or_low, words_of
from orchestrator_site.watching.watch import Watch
from pools import here
from pools.alarm_rows import AlarmCode, AlarmMail, RaisedAlarm
from pools.console import view
from pools.models import FleetEvent
from pools.reasons import LogKind
from pools.webhooks import Delivery
from runs.webhooks import courier
from tests.fixtures.fleet import Clock
from tests.integration.webhooks.receiver import answers

SILENT, UNWRITABLE = AlarmCode.CLUSTER_SILENT, AlarmCode.DATABASE_UNWRITABLE
LOW, FULL = AlarmCode.DISK_LOW, AlarmCode.DISK_FULL


def told(kind: str = "") -> list[tuple[str, str]]:
    kinds = [kind] if kind else [LogKind.ALARM, LogKind.ALL_CLEAR]
    return list(FleetEvent.objects.filter(kind__in=kinds).order_by("seq").values_list("kind", "code"))


class Watchers:
    """Web processes that look every ten seconds, in a time of their own."""

    def __init__(self, count: int, clock: Clock) -> None:
        self.all = [Watch() for _ in range(count)]
        self.clock = clock

    @property
    def now(self) -> datetime:
        return timezone.now()

    def watch_for(self, seconds: float) -> None:
        for _ in range(round(seconds / 10)):
            self.clock.advance(10)
            for each in self.all:
                each.look(self.now, 1000 + self.clock.ahead.total_seconds())


@pytest.fixture(autouse=True)
def roomy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A disk that has room, whatever this machine's has; what is sent is sent before the test goes on."""
    monkeypatch.setattr(sights, "free_bytes", lambda: 10**12)
    monkeypatch.setattr(Watch, "_send_for_the_cluster", lambda _: watch.send_what_is_queued())
    yield
    here.STANDING.clear()


@pytest.fixture
def watchers(clock: Clock) -> Watchers:
    return Watchers(2, clock)


@pytest.fixture
def hears(settings: Any, receiver: Any, make_webhook: Any) -> Any:
    """Somebody who gets webhooks and e-mails about alarms."""
    settings.ALERT_EMAILS = ["ada@example.com"]
    make_webhook(receiver, "alarm")
    return receiver


def beat(at: datetime) -> None:
    Beat.record("worker-1", 7, at=at, workers=2, idle_workers=2, waiting=0, due=0)


def subjects() -> list[str]:
    return [sent.subject for sent in mail.outbox]


# No cluster.


def test_that_no_cluster_lives_is_told_once_by_webhook_and_e_mail_though_none_can_send_it(watchers, hears):
    beat(watchers.now)
    watchers.watch_for(50)
    assert told() == [], "it may be restarted"
    watchers.watch_for(100)
    assert told() == [(LogKind.ALARM, SILENT)]
    assert hears.events() == ["alarm.raised"]
    assert hears.got[0].event["data"]["runbook_url"].endswith("#no-cluster-gives-a-sign-of-life")
    assert subjects() == ["[local] No cluster gives a sign of life"]
    for _ in range(9):
        beat(watchers.now)
        watchers.watch_for(10)
    watch.send_what_is_queued()  # the workers would
    assert told() == [(LogKind.ALARM, SILENT), (LogKind.ALL_CLEAR, SILENT)]
    assert hears.events() == ["alarm.raised", "alarm.cleared"]
    assert subjects()[1:] == ["[local] All clear: No cluster gives a sign of life"]
    assert not AlarmMail.objects.exists()


def test_a_web_process_that_has_just_started_or_slept_waits_for_a_cluster(watchers):
    watchers.watch_for(60)
    watchers.clock.advance(3600)  # the machine slept, and its clusters with it
    watchers.watch_for(60)
    assert told() == []
    watchers.watch_for(20)
    assert told() == [(LogKind.ALARM, SILENT)]


# The database.


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`database(error)`: each write fails so; `database(None)`: it is back."""
    trouble: list[Exception | None] = [None]
    real = watch.prove_writable

    def prove() -> None:
        if trouble[0] is not None:
            raise trouble[0]
        real()

    monkeypatch.setattr(watch, "prove_writable", prove)
    return lambda error: trouble.__setitem__(0, error)


def test_a_database_that_can_not_be_written_to_is_told_at_once_by_one_and_written_down_later(
    watchers, hears, database, make_receiver, make_webhook
):
    deaf = make_receiver()
    deaf.then(answers(500))
    make_webhook(deaf, "alarm.raised")
    beat(watchers.now)
    watchers.watch_for(20)
    database(OperationalError("database is locked"))
    watchers.watch_for(20)
    assert hears.events() == [], "a moment is no alarm"
    watchers.watch_for(60)
    assert [(got.event["type"], got.event["code"]) for got in hears.got] == [("alarm.raised", UNWRITABLE)]
    assert "locked" in hears.got[0].event["message"]
    assert subjects() == ["[local] The database can't be written to"]
    assert told() == []
    database(None)
    beat(watchers.now)
    watchers.watch_for(10)
    assert told() == [(LogKind.ALARM, UNWRITABLE), (LogKind.ALL_CLEAR, UNWRITABLE)]
    assert not RaisedAlarm.objects.exists()
    lasted = FleetEvent.objects.get(kind=LogKind.ALL_CLEAR).data["lasted_seconds"]
    assert lasted >= 60
    deaf.then(answers(200))
    Delivery.objects.filter(next_attempt_at__gt=timezone.now()).update(next_attempt_at=None)
    courier.deliver()
    assert hears.events() == ["alarm.raised", "alarm.cleared"], "each once"
    assert deaf.got[-1].event["type"] == "alarm.raised", "who could not be told then is told now"
    watch.send_what_is_queued()
    assert subjects() == [
        "[local] The database can't be written to",
        "[local] All clear: The database can't be written to",
    ]


def test_after_a_long_outage_who_told_writes_it_down_whoever_looks_first(watchers, hears, database):
    """The lease ran out meanwhile: another process took it, and told of the beginning once more."""
    beat(watchers.now)
    watchers.watch_for(20)
    database(OperationalError("database is locked"))
    watchers.watch_for(150)
    database(None)
    watchers.all.reverse()
    beat(watchers.now)
    watchers.watch_for(10)
    watch.send_what_is_queued()
    courier.deliver()
    assert told() == [(LogKind.ALARM, UNWRITABLE), (LogKind.ALL_CLEAR, UNWRITABLE)]
    assert hears.events() == ["alarm.raised", "alarm.cleared"]
    assert len(subjects()) == 2


def test_an_outage_is_no_end_of_what_else_is_wrong(watchers, database):
    """While it lasted nobody could confirm that no cluster lives, and that was told as an end of it."""
    watchers.watch_for(80)
    assert told() == [(LogKind.ALARM, SILENT)]
    database(OperationalError("database is locked"))
    watchers.watch_for(80)
    database(None)
    watchers.watch_for(200)
    assert (LogKind.ALL_CLEAR, SILENT) not in told()
    assert told().count((LogKind.ALARM, SILENT)) == 1


def test_while_it_lasts_the_page_that_is_left_says_what_is_wrong_and_leads_to_the_runbook(watchers, database):
    watchers.watch_for(20)
    database(OperationalError("attempt to write a readonly database"))
    watchers.watch_for(60)
    page = unavailable.answer("/admin/pools/fleet/").content.decode()
    assert "The database can&#x27;t be written to" in page
    assert "It is read-only." in page
    view.forget()
    assert any(alarm.subject == UNWRITABLE for alarm in view.view().alarms), "the fleet's page says so, too"
    assert Client().get("/admin/runbook/").status_code == 200
    database(None)
    watchers.watch_for(10)
    assert not here.STANDING


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("database is locked", "It is locked"),
        ("canceling statement due to lock timeout", "It is locked"),
        ("cannot execute INSERT in a read-only transaction", "It is read-only."),
        ("database or disk is full", "Its disk is full"),
        ('could not extend file "base/1": No space left on device', "Its disk is full"),
        ("connection to server at 10.0.0.5, port 5432 failed", "It is away, or refuses us."),
    ],
)
def test_what_is_wrong_with_it_is_said_without_naming_anybody(said: str, words: str):
    assert words_of(OperationalError(said)).startswith(words)
    assert "10.0.0.5" not in words_of(OperationalError(said))


# The disk.


@pytest.mark.parametrize(
    ("mib", "standing", "alarms"),
    [
        (2000, [], []),
        (1000, [], [LOW]),
        (1060, [LOW], [LOW]),  # a little more room than when it began
        (1200, [LOW], []),
        (10, [], [FULL]),
        (10, [LOW], [FULL, LOW]),
        (68, [FULL], [FULL]),
        (80, [FULL], [LOW]),
    ],
)
def test_a_disk_is_low_before_it_is_full_and_both_end_with_some_room_to_spare(mib: int, standing: Any, alarms: Any):
    assert list(full_or_low(mib * sights.MIB, standing)) == alarms


def test_a_disk_that_fills_up_is_told_step_by_step_and_named_for_operators(watchers, hears, monkeypatch):
    for mib in (5000, 900, 3, 5000):
        monkeypatch.setattr(sights, "free_bytes", lambda mib=mib: mib * sights.MIB)
        for _ in range(6):
            beat(watchers.now)
            watchers.watch_for(10)
    assert told(LogKind.ALARM) == [(LogKind.ALARM, LOW), (LogKind.ALARM, FULL)]
    assert sorted(code for _, code in told(LogKind.ALL_CLEAR)) == [FULL, LOW]
    watch.send_what_is_queued()
    assert len(hears.got) == 4
    assert sights.this_host() in subjects()[0]
    assert sights.this_host() not in hears.got[0].event["message"]
