"""Texts and dates of others, and what of them reaches a row: each costs itself only, and a turn that dies says why."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.utils import timezone

from orchestrator_site import health
from pools import fleet_log, journal
from pools.cloud.records import App, Phase
from pools.console.alarms import fleet_alarms
from pools.console.fleet_page import picture
from pools.models import CloudApp, Fleet, FleetEvent, Sandbox
from pools.turn import observe, reconciler

pytestmark = pytest.mark.django_db(transaction=True)
ENCRYPTED = "EV[1:" + "x" * 200 + "]"


def theirs(**fields: Any) -> dict[str, Any]:
    return {
        "id": "f00dfeed-0000-4000-8000-000000000001",
        "spec": {"name": "web", "services": [{"name": "web", "envs": []}]},
        "created_at": "2026-01-01T00:00:00Z",
        **fields,
    }


def marked(value: str) -> dict[str, Any]:
    envs = [{"key": "ORCHESTRATOR_ID", "value": value, "type": "SECRET"}]
    return {"spec": {"name": "web", "services": [{"name": "web", "envs": envs}]}}


STRANGERS = {
    "an encrypted mark": marked(ENCRYPTED),
    "a mark with a zero byte": marked("sta\x00ging"),
    "a mark with half a character": marked("sta\ud800ging"),
    "a long name": {"spec": {"name": "n" * 300}},
    "a zero byte in its name": {"spec": {"name": "we\x00b"}},
    "a long address": {"live_url": "https://" + "x" * 400, "active_deployment": {"phase": "ACTIVE"}},
    "a zero byte in its address": {"live_url": "https://x\x00y"},
    "a long region": {"region": {"slug": "r" * 90}},
    "a long size": {"spec": {"name": "web", "services": [{"instance_size_slug": "s" * 90}]}},
    "a long phase": {"active_deployment": {"phase": "P" * 90}},
    "a failure that says too much": {
        "pending_deployment": {"phase": "ERROR", "progress": {"steps": [{"reason": {"message": "\x00\ud800" * 9000}}]}}
    },
    "the year 9999": {"created_at": "9999-12-31T23:59:59-10:00"},
    "the year 1": {"created_at": "0001-01-01T00:00:00+14:00"},
    "no date": {"created_at": "soon"},
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_an_app_of_somebody_else_costs_itself_only(paper_fleet, pool, kind):
    """One such app ended every turn on PostgreSQL, for good."""
    paper_fleet.cloud.fault(operation="list", raw=json.dumps(page_of(theirs(**STRANGERS[kind]))), times=1)
    paper_fleet.acquire(pool)
    paper_fleet.turn()
    row = CloudApp.objects.get(app_id="f00dfeed-0000-4000-8000-000000000001")
    assert not row.owner or row.owner != "local"
    for field in CloudApp._meta.fields:
        value = getattr(row, field.name)
        if isinstance(value, str):
            assert field.max_length is None or len(value) <= field.max_length
            assert not set(value) & {"\x00", "\ud800"}
    assert abs(row.app_created_at - datetime(2026, 6, 1, tzinfo=UTC)).days < 2000
    assert Sandbox.objects.count() == 1
    assert Fleet.get().listing_error == ""
    paper_fleet.settle()
    assert paper_fleet.states() == ["ready"]


def page_of(*apps: dict[str, Any]) -> dict[str, Any]:
    return {"apps": list(apps), "links": {"pages": {}}, "meta": {"total": len(apps)}}


def test_an_app_whose_id_can_not_be_kept_costs_itself_only(paper_fleet):
    apps = page_of(theirs(), theirs(id="x" * 65), theirs(id="a\x00b"), theirs(id="ünicode"))
    paper_fleet.cloud.fault(operation="list", json=apps, times=1)
    paper_fleet.turn()
    assert CloudApp.objects.count() == 1
    assert Fleet.get().listing_error == ""


def test_a_list_with_an_app_without_an_id_concludes_nothing(paper_fleet):
    """It may be one of ours: what else is missing can't be told."""
    paper_fleet.cloud.fault(operation="list", json=page_of(theirs(), {"spec": {"name": "web"}}))
    paper_fleet.turn()
    assert not CloudApp.objects.exists()
    assert "held an app without an id" in Fleet.get().listing_error


def test_a_row_that_the_database_refuses_costs_itself_only():
    def app(number: int, name: str) -> App:
        return App(f"a{number}", name, None, Phase.ACTIVE, None, None, None, timezone.now())

    Fleet.get()
    apps = (app(1, "one"), app(2, "half \ud800"), app(3, "three"))
    observe.keep(observe.Listing(apps, timezone.now()))
    assert set(CloudApp.objects.values_list("app_id", flat=True)) == {"a1", "a3"}
    observe.keep(observe.Listing((app(1, "half \ud800"), app(3, "changed")), timezone.now()))
    assert dict(CloudApp.objects.values_list("app_id", "name")) == {"a1": "one", "a3": "changed"}


def test_a_line_of_the_log_is_written_whatever_it_says():
    journal.record("trouble", "zero \x00, half \ud800")
    assert FleetEvent.objects.get().message == "zero \ufffd, half \ufffd"


# A turn that dies.


def dying(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def die(*_: object) -> None:
        raise error

    monkeypatch.setattr(reconciler, "plan_fleet", die)


def test_a_turn_that_dies_is_an_alarm_that_names_why(paper_fleet, pool, monkeypatch):
    """Nothing said so: the listing was well, and readiness too."""
    paper_fleet.turn()
    assert health.cloud().is_ok
    with monkeypatch.context() as patched:
        dying(patched, ValueError("value too long for \x00 type"))
        for _ in range(3):
            paper_fleet.clock.advance(60)
            with pytest.raises(ValueError, match="too long"):
                paper_fleet.turn()
    assert paper_fleet.log("trouble") == ["the turn died of ValueError"]
    assert health.cloud() == (False, "the turn died of ValueError")
    [alarm] = [alarm for alarm in fleet_alarms(picture(timezone.now())) if "Turns die" in alarm.title]
    assert "ValueError: value too long for" in alarm.detail
    assert "too long" not in str(fleet_log.page(None, 50))
    paper_fleet.clock.advance(1)
    paper_fleet.turn()
    assert not [alarm for alarm in fleet_alarms(picture(timezone.now())) if "Turns die" in alarm.title]
    assert fleet_log.turn_death(Fleet.get()) is None
    assert health.cloud().is_ok


def test_a_turn_that_lost_its_lease_has_not_died(paper_fleet, monkeypatch):
    from pools import leases

    dying(monkeypatch, leases.LeaseLost("turn"))
    with pytest.raises(leases.LeaseLost):
        paper_fleet.turn()
    assert paper_fleet.log("trouble") == []


def test_a_turn_that_can_not_even_say_so_raises_what_it_died_of(paper_fleet, monkeypatch):
    dying(monkeypatch, ValueError("the first"))
    monkeypatch.setattr(journal, "record", lambda *_, **__: 1 / 0)
    with pytest.raises(ValueError, match="the first"):
        paper_fleet.turn()
