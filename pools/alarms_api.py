"""Alarms over HTTP: those that stand, and who has which in hand."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import Field

from pools import clock
from pools.alarm_rows import AlarmInHand, RaisedAlarm
from pools.alarms import data_of
from pools.api_keys import Scope
from pools.callers import require
from pools.console import hands
from pools.console.operations import Refused
from pools.described import described
from pools.problems import Problem
from pools.schemas import example

router = Router(tags=["fleet"])

ALARM = {
    "id": "3fa9c1d20badcafe",
    "code": "token_refused",
    "title": "DigitalOcean refuses the token",
    "detail": "Set a working DIGITALOCEAN_TOKEN.",
    "pool": "",
    "host": "",
    "raised_at": "2026-11-27T02:00:00Z",
    "in_hand_by": None,
    "in_hand_at": None,
    "alarm_url": "https://arcade.example.com/admin/pools/fleet/#alarm-3fa9c1d20badcafe",
    "runbook_url": "https://arcade.example.com/admin/runbook/#the-token-is-refused",
}


class AlarmOut(Schema):
    """One alarm that stands."""

    model_config = example(ALARM)

    id: str = Field(description="Of this occurrence: when the alarm comes again, it has another")
    code: str
    title: str
    detail: str
    pool: str = Field(description="The pool that it is about, if it is of one")
    host: str = Field(description="The machine that it is about, if it is of one")
    raised_at: datetime
    in_hand_by: str | None = Field(description="The operator, or key, that has it; none: nobody has")
    in_hand_at: datetime | None
    alarm_url: str = Field(description="Where operators take it in hand")
    runbook_url: str = Field(description="What to do about it")


class AlarmsOut(Schema):
    """All alarms that stand, the oldest first."""

    model_config = example({"alarms": [ALARM]})

    alarms: list[AlarmOut]


@router.get(
    "/alarms",
    response=AlarmsOut,
    summary="The alarms that stand, and who has which in hand",
    openapi_extra=described(scope=Scope.READ),
)
def list_alarms(request: HttpRequest) -> dict[str, Any]:
    """For keys with `read`, and operators who are signed in."""
    require(request, Scope.READ)
    found = list(RaisedAlarm.objects.order_by("raised_at", "subject"))
    in_hand = AlarmInHand.objects.in_bulk([alarm.occurrence for alarm in found])
    return {"alarms": [_told(alarm, in_hand.get(alarm.occurrence)) for alarm in found]}


@router.post(
    "/alarms/{slug:alarm_id}/in-hand",
    response=AlarmOut,
    summary="Say that you have an alarm in hand",
    openapi_extra=described("no_such_alarm", "conflict", scope=Scope.OPERATE),
)
def take_alarm_in_hand(request: HttpRequest, alarm_id: str) -> dict[str, Any]:
    """For keys with `operate`, and operators who may act. The alarm goes on until its cause ends."""
    actor = require(request, Scope.OPERATE)
    alarm = hands.raised(alarm_id)
    if alarm is None:
        raise Problem(404, "No alarm of that id stands.", code="no_such_alarm")
    try:
        hands.take(alarm_id, alarm.title, actor=actor, now=clock.now(), code=alarm.code, pool_name=alarm.pool_name)
    except Refused as error:
        raise Problem(409, str(error)) from error
    return _told(alarm, AlarmInHand.objects.get(pk=alarm_id))


def _told(alarm: RaisedAlarm, in_hand: AlarmInHand | None) -> dict[str, Any]:
    data = data_of(alarm)
    return {
        "id": alarm.occurrence,
        "code": alarm.code,
        "title": alarm.title,
        "detail": alarm.detail,
        "pool": alarm.pool_name,
        "host": alarm.host,
        "raised_at": alarm.raised_at,
        "in_hand_by": in_hand.by if in_hand else None,
        "in_hand_at": in_hand.at if in_hand else None,
        "alarm_url": data["alarm_url"],
        "runbook_url": data["runbook_url"],
    }
