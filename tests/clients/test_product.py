"""The client against the real product, in both manners."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from arcade_client import Arcade, Invalid, NotFound, NotYours, Unauthorized, UnknownGame

from orchestrator_site.testing import LocalArcade
from tests.clients.conftest import MakeClient


@pytest.fixture(scope="module")
def key(arcade: LocalArcade) -> str:
    """A key that launches and reads."""
    return arcade.make_key("launch", "read")


@pytest.fixture
def robot(client_of: MakeClient, arcade: LocalArcade, key: str) -> Any:
    """Either client, with the key."""
    return client_of(arcade.url, key=key)


@pytest.fixture(scope="module")
def running(arcade: LocalArcade, key: str) -> Iterator[str]:
    """The id of a run of the key's that is running."""
    with Arcade(arcade.url, key) as client:
        run = client.launch("snake", mode="warm").wait(timeout=90)
        yield run.run_id
        run.end()


def test_a_launch_is_followed_to_its_end(client_of: MakeClient, arcade: LocalArcade):
    run = client_of(arcade.url).launch("snake", mode="warm")
    assert run.token
    seen = []
    for event in run.follow():
        seen.append(event)
        if event.kind == "ready":
            assert run.extend().expires_at > run.wait().created_at
            assert run.end().is_over
            assert run.wait("settled").end_code == "ended_by_api"
    assert [event.kind for event in seen][-1] == "end"
    assert "ready" in {event.kind for event in seen}
    numbers = [event.seq for event in seen]
    assert numbers == sorted(set(numbers))
    assert [event.seq for event in run.follow(after=numbers[-2])] == numbers[-1:]


def test_a_run_tells_its_history_and_cost(robot: Any, running: str):
    run = robot.run(running)
    assert run.is_running
    assert run.transitions[-1].state == "running"
    assert run.cost.usd_per_hour > 0
    assert run.wait().run_id == running


def test_the_same_key_is_the_same_launch(robot: Any):
    first, second = (robot.launch("snake", mode="cold", idempotency_key=f"again-{id(robot)}") for _ in range(2))
    assert first.run_id == second.run_id
    assert first.end().is_over


def test_a_run_is_not_ended_by_who_only_knows_its_id(client_of: MakeClient, arcade: LocalArcade, running: str):
    with pytest.raises(NotYours) as told:
        client_of(arcade.url).run(running).end()
    assert told.value.remedy
    assert told.value.request_id


def test_runs_are_listed_and_filtered(robot: Any, running: str):
    assert running in {run.run_id for run in robot.runs(state="running", game="snake", mode="warm")}
    assert not list(robot.runs(created_after=datetime.now(UTC) + timedelta(days=1)))
    assert all(run.created_at for run in islice(robot.runs(), 3))


def test_what_there_is_and_what_is_left(robot: Any, running: str):
    assert "snake" in {game.slug for game in robot.games()}
    limits = robot.limits()
    assert limits.rate.used >= 1
    assert limits.limits.max_total >= limits.active.total >= 1
    assert running in {run.run_id for run in robot.status().active}


def test_the_plan_is_for_those_who_may_read(robot: Any, client_of: MakeClient, arcade: LocalArcade):
    assert robot.plan().listing_code == ""
    with pytest.raises(Unauthorized):
        client_of(arcade.url).plan()


def test_a_key_that_is_none_opens_nothing(client_of: MakeClient, arcade: LocalArcade):
    with pytest.raises(Unauthorized) as told:
        client_of(arcade.url, key="key_none").games()
    assert told.value.code == "key_unknown"


def test_a_key_is_made_for_what_it_is_good_for(client_of: MakeClient, arcade: LocalArcade):
    launched = client_of(arcade.url, key=arcade.make_key(name="-a name")).launch("snake", mode="cold")
    assert launched.end().is_over
    with pytest.raises(RuntimeError, match="dance"):
        arcade.make_key("dance")


def test_refusals_name_what_is_wrong(robot: Any):
    with pytest.raises(UnknownGame):
        robot.launch("tetris", mode="warm")
    with pytest.raises(NotFound):
        robot.run("00000000-0000-0000-0000-000000000000")
    with pytest.raises(Invalid) as told:
        list(robot.runs(state="asleep"))
    assert "state" in told.value.errors[0]["field"]
