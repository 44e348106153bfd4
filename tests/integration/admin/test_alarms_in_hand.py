"""*I have it*: who has an alarm in hand is seen by the others, on the page, in the API and in the log."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from orchestrator_site.models import Beat
from pools import alarms
from pools.alarm_rows import AlarmCode, AlarmInHand, RaisedAlarm
from pools.alarms import Standing
from pools.console import view
from pools.models import Fleet, FleetEvent, Level
from pools.reasons import LogKind, StepCode
from tests.integration.admin.conftest import FLEET, Person, log, told

HAVE = "/admin/alarms/in-hand/"


def stop_deletions() -> RaisedAlarm:
    """An alarm that stands, as a turn would raise it."""
    now = timezone.now()
    Fleet.objects.update(stopped_at=now, stopped_reason="6 of 8 would go.")
    assert alarms.begin(Standing(AlarmCode.DELETIONS_STOPPED, "6 of 8 would go."), now)
    view.forget()
    return RaisedAlarm.objects.get()


def shown(person: Person, path: str = FLEET) -> str:
    view.forget()
    return str(person.get(path).content.decode())


@pytest.mark.parametrize("path", [FLEET, "/admin/"])
def test_an_operator_takes_an_alarm_in_hand_and_the_others_see_who_and_since_when(
    path: str, operator: Person, viewer: Person, fleet: Any
):
    alarm = stop_deletions()
    assert f'id="alarm-{alarm.occurrence}"' in shown(operator, path)
    assert "I have it" in shown(operator, path)
    done = operator.client.post(HAVE, {"occurrence": alarm.occurrence}, HTTP_REFERER=f"http://testserver{path}")
    assert (done.status_code, done["Location"]) == (302, path)
    page = shown(viewer, path)
    assert "<strong>otto</strong> has it since" in page
    assert "I have it" not in page
    assert log(LogKind.IN_HAND) == [("otto", "an operator has the alarm in hand: Deletions wait for an operator")]
    assert RaisedAlarm.objects.exists(), "it goes on until its cause ends"


def test_the_second_one_is_told_who_was_first(operator, destroyer, fleet):
    alarm = stop_deletions()
    operator.post(HAVE, occurrence=alarm.occurrence)
    assert "otto has had it since" in told(destroyer.post(HAVE, occurrence=alarm.occurrence))
    assert len(log(LogKind.IN_HAND)) == 1


def test_one_that_came_again_is_in_nobodys_hands(operator, fleet):
    first = stop_deletions()
    operator.post(HAVE, occurrence=first.occurrence)
    alarms.end(first, timezone.now())
    assert FleetEvent.objects.get(kind=LogKind.ALL_CLEAR).data["had_by"] == "otto"
    second = stop_deletions()
    assert second.occurrence != first.occurrence
    assert "I have it" in shown(operator)
    assert "That alarm is over." in told(operator.post(HAVE, occurrence=first.occurrence))


def test_news_that_somebody_has_is_not_shown_any_more(operator, fleet):
    """A banner about what happened once stayed for an hour, and nobody could put it away."""
    from pools import journal

    journal.record(LogKind.TROUBLE, "It is another's.", code=StepCode.ID_OF_ANOTHER, name="a", level=Level.ERROR)
    view.forget()
    (news,) = [each for each in operator.get(FLEET).context["alarms"] if "wrong app id" in each.title]
    operator.post(HAVE, occurrence=news.occurrence)
    assert "wrong app id" not in shown(operator)


def test_a_cluster_that_was_replaced_is_put_away_and_one_that_dies_later_is_not(operator, fleet):
    beat = {"workers": 4, "idle_workers": 4, "waiting": 0, "due": 0}
    now = timezone.now()
    Beat.objects.create(host="new", pid=1, at=now, **beat)
    Beat.objects.create(host="old", pid=2, at=now - timedelta(minutes=3), **beat)
    (alarm,) = [each for each in operator.get("/admin/").context["alarms"] if "has not beaten" in each.title]
    operator.post(HAVE, occurrence=alarm.occurrence)
    assert "has not beaten" not in shown(operator, "/admin/")
    Beat.objects.filter(host="old").update(at=now - timedelta(minutes=2))
    assert "has not beaten" in shown(operator, "/admin/")


def test_what_only_the_watch_sees_is_on_the_fleets_page_too(viewer, fleet):
    alarms.confirm([Standing(AlarmCode.CLUSTER_SILENT, "For 2 min."), Standing(AlarmCode.DISK_FULL, "x", host="web-1")],
                   timezone.now())  # fmt: skip
    page = shown(viewer)
    assert "No cluster gives a sign of life" in page
    assert "A disk is full (web-1)" in page
    titles = [alarm.title for alarm in viewer.get("/admin/").context["alarms"]]
    assert titles.count("No cluster gives a sign of life") == 1
    assert not [title for title in titles if "Django-Q" in title], "it is told once"


def test_the_api_tells_who_has_what_and_takes_it_from_operators(operator, viewer, fleet):
    alarm = stop_deletions()
    (listed,) = viewer.get("/api/alarms").json()["alarms"]
    assert (listed["id"], listed["code"], listed["in_hand_by"]) == (alarm.occurrence, "deletions_stopped", None)
    assert listed["alarm_url"].endswith(f"/admin/pools/fleet/#alarm-{alarm.occurrence}")
    assert listed["runbook_url"].endswith("/admin/runbook/#deletions-are-stopped")
    path = f"/api/alarms/{alarm.occurrence}/in-hand"
    assert viewer.client.post(path).status_code == 403
    taken = operator.client.post(path)
    assert (taken.status_code, taken.json()["in_hand_by"]) == (200, "otto")
    assert operator.client.post(path).status_code == 409
    assert operator.client.post("/api/alarms/0badcafe/in-hand").json()["code"] == "no_such_alarm"
    assert viewer.get("/api/alarms").json()["alarms"][0]["in_hand_by"] == "otto"
    assert AlarmInHand.objects.get().title == "Deletions wait for an operator"
