"""Alarms are told when they begin and when they end, once each, to the log and to those who get e-mails."""

from __future__ import annotations

from datetime import timedelta
from smtplib import SMTPServerDisconnected

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.utils import timezone

from pools import alarm_mail, alarms, claims
from pools.alarm_rows import AlarmCode, AlarmMail, RaisedAlarm
from pools.alarms import Standing
from pools.models import FailureKind, Fleet, FleetEvent, Pool, Sandbox
from pools.reasons import LogKind
from pools.turn import alarm_watch
from pools.turn.facts import PoolFacts
from runs import feed

pytestmark = pytest.mark.django_db(transaction=True)


def told() -> list[tuple[str, str]]:
    lines = FleetEvent.objects.filter(kind__in=[LogKind.ALARM, LogKind.ALL_CLEAR]).order_by("seq")
    return list(lines.values_list("kind", "code"))


def test_a_token_that_is_refused_is_told_once_and_once_more_when_it_works_again(paper_fleet, pool):
    refused = paper_fleet.cloud.fault(operation="*", status=401)
    paper_fleet.turns(4, seconds_apart=20)
    assert told() == [("alarm", AlarmCode.TOKEN_REFUSED)]
    paper_fleet.cloud.control.clear(refused)
    paper_fleet.turns(4, seconds_apart=20)
    assert told() == [("alarm", AlarmCode.TOKEN_REFUSED), ("all_clear", AlarmCode.TOKEN_REFUSED)]


def test_a_listing_that_fails_now_and_then_is_no_alarm(paper_fleet):
    now = timezone.now()
    Fleet.objects.update(listing_error="It answered 500.", listed_at=now - timedelta(seconds=30))
    alarm_watch.watch((), now)
    assert told() == []
    alarm_watch.watch((), now + timedelta(minutes=3))
    assert told() == [("alarm", AlarmCode.LISTING_FAILS)]


def test_an_orphan_that_the_machine_deletes_wakes_nobody(paper_fleet):
    paper_fleet.cloud.control.make_app("sandbox-0badcafe", owner="local")
    paper_fleet.turns(30, seconds_apart=10)
    assert paper_fleet.cloud.state()["apps"] == []
    assert told() == []


def test_one_that_stays_is_told_until_it_is_gone(paper_fleet):
    refused = paper_fleet.cloud.fault(operation="delete", status=500)
    paper_fleet.cloud.control.make_app("sandbox-0badcafe", owner="local")
    paper_fleet.turns(30, seconds_apart=10)
    orphans = [line for line in told() if line[1] == AlarmCode.ORPHANS]
    assert orphans == [("alarm", AlarmCode.ORPHANS)]
    paper_fleet.cloud.control.clear(refused)
    paper_fleet.turns(60, seconds_apart=10)
    orphans = [line for line in told() if line[1] == AlarmCode.ORPHANS]
    assert orphans == [("alarm", AlarmCode.ORPHANS), ("all_clear", AlarmCode.ORPHANS)]


def test_each_pools_breaker_is_an_alarm_of_its_own_and_stays_when_a_turn_dies(paper_fleet):
    now = timezone.now()
    failed = tuple((now - timedelta(seconds=10 - n), FailureKind.PROVIDER) for n in range(4))
    pools = [PoolFacts(id=1, name="python", runtime="python", outcomes=failed), PoolFacts(2, "node", "node")]
    alarm_watch.watch(pools, now)
    alarm_watch.watch(None, now)
    assert told() == [("alarm", AlarmCode.BREAKER_OPEN)]
    assert RaisedAlarm.objects.get().pool_name == FleetEvent.objects.get(kind="alarm").pool_name == "python"
    alarm_watch.watch([PoolFacts(id=1, name="python", runtime="python")], now)
    assert told()[1:] == [("all_clear", AlarmCode.BREAKER_OPEN)]


def test_a_stop_of_deletions_is_told_with_its_reason(paper_fleet):
    Fleet.objects.update(stopped_at=timezone.now(), stopped_reason="6 of 8 would go")
    for _ in range(2):
        alarm_watch.watch((), timezone.now())
    assert "6 of 8 would go" in FleetEvent.objects.get(kind="alarm").message


def test_those_who_are_to_know_get_an_e_mail_and_nobody_else(paper_fleet, settings, worker):
    Fleet.objects.update(stopped_at=timezone.now(), stopped_reason="6 of 8 would go")
    alarm_watch.watch((), timezone.now())
    worker.work()
    assert mail.outbox == []
    settings.ALERT_EMAILS = ["ada@example.com", "otto@example.com"]
    Fleet.objects.update(stopped_at=None)
    paper_fleet.clock.advance(90)
    alarm_watch.watch((), timezone.now())
    worker.work()
    (sent,) = mail.outbox
    assert sent.to == settings.ALERT_EMAILS
    assert sent.subject == "[local] All clear: Deletions wait for an operator"
    assert "90 s" in sent.body


