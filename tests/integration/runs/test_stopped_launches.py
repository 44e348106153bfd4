"""What stops launches, and what must not: limits, creates that fail, deletes that are refused, bad answers."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from django.utils.html import escape

from pools import claims
from pools.cloud.sandbox_agent import Fetched, Process, SandboxAgent
from pools.models import Pool, Sandbox, State
from runs import clients, lifecycle
from runs.launching.launch import launch
from runs.limits import LimitReached
from runs.models import Run, RunState, ServedBy
from runs.pages.now import look
from runs.reasons import RefusalCode, RunEndCode

pytestmark = pytest.mark.django_db(transaction=True)


def start(mode: str = "warm", visitor: str = "ada") -> Run:
    return launch(game="snake", mode=mode, client=clients.Client(visitor))


def shown() -> str:
    """What the lobby says of the game before anybody clicks."""
    text = look().speeds["snake"].text
    assert escape(text) in Client().get("/").content.decode()
    return text


def api_launch(mode: str) -> HttpResponse:
    return Client().post(f"/api/launch/{mode}", data={"game": "snake"}, content_type="application/json")


def with_an_open_breaker(paper_fleet) -> None:
    paper_fleet.cloud.fault(operation="create", error="image pull failed")
    for _ in range(3):
        start(mode="cold")
        paper_fleet.turns(6, seconds_apart=1)
    with pytest.raises(LimitReached, match="breaker open"):
        start(mode="cold")


@pytest.mark.parametrize("mode", ["warm", "cold"])
def test_with_the_breaker_open_a_launch_is_told_at_once_why_and_when(paper_fleet, pool, game, mode):
    """11 launches made 11 apps, each player waiting for a failure of an own."""
    with_an_open_breaker(paper_fleet)
    answer = api_launch(mode)
    assert (answer.status_code, answer.json()["code"], answer.json()["limit"]) == (429, "limit_reached", "breaker")
    assert "image failures" in answer.json()["detail"]
    said_seconds = int(re.search(r"^none free, try again in (\d+) seconds$", shown())[1])
    assert 1 <= said_seconds <= int(answer["Retry-After"]) + 1 <= 60 * 1.1 + 3, "no earlier, and not all at once"
    paper_fleet.turns(5)
    assert paper_fleet.cloud.state()["creates"] == 3
    assert not Run.objects.active().exists()


def test_what_is_warm_is_launched_though_the_breaker_is_open(paper_fleet, staged):
    with_an_open_breaker(paper_fleet)
    assert shown() == "about 2 s"
    assert start().state == RunState.RUNNING


def test_of_launches_that_come_when_the_breaker_half_opens_one_is_tried(paper_fleet, game):
    with_an_open_breaker(paper_fleet)
    paper_fleet.clock.advance(61)
    answers = [api_launch("cold") for _ in range(4)]
    paper_fleet.turns(1)
    assert [answer.status_code for answer in answers] == [201, 429, 429, 429]
    assert shown() == "none free, try again in 15 seconds"
    assert paper_fleet.cloud.state()["creates"] == 4


def test_a_launch_that_waits_for_its_place_ends_with_the_reason_when_the_breaker_opens(paper_fleet, staged, settings):
    settings.MAX_TOTAL_SANDBOXES = settings.MAX_CONCURRENT_COLD = 4
    paper_fleet.cloud.fault(operation="create", error="image pull failed")
    paper_fleet.cloud.fault(operation="delete", linger_seconds=3600)
    creates = paper_fleet.cloud.state()["creates"]
    for _ in range(3):
        start(mode="cold")
    waiting = start(mode="cold")
    assert waiting.sandbox is None, "the idle one makes room first"
    paper_fleet.turns(10, seconds_apart=2)
    waiting.refresh_from_db()
    assert (waiting.state, waiting.end_code) == (RunState.FAILED, RunEndCode.NO_PLACE)
    assert "breaker open" in waiting.end_reason
    assert paper_fleet.cloud.state()["creates"] == creates + 3


def test_no_idle_sandbox_makes_room_for_one_that_is_not_made(paper_fleet, staged, settings):
    with_an_open_breaker(paper_fleet)
    settings.MAX_TOTAL_SANDBOXES = 1
    with pytest.raises(LimitReached, match="breaker open"):
        start(mode="cold")
    staged.refresh_from_db()
    assert staged.state == State.READY


def test_while_deletes_are_refused_nothing_is_created_and_launches_are_told(paper_fleet, pool, staged, monkeypatch):
    """Creates went on to the cap, and the only alarm was "the fleet is full"."""
    monkeypatch.setattr("pools.cloud.app_platform.CONFIRM_SECONDS", 0.0)
    creates = paper_fleet.cloud.state()["creates"]
    paper_fleet.cloud.fault(operation="delete", status=403, message="deletes need the scope app:delete")
    lifecycle.end(start().id, RunEndCode.ENDED_BY_PLAYER, "enough", timezone.now())
    paper_fleet.turns(15, seconds_apart=15)
    made_meanwhile = paper_fleet.cloud.state()["creates"] - creates
    refused = api_launch("cold")
    assert (refused.status_code, refused.json()["limit"]) == (429, "deletes")
    paper_fleet.turns(15, seconds_apart=60)
    assert paper_fleet.cloud.state()["creates"] - creates == made_meanwhile <= 2
    paper_fleet.cloud.faults.clear()
    paper_fleet.cloud.fault(operation="delete", linger_seconds=3600)  # one that is accepted is word enough
    paper_fleet.turns(10, seconds_apart=20)
    assert api_launch("cold").status_code == 201


def test_one_app_that_can_not_be_deleted_stops_no_launch(paper_fleet, pool, staged):
    """With nothing else to delete, nothing could prove that deletions work: creates were refused for good."""
    fault = paper_fleet.cloud.fault(operation="delete", status=500)
    lifecycle.end(start().id, RunEndCode.ENDED_BY_PLAYER, "enough", timezone.now())
    paper_fleet.turns(15, seconds_apart=16)
    assert Sandbox.objects.get(pk=staged.pk).state == State.DELETING
    assert api_launch("cold").status_code == 201
    for sandbox in Sandbox.objects.live():
        claims.retire(sandbox.pk, "retired", "by an operator", timezone.now())
    paper_fleet.turns(15, seconds_apart=16)
    assert api_launch("cold").json()["limit"] == "deletes", "two say that it is not they"
    paper_fleet.cloud.control.clear(fault)
    paper_fleet.turns(5, seconds_apart=16)
    assert api_launch("cold").status_code == 201


def test_launches_that_reach_no_sandbox_do_not_empty_the_pool(paper_fleet, staged, pool):
    """For half a minute the web server reached none: each launch gave up one after the other, past the guard."""
    Pool.objects.update(target_ready=4, max_ready=4, max_concurrent_creates=4)
    paper_fleet.settle()
    Sandbox.objects.update(staged=staged.staged)
    for sandbox in Sandbox.objects.all():
        paper_fleet.cloud.control.kill_agent(sandbox.app_id)
    assert start().served_by == ServedBy.COLD_FALLBACK
    states = Sandbox.objects.filter(origin="pool").values_list("state", "health_failures", "health_checked_at")
    assert set(states) == {(State.READY, 1, None)}, "no look was taken yet"
    assert not Sandbox.objects.claimable(pool).exists()
    paper_fleet.turns(5)
    assert set(Sandbox.objects.filter(origin="pool").values_list("state", flat=True)) == {State.READY}


def test_500_deletions_do_not_starve_a_launch(paper_fleet, game, settings):
    """All requests of a minute were spent on them, and each turn took as long as they did."""
    settings.MAX_TOTAL_SANDBOXES = 600
    settings.CLOUD_REQUESTS_PER_MINUTE = 60
    ids = paper_fleet.cloud.control.make_apps(500, owner="local")
    names = {app["id"]: app["name"] for app in paper_fleet.cloud.apps()}
    now = paper_fleet.clock.now()
    leaving = {"state": State.DELETING, "delete_requested_at": now, "end_code": "idle", "end_reason": "idle"}
    made = {"runtime": "python", "origin": "pool", "create_code": "demand", "create_reason": "somebody launched"}
    asked = {"requested_at": now, "create_sent_at": now, "accepted_at": now}
    rows = [Sandbox(name=names[each], app_id=each, known_app_id=each, **leaving, **made, **asked) for each in ids]
    Sandbox.objects.bulk_create(rows)
    paper_fleet.turns(6, seconds_apart=1)
    assert 20 <= paper_fleet.cloud.state()["deletes"] <= 24  # of 60 requests a minute
    start(mode="cold")
    paper_fleet.turns(1)
    assert paper_fleet.cloud.state()["creates"] == 1


def test_a_game_that_answers_badly_costs_no_sandbox_after_the_other(paper_fleet, staged, pool, monkeypatch):
    """Its page was taken for the sandbox's: one launch gave up every idle sandbox of the runtime."""
    Pool.objects.update(target_ready=3, max_ready=3, max_concurrent_creates=3)
    paper_fleet.settle()
    entry = staged.staged["snake"] | {"pid": 7}
    Sandbox.objects.update(staged={"snake": entry})
    monkeypatch.setattr(SandboxAgent, "fetch", lambda *_: Fetched(500, {}, b"oh"))
    monkeypatch.setattr(SandboxAgent, "look", lambda *_: [Process(7, "", True, "")])
    run = start()
    assert (run.state, run.sandbox) == (RunState.DEPLOYING, staged)
    assert sorted(Sandbox.objects.values_list("state", flat=True)) == [State.IN_USE, State.READY, State.READY]
    monkeypatch.setattr(SandboxAgent, "look", lambda *_: [])
    run = start(visitor="bob")
    assert run.state == RunState.DEPLOYING
    states = sorted(Sandbox.objects.filter(origin="pool").values_list("state", flat=True))
    assert states == [State.DELETING, State.IN_USE, State.IN_USE], "one whose game has ended is replaced, once"


