"""SECRET_KEY changes under running sandboxes: with the former key at hand nothing happens, without it much is said."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from orchestrator_site import health
from pools import agent_keys
from pools.cloud.errors import AgentRefused
from pools.console.alarms import fleet_alarms
from pools.console.fleet_page import picture
from pools.key_change import key_trouble
from pools.models import Fleet, FleetEvent, Pool, Sandbox, State
from runs import clients
from runs.launching.launch import launch
from runs.models import Run, RunState

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ready(paper_fleet, pool, game) -> Sandbox:
    """A warm sandbox, made under the key that is about to change."""
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    return Sandbox.objects.get(state=State.READY)


@pytest.fixture
def former(settings) -> str:
    return str(settings.SECRET_KEY)


def change(settings, *fallbacks: str) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another key, made by an operator", list(fallbacks)


def start() -> Run:
    return launch(game="snake", mode="warm", client=clients.Client("ada"), use_snapshot=True)


def alarms() -> list[str]:
    return [alarm.title for alarm in fleet_alarms(picture(timezone.now()))]


def changes_said() -> list[str]:
    return list(FleetEvent.objects.filter(code="key_changed").values_list("message", flat=True))


# The former key is at hand.


def test_a_fallback_opens_the_sandboxes_that_were_made_under_it(paper_fleet, ready, settings, former, worker):
    change(settings, former)
    paper_fleet.turns(10, seconds_apart=31)
    ready.refresh_from_db()
    assert (ready.state, ready.health_failures) == (State.READY, 0)
    run = start()
    worker.work()
    run.refresh_from_db()
    assert (run.state, run.sandbox) == (RunState.RUNNING, ready)
    assert key_trouble() == ""
    assert changes_said() == []


def test_a_fallback_is_needed_no_more_once_the_last_sandbox_of_it_is_gone(paper_fleet, ready, settings, former):
    change(settings, former)
    Pool.objects.update(last_acquired_at=None)
    paper_fleet.clock.advance(700)
    paper_fleet.settle()
    assert paper_fleet.states() == []
    [said] = changes_said()
    assert "needed no more" in said
    assert Fleet.get().key_fingerprint == agent_keys.current()


def test_a_sandbox_whose_create_is_sent_again_after_the_change_keeps_its_token(paper_fleet, pool, settings, former):
    lost = paper_fleet.cloud.fault(operation="create", status=500)
    paper_fleet.acquire(pool)
    paper_fleet.turn()
    sandbox = Sandbox.objects.get()
    token = sandbox.token
    change(settings, former)
    assert Sandbox.objects.get().spec(Fleet.get().installation).token == token
    paper_fleet.cloud.control.clear(lost)
    paper_fleet.clock.advance(16)
    paper_fleet.settle()
    assert paper_fleet.states() == ["ready"]


# It is not.


def test_a_changed_key_is_named_where_operators_look(paper_fleet, ready, settings, client: Client, monkeypatch):
    """It broke every running sandbox without a word."""
    monkeypatch.setattr(health, "CHECKS", [health.Check("secret_key", health.secret_key)])
    assert client.get("/health/ready").json()["checks"] == {"secret_key": "ok"}
    change(settings)
    monkeypatch.setattr(health, "CHECKS", [health.Check("secret_key", health.secret_key)])
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    said = answer.json()["checks"]["secret_key"]
    assert "SECRET_KEY was changed: 1 sandbox was made under another one" in said
    assert "SECRET_KEY_FALLBACKS" in said
    assert "SECRET_KEY was changed" in alarms()
    paper_fleet.turns(2)
    [line] = FleetEvent.objects.filter(code="key_changed")
    assert (line.level, "SECRET_KEY_FALLBACKS" in line.message) == ("error", True)


def test_another_key_is_named_though_no_sandbox_is_there(paper_fleet, settings):
    paper_fleet.turn()
    change(settings)
    assert key_trouble().startswith("SECRET_KEY is not the one that this database was used with")
    paper_fleet.turn()
    assert key_trouble() == ""  # nothing depends on the former
    assert len(changes_said()) == 1


def test_a_warm_sandbox_that_refuses_our_token_is_given_up_by_that_name(paper_fleet, ready, settings):
    """Its health is told to anybody: looks found it well."""
    change(settings)
    paper_fleet.clock.advance(31)
    paper_fleet.turn()
    ready.refresh_from_db()
    assert ready.trouble_code == "agent_refused"
    [row] = [row for row in picture(timezone.now()).rows if row.sandbox == ready]
    assert "its agent refuses our token" in row.why
    assert row.agent == "refuses our token"
    paper_fleet.turns(12, seconds_apart=4)
    ready.refresh_from_db()
    assert ready.end_code == "agent_refused"
    assert paper_fleet.states() == ["ready"]  # a fresh one, under the new key
    assert key_trouble() == ""


def test_a_sandbox_that_refuses_our_token_is_not_handed_over(paper_fleet, ready, settings, worker):
    change(settings)
    run = start()
    assert run.sandbox != ready
    ready.refresh_from_db()
    assert ready.end_code == "agent_refused"


def test_a_staged_game_behind_an_agent_that_refuses_us_is_not_taken_for_one_that_does_not_answer(
    paper_fleet, ready, settings, game
):
    from games.models import Snapshot

    Snapshot.objects.create(
        game=game, state="current", sha256="a" * 64, source_digest=game.source_digest, started_at=timezone.now()
    )
    Sandbox.objects.update(staged={"snake": {"sha256": "a" * 64, "port": 5000, "pid": 1}})
    change(settings)
    start()
    ready.refresh_from_db()
    assert ready.end_code == "agent_refused"


def test_a_fresh_sandbox_that_refuses_our_token_fails_by_that_name_and_soon(paper_fleet, pool):
    paper_fleet.cloud.fault(operation="create", times=1, agent={"wrong_token": True})
    paper_fleet.acquire(pool)
    paper_fleet.turns(15, seconds_apart=2)
    sandbox = Sandbox.objects.order_by("requested_at").first()
    assert (sandbox.end_code, sandbox.failure_kind) == ("agent_refused", "agent")
    assert (sandbox.delete_requested_at - sandbox.requested_at).total_seconds() < 60


# What the agent's proxy answers.


def test_a_game_that_refuses_its_player_is_no_agent_that_refuses_us(ready, monkeypatch):
    from pools.cloud import sandbox_agent

    agent = ready.agent()
    asked = sandbox_agent.may_be_the_agents_refusal
    seen = []
    monkeypatch.setattr(sandbox_agent, "may_be_the_agents_refusal", lambda *a: seen.append(asked(*a)) or True)
    assert agent.fetch(5000).status == 200
    assert seen == [False]


def test_fetching_behind_an_agent_that_refuses_us_says_so(ready, settings):
    change(settings)
    ready.refresh_from_db()
    with pytest.raises(AgentRefused):
        ready.agent().fetch(5000)
