"""The client against the real product: waits, labels, events, usage, and what takes the right to act on the fleet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from threading import Timer
from typing import Any

import pytest
from arcade_client import Arcade, Changed, Conflict, Forbidden, Invalid, NotFound, PlanChanged

from orchestrator_site.testing import LocalArcade
from tests.clients.conftest import MakeClient
from tests.fixtures.waiting import until


@pytest.fixture(scope="module")
def key(arcade: LocalArcade) -> str:
    """A key that may do everything."""
    return arcade.make_key("launch", "admin")


@pytest.fixture
def robot(client_of: MakeClient, arcade: LocalArcade, key: str) -> Any:
    """Either client, with the key."""
    return client_of(arcade.url, key=key, timeout=60)


@pytest.fixture(scope="module")
def labelled(arcade: LocalArcade, key: str) -> Iterator[str]:
    """The id of a run of the key's that carries labels, and is running."""
    with Arcade(arcade.url, key) as client:
        run = client.launch("snake", wait=30, labels={"team": "red", "ci/job": "7"}).wait(timeout=90)
        yield run.run_id
        run.end("The tests are over.")


def test_the_server_waits_for_the_game_and_for_its_end(robot: Any, arcade: LocalArcade, key: str):
    run = robot.launch("snake", wait=30)
    assert run.is_running
    assert run.asked_mode == "auto"
    with Arcade(arcade.url, key) as another:
        ending = Timer(1, another.run(run.run_id).end)
        ending.start()
        assert run.wait("settled", timeout=20).end_code == "ended_by_api"
        ending.join()


def test_runs_are_found_by_their_labels(robot: Any, labelled: str):
    found = list(robot.runs(labels={"team": "red", "ci/job": None}))
    assert [run.run_id for run in found] == [labelled]
    assert found[0].labels == {"team": "red", "ci/job": "7"}
    assert not list(robot.runs(labels={"team": "blue"}))


def test_what_happens_is_read_from_the_beginning_and_on(robot: Any, labelled: str):
    events = robot.events(after=0, kind="run", run=labelled)
    types = [next(events).type for _ in range(2)]
    assert types[0] == "run.launched"
    assert all(each.startswith("run.") for each in types)


def test_usage_adds_up(robot: Any, labelled: str):
    usage = robot.usage(by="game")
    assert usage.total.launches == sum(row.launches for row in usage.rows) >= 1


def test_a_pool_is_set_by_one_at_a_time(robot: Any):
    pool = robot.pool("python")
    changed = pool.set(target_ready=pool.target_ready % 2 + 1, reason="A test.")
    assert changed.target_ready != pool.target_ready
    with pytest.raises(Changed):
        pool.set(target_ready=pool.target_ready, reason="A test.")
    assert changed.set(target_ready=pool.target_ready, reason="A test.").target_ready == pool.target_ready


def test_a_pool_is_paused_resumed_and_primed(robot: Any):
    pool = next(each for each in robot.pools() if each.name == "python")
    assert pool.pause("A test.").mode == "paused"
    assert pool.resume("A test.").mode == "active"
    assert pool.prime("A test.").message
    with pytest.raises(Invalid):
        pool.pause("")


def test_a_plan_is_applied_as_it_was_seen(robot: Any):
    def is_applied() -> bool:
        plan = robot.plan()
        with suppress(PlanChanged):  # the fleet went on in between
            return plan.apply("A test.").digest == plan.digest
        return False

    until(is_applied, "a plan is still the same when it is applied", seconds=60, every=1)


def test_a_key_that_only_launches_sets_no_pool(client_of: MakeClient, arcade: LocalArcade):
    with pytest.raises(Forbidden) as told:
        client_of(arcade.url, key=arcade.make_key("launch")).pool("python")
    assert told.value.code == "scope_missing"


HOOKS = "https://8.8.8.8/hooks"  # a public address, so that no name is looked up


def test_a_webhook_is_added_changed_tested_rotated_and_removed(robot: Any):
    webhook = robot.add_webhook(HOOKS, types=["run.ended"], scope="all")
    changed = robot.webhook(webhook.id).change(types=["run"], description="A test.")
    assert (changed.types, changed.description, changed.url) == (("run",), "A test.", HOOKS)
    assert changed.rotate() not in {"", webhook.secret}
    sent = [changed.test().id for _ in range(2)]
    assert {each.id for each in changed.deliveries()} == set(sent)
    assert changed.redeliver(sent[0]).id == sent[0]
    assert not changed.change(is_enabled=False).is_enabled
    with pytest.raises(Conflict) as told:
        changed.test()
    assert told.value.code == "webhook_disabled"
    changed.remove()
    assert webhook.id not in {each.id for each in robot.webhooks()}
    with pytest.raises(NotFound):
        robot.webhook(webhook.id)


def test_a_sandbox_is_found_and_retired(robot: Any):
    run = robot.launch("snake", wait=30)
    sandbox = robot.sandbox(run.sandbox)
    assert (sandbox.state, sandbox.run_id) == ("in_use", run.run_id)
    assert sandbox.name in {each.name for each in robot.sandboxes(state="in_use")}
    with pytest.raises(Invalid):
        sandbox.force_delete("A test.", confirm="another")
    assert sandbox.retire("A test.").message
    assert run.wait("settled").is_over


def test_a_sandbox_is_deleted_by_force(robot: Any):
    run = robot.launch("snake", wait=30)
    deleted = robot.sandbox(run.sandbox).force_delete("A test.", confirm=run.sandbox)
    assert deleted.fate in {"deleted", "ordered", "delayed", "gone"}
    assert deleted.message
    assert run.wait("settled").is_over