def test_trouble_with_alarms_ends_no_turn(paper_fleet, pool, monkeypatch):
    def breaks(*_: object) -> None:
        raise RuntimeError("it is broken")

    monkeypatch.setattr(alarm_watch, "of_fleet", breaks)
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    assert Sandbox.objects.filter(state="ready").count() == 1


def test_an_e_mail_that_can_not_be_sent_is_tried_again_for_about_a_day(paper_fleet, settings, monkeypatch):
    def refused(*_: object, **__: object) -> None:
        raise SMTPServerDisconnected("greylisted")

    settings.ALERT_EMAILS = ["ada@example.com"]
    now = begun = timezone.now()
    alarms.begin(Standing(AlarmCode.ORPHANS, "There are some."), now)
    monkeypatch.setattr(EmailMessage, "send", refused)
    message_ids = set()
    while (waiting := AlarmMail.objects.first()) is not None:
        message_ids.add(waiting.message_id)
        now = waiting.next_attempt_at
        with pytest.raises(SMTPServerDisconnected):
            alarm_mail.send_due(now)
    assert timedelta(hours=12) < now - begun < timedelta(hours=26)
    assert len(message_ids) == 1, "who gets it twice after all is to see that it is one"


def test_an_e_mail_that_failed_is_sent_once_by_whoever_is_first(paper_fleet, settings, monkeypatch):
    settings.ALERT_EMAILS = ["ada@example.com"]
    now = timezone.now()
    alarms.begin(Standing(AlarmCode.ORPHANS, "There are some."), now)
    stale = AlarmMail.objects.get()
    alarm_mail.send_due(now)
    alarm_mail._send(stale, now)  # another process has read it before
    assert len(mail.outbox) == 1
    assert not AlarmMail.objects.exists()


def test_an_alarm_leads_to_the_button_and_to_the_runbook(paper_fleet, settings, worker):
    settings.PUBLIC_URL, settings.ALERT_EMAILS = "https://arcade.example.com", ["ada@example.com"]
    Fleet.objects.update(stopped_at=timezone.now(), stopped_reason="6 of 8 would go")
    alarm_watch.watch((), timezone.now())
    worker.work()
    button = f"https://arcade.example.com/admin/pools/fleet/#alarm-{RaisedAlarm.objects.get().occurrence}"
    help_ = "https://arcade.example.com/admin/runbook/#deletions-are-stopped"
    (sent,) = mail.outbox
    assert button in sent.body
    assert help_ in sent.body
    line = FleetEvent.objects.get(kind="alarm")
    assert (line.data["alarm_url"], line.data["runbook_url"]) == (button, help_)
    assert feed.as_json(line)["data"]["alarm_url"] == button


@pytest.mark.parametrize("whose", ["a sandbox", "an app without a row"])
def test_a_deletion_that_is_refused_for_two_minutes_is_told_until_it_is_gone(paper_fleet, pool, whose, monkeypatch):
    """An app without a row stayed for good, and nobody was told."""
    monkeypatch.setattr("pools.cloud.app_platform.CONFIRM_SECONDS", 0.0)
    if whose == "a sandbox":
        paper_fleet.acquire(pool)
        paper_fleet.settle()
        Pool.objects.update(mode="paused")
        claims.retire(Sandbox.objects.get().pk, "retired", "an operator wants it gone", paper_fleet.clock.now())
    else:
        paper_fleet.cloud.control.make_app("sandbox-0badcafe", owner="local")
    refused = paper_fleet.cloud.fault(operation="delete", status=500)
    paper_fleet.turns(30, seconds_apart=20)
    assert [line for line in told() if line[1] == AlarmCode.DELETE_REFUSED] == [("alarm", AlarmCode.DELETE_REFUSED)]
    paper_fleet.cloud.control.clear(refused)
    paper_fleet.turns(40, seconds_apart=10)
    assert ("all_clear", AlarmCode.DELETE_REFUSED) in told()


def test_what_is_confirmed_no_more_is_over_and_told_once(paper_fleet):
    now = timezone.now()
    full = Standing(AlarmCode.DISK_FULL, "3 MiB are free.", host="web-1")
    for seconds in (0, 10, 20):
        alarms.confirm([full], now + timedelta(seconds=seconds))
        alarms.end_unconfirmed(now + timedelta(seconds=seconds))
    assert told() == [("alarm", AlarmCode.DISK_FULL)]
    assert "web-1" not in FleetEvent.objects.get().message, "everybody may read it"
    for _ in range(2):
        alarms.end_unconfirmed(now + timedelta(seconds=80))
    assert told() == [("alarm", AlarmCode.DISK_FULL), ("all_clear", AlarmCode.DISK_FULL)]
