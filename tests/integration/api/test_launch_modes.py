"""How a launch is asked for: warm, cold, or as things are; and what it does when no warm sandbox is ready."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from games.models import Game
from pools import claims
from pools.models import Pool, Sandbox, State
from pools.reasons import EndCode
from runs import clients, upkeep
from runs.launching.handover import replace_dead
from runs.launching.launch import launch
from runs.models import Run, RunState
from runs.reasons import RunEndCode
from tests.fixtures.fleet import pool
from tests.integration.runs.conftest import game, patience, staged

__all__ = ["game", "patience", "pool", "staged"]  # the same rows

pytestmark = pytest.mark.django_db(transaction=True)


def ask(address: str = "/api/launch", key: str | None = None, **body: Any) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return Client(headers=headers).post(address, body, content_type="application/json")


def is_refused(answer: Any, status: int, code: str) -> bool:
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.content
    assert not Run.objects.exists(), "nothing is left of what was refused"
    return True


@pytest.fixture
def empty(paper_fleet: Any, pool: Pool, game: Game) -> Pool:
    """A pool of two without a sandbox, which nobody has asked yet."""
    Pool.objects.update(target_ready=1, max_ready=2)
    return pool


@pytest.fixture
def coming(empty: Pool, paper_fleet: Any) -> Sandbox:
    """A sandbox on its way to the pool."""
    Pool.objects.update(last_acquired_at=timezone.now())
    paper_fleet.cloud.fault(operation="create", deploy_seconds=60)
    paper_fleet.turn()
    return Sandbox.objects.get(state=State.CREATING)


# Auto.


def test_without_a_mode_a_launch_is_warm_where_a_pool_serves_it(staged: Sandbox):
    run = ask(game="snake").json()
    assert (run["state"], run["mode"], run["asked_mode"], run["sandbox"]) == ("running", "warm", "auto", staged.name)


def test_it_is_warm_also_while_the_pool_is_empty(empty: Pool):
    run = ask(game="snake").json()
    assert (run["mode"], run["served_by"]) == ("warm", "cold_fallback")


@pytest.mark.parametrize("pools", ["none", "draining"])
def test_it_is_cold_where_no_pool_serves_it_and_says_so(empty: Pool, pools: str):
    if pools == "none":
        empty.delete()
    else:
        Pool.objects.update(mode="draining")
    run = ask(game="snake").json()
    assert (run["mode"], run["asked_mode"], run["served_by"], run["notice"]) == ("cold", "auto", "cold", "")


def test_it_may_name_its_mode(staged: Sandbox):
    run = ask(mode="cold", game="snake").json()
    assert (run["mode"], run["asked_mode"], run["served_by"]) == ("cold", "cold", "cold")


def test_what_was_asked_for_stays_readable(staged: Sandbox):
    run = ask(game="snake", on_miss="wait").json()
    again = Client().get(f"/api/runs/{run['run_id']}").json()
    assert (again["asked_mode"], again["on_miss"]) == ("auto", "wait")


def test_a_run_of_an_older_version_was_asked_for_as_it_became(game: Game):
    run = Run.objects.create(game=game, mode="warm", visitor="ada", created_at=timezone.now())
    answer = Client().get(f"/api/sandbox/{run.pk}").json()
    assert (answer["asked_mode"], answer["on_miss"]) == ("warm", None)


@pytest.mark.parametrize("wrong", [{"mode": "hot"}, {"on_miss": "sometimes"}, {"on_miss": ""}])
def test_what_no_launch_knows_is_refused_by_its_name(game: Game, wrong: dict[str, str]):
    answer = ask(game="snake", **wrong)
    assert is_refused(answer, 422, "invalid")
    assert answer.json()["field"] == next(iter(wrong))


# On a miss.


def test_it_may_start_cold_though_a_warm_one_is_on_its_way(coming: Sandbox):
    run = ask("/api/launch/warm", game="snake", on_miss="cold").json()
    assert (run["served_by"], run["notice_code"]) == ("cold_fallback", "none_ready")


def test_it_starts_cold_though_its_pool_refuses_others(empty: Pool):
    Pool.objects.update(on_empty="fail")
    assert ask(game="snake", on_miss="cold").json()["served_by"] == "cold_fallback"


def test_it_may_be_refused_and_the_pool_learns_of_it(coming: Sandbox):
    Pool.objects.update(last_acquired_at=None, last_acquired_by="nobody")
    answer = ask("/api/launch/warm", game="snake", on_miss="fail")
    assert is_refused(answer, 429, "pool_empty")
    assert answer.headers["Retry-After"]
    assert Pool.objects.get().last_acquired_by != "nobody"


def test_one_that_fails_on_a_miss_is_served_where_there_is_none(staged: Sandbox):
    assert ask(game="snake", on_miss="fail").json()["state"] == "running"


def test_one_that_waits_waits_though_nothing_is_on_its_way(empty: Pool, paper_fleet: Any):
    Pool.objects.update(on_empty="fail")
    run = Run.objects.get(pk=ask(game="snake", on_miss="wait").json()["run_id"])
    assert (run.state, run.served_by, run.sandbox) == (RunState.ACQUIRING, "pool", None)
    paper_fleet.turns(10)
    run.refresh_from_db()
    assert run.sandbox is not None
    assert run.sandbox.origin == "pool"


def test_it_never_falls_back_to_a_cold_start_however_long_it_takes(coming: Sandbox, paper_fleet: Any):
    waits, falls_back = (
        launch(game="snake", mode="warm", on_miss=on_miss, client=clients.Client(name))
        for name, on_miss in (("ada", "wait"), ("bob", None))
    )
    paper_fleet.clock.advance(120)
    upkeep.put_right(timezone.now())
    waits.refresh_from_db()
    falls_back.refresh_from_db()
    assert (waits.state, waits.served_by, waits.sandbox) == (RunState.ACQUIRING, "pool", None)
    assert falls_back.served_by == "cold_fallback", "who is behind it is not held up"


def test_it_waits_on_when_what_was_on_its_way_is_gone(coming: Sandbox):
    run = launch(game="snake", mode="warm", on_miss="wait", client=clients.Client("ada"))
    claims.retire(coming.pk, EndCode.LOST, "a test", timezone.now())
    upkeep.put_right(timezone.now())
    run.refresh_from_db()
    assert (run.state, run.served_by) == (RunState.ACQUIRING, "pool")


@pytest.mark.parametrize("pools", ["deleted", "draining"])
def test_it_ends_with_a_sentence_when_no_pool_serves_it_any_more(empty: Pool, pools: str):
    run = launch(game="snake", mode="warm", on_miss="wait", client=clients.Client("ada"))
    if pools == "deleted":
        empty.delete()
    else:
        Pool.objects.update(mode="draining")
    upkeep.put_right(timezone.now())
    run.refresh_from_db()
    assert (run.state, run.end_code) == (RunState.FAILED, RunEndCode.POOL_GAVE_UP)
    assert run.end_reason == "The pool that it waited for serves no launches any more."


@pytest.mark.parametrize("on_miss", ["wait", "fail"])
def test_without_a_pool_it_is_refused_at_once(game: Game, paper_fleet: Any, on_miss: str):
    assert is_refused(ask("/api/launch/warm", game="snake", on_miss=on_miss), 409, "no_pool")


def test_without_a_pool_it_may_start_cold(game: Game, paper_fleet: Any):
    run = ask("/api/launch/warm", game="snake", on_miss="cold").json()
    assert (run["served_by"], run["notice_code"]) == ("cold_fallback", "no_pool")


# When the sandbox at hand is dead.


@pytest.mark.parametrize(
    ("on_miss", "state", "served_by", "end_code"),
    [
        ("wait", RunState.ACQUIRING, "pool", ""),
        ("fail", RunState.FAILED, "pool", RunEndCode.POOL_GAVE_UP),
        ("cold", RunState.ACQUIRING, "cold_fallback", ""),
    ],
)
def test_a_dead_sandbox_is_a_miss_as_well(
    staged: Sandbox, pool: Pool, game: Game, on_miss: str, state: str, served_by: str, end_code: str
):
    now = timezone.now()
    dead = claims.claim(pool, by="a test", expires_at=now + timedelta(minutes=5), now=now)
    run = Run.objects.create(
        game=game, sandbox=dead, mode="warm", on_miss=on_miss, state=RunState.DEPLOYING, served_by="pool",
        visitor="ada", created_at=now, acquired_at=now, deploy_lease_until=now + timedelta(seconds=10),
        deploy_process="a worker",
    )  # fmt: skip
    replace_dead(run, "no answer")
    run.refresh_from_db()
    assert (run.state, run.served_by, run.sandbox, run.end_code) == (state, served_by, run.sandbox, end_code)
    assert run.deploy_lease_until is None, "it is in nobody's hands"


# Idempotency.


@pytest.mark.parametrize(
    "other", [{"mode": "warm"}, {"on_miss": "wait"}, {"on_miss": "cold"}, {"use_snapshot": False}], ids=str
)
def test_the_same_key_with_another_wish_is_a_mistake(staged: Sandbox, other: dict[str, Any]):
    assert ask(game="snake", key="k").status_code == 201
    answer = ask(key="k", **{"game": "snake"} | other)
    assert (answer.status_code, answer.json()["code"]) == (409, "key_reused")


def test_the_same_key_with_the_same_wish_gives_the_same_run(empty: Pool):
    first, second = (ask(game="snake", on_miss="wait", key="k").json() for _ in range(2))
    assert first["run_id"] == second["run_id"]


def test_an_automatic_launch_that_became_warm_is_the_same_wish_once_the_pool_drains(staged: Sandbox):
    first = ask(game="snake", key="k").json()
    Pool.objects.update(mode="draining")
    assert ask(game="snake", key="k").json()["run_id"] == first["run_id"]