def test_a_spent_budget_is_said_before_anybody_clicks(paper_fleet, pool, game, settings, monkeypatch):
    settings.MONTHLY_BUDGET_USD = 1
    assert shown() == "about 50 s"
    monkeypatch.setattr("pools.capacity.spent_usd", lambda now: Decimal(1))
    assert shown() == "none is free right now"
    assert api_launch("warm").json()["limit"] == "MONTHLY_BUDGET_USD"


# Limits.


@pytest.mark.parametrize(
    ("limit", "mode"),
    [
        ("MAX_CONCURRENT_WARM", "warm"),
        ("MAX_CONCURRENT_COLD", "cold"),
        ("MAX_TOTAL_ACTIVE", "warm"),
        ("MAX_RUNS_PER_HOUR", "cold"),
    ],
)
def test_each_limit_refuses_by_its_name_and_says_when_to_come_back(paper_fleet, game, settings, limit, mode):
    setattr(settings, limit, 1)
    start(mode=mode)
    with pytest.raises(LimitReached) as refused:
        start(mode=mode)
    assert (refused.value.code, refused.value.limit) == (RefusalCode.LIMIT_REACHED, limit)
    assert refused.value.retry_after_seconds > 0
    assert Run.objects.count() == 1


def test_as_many_launches_as_an_hour_has_are_taken(paper_fleet, game, settings):
    """Each counted itself twice while it waited for its number."""
    settings.MAX_RUNS_PER_HOUR = settings.MAX_CONCURRENT_COLD = settings.MAX_TOTAL_ACTIVE = 3
    for _ in range(3):
        start(mode="cold")
    with pytest.raises(LimitReached):
        start(mode="cold")
    assert sorted(Run.objects.values_list("number", flat=True)) == [1, 2, 3]


def test_launches_of_one_kind_take_nothing_of_the_others_limit(paper_fleet, game, settings):
    settings.MAX_CONCURRENT_WARM = settings.MAX_CONCURRENT_COLD = 1
    start(mode="cold")
    assert start(mode="warm").mode == "warm"


def test_a_launch_leaves_the_hours_count_an_hour_later(paper_fleet, game, settings):
    settings.MAX_RUNS_PER_HOUR = 1
    start(mode="cold")
    Run.objects.update(created_at=timezone.now() - timedelta(minutes=59))
    with pytest.raises(LimitReached, match="All 1 launches of this hour"):
        start(mode="cold")
    Run.objects.update(created_at=timezone.now() - timedelta(minutes=61))
    start(mode="cold")


def test_a_full_fleet_refuses_a_cold_launch_and_keeps_no_row(paper_fleet, game, settings):
    settings.MAX_TOTAL_SANDBOXES = 1
    start(mode="cold")
    with pytest.raises(LimitReached) as refused:
        start(mode="cold")
    assert refused.value.limit == "MAX_TOTAL_SANDBOXES"
    assert Run.objects.count() == 1
