"""Answers that wait for a run: they come when it plays or is over, and hold nothing meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest
from django.test import Client
from django.utils import timezone

from pools import api_keys
from pools.models import Pool, Sandbox, State
from runs import lifecycle
from runs.models import DeployedFrom, Run, RunState
from runs.reasons import RunEndCode
from tests.fixtures.waiting import until
from tests.fixtures.web import PLAIN, Web, new_run

pytestmark = pytest.mark.django_db(transaction=True)
LONG_SECONDS = 30
SOON_SECONDS = 20  # a machine that is busy with other tests may take a while; a wait that is not woken takes longer


@pytest.fixture
def meanwhile() -> Any:
    """Ask in the background."""
    with ThreadPoolExecutor(8) as threads:
        yield threads.submit


Meanwhile = Callable[..., Future]
MakeSandbox = Callable[..., Sandbox]


def play(run: Run) -> None:
    """The run's game is ready, as a deployment would have it."""
    Run.objects.filter(pk=run.pk).update(state=RunState.DEPLOYING)
    attempt = lifecycle.Attempt.of(Run.objects.get(pk=run.pk))
    now, origin = timezone.now(), DeployedFrom.SOURCE
    assert lifecycle.run_now(attempt, port=5000, deployed_from=origin, digest="", restore_ms=1, start_ms=1, now=now)


def end(run: Run) -> None:
    assert lifecycle.end(run.pk, RunEndCode.ENDED_BY_API, "A test ends it.", timezone.now())


def wait_for(
    web: Web, run: Run, what: str, timeout: int = LONG_SECONDS, **options: Any
) -> tuple[dict[str, Any], float]:
    """The answer, and how long it took."""
    began = time.monotonic()
    answer = web.get(f"/api/runs/{run.pk}?wait_for={what}&timeout={timeout}", **options)
    assert answer.status_code == 200, answer.text
    return answer.json(), time.monotonic() - began


def wait_until_it_waits() -> None:
    time.sleep(0.5)  # nothing tells from outside that it waits; too short makes the test weaker, never wrong


# A look at a run.


@pytest.mark.parametrize(("change", "state"), [(play, "running"), (end, "ended")])
def test_who_waits_for_it_to_run_is_answered_when_it_runs_or_is_over(
    web: Web, meanwhile: Meanwhile, change: Callable[[Run], None], state: str
):
    run = new_run()
    asked = meanwhile(wait_for, web, run, "running")
    wait_until_it_waits()
    assert not asked.done()
    change(run)
    answer, _ = asked.result(SOON_SECONDS)
    assert (answer["state"], answer["transitions"][-1]["state"]) == (state, state)


def test_who_waits_for_it_to_be_settled_does_not_mind_that_it_runs(web: Web, meanwhile: Meanwhile):
    run = new_run()
    asked = meanwhile(wait_for, web, run, "settled")
    wait_until_it_waits()
    play(run)
    wait_until_it_waits()
    assert not asked.done()
    end(run)
    assert asked.result(SOON_SECONDS)[0]["state"] == "ended"


@pytest.mark.parametrize(("state", "what"), [("running", "running"), ("ended", "running"), ("ended", "settled")])
def test_what_is_there_already_is_not_waited_for(web: Web, state: str, what: str):
    over = {"end_code": "ended_by_api", "end_reason": "Over."} if state == "ended" else {}
    answer, took = wait_for(web, new_run(state=state, **over), what)
    assert answer["state"] == state
    assert took < SOON_SECONDS


def test_when_the_time_is_over_the_answer_is_how_it_stands(web: Web):
    answer, took = wait_for(web, new_run(), "running", timeout=1)
    assert answer["state"] == "acquiring"
    assert 1 <= took < SOON_SECONDS


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("wait_for=lunch", "wait_for"), ("wait_for=", "wait_for"), ("wait_for=running&timeout=31", "timeout"),
        ("wait_for=settled&timeout=-1", "timeout"), ("wait_for=settled&timeout=soon", "timeout"),
    ],
)  # fmt: skip
def test_a_wait_that_nobody_knows_is_refused_at_once(web: Web, query: str, field: str):
    answer = web.get(f"/api/runs/{new_run().pk}?{query}", timeout=SOON_SECONDS)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "invalid", field)


def test_a_run_that_is_not_there_is_not_waited_for(web: Web):
    answer = web.get(f"/api/runs/{uuid4()}?wait_for=running", timeout=SOON_SECONDS)
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_run")


def test_those_who_wait_hold_no_thread_and_leave_none_behind(web: Web):
    runs = [new_run() for _ in range(40)]
    server = psutil.Process(web.process.pid)
    web.get("/health/live")
    before = server.num_threads()
    with ThreadPoolExecutor(len(runs)) as threads:
        asked = [threads.submit(wait_for, web, run, "running", 30) for run in runs]
        wait_until_it_waits()
        assert server.num_threads() <= before + 25, "readers and requests have a few threads for all"
        began = time.monotonic()
        assert web.get("/api/games").status_code == 200
        assert time.monotonic() - began < SOON_SECONDS, "others are answered meanwhile"
        for run in runs:
            end(run)
        assert {each.result(LONG_SECONDS)[0]["state"] for each in asked} == {"ended"}


def test_a_client_that_hangs_up_leaves_nothing_behind(web: Web):
    run = new_run()
    server = psutil.Process(web.process.pid)
    kept = len(server.net_connections())
    for _ in range(5):
        with pytest.raises(httpx.ReadTimeout):
            web.get(f"/api/runs/{run.pk}?wait_for=running", timeout=0.5)
    until(lambda: len(server.net_connections()) <= kept, "their connections are closed", seconds=LONG_SECONDS)


# A launch.


def launch(web: Web, *, wait: str = f"wait={LONG_SECONDS}", key: str = "", **body: Any) -> httpx.Response:
    headers = {"Prefer": wait} | ({"Idempotency-Key": key} if key else {})
    return httpx.post(f"{web.url}/api/launch", json={"game": "snake"} | body, headers=headers, **PLAIN)


def launched(key: str) -> Run:
    until(Run.objects.filter(idempotency_key=key).exists, "it is launched", seconds=LONG_SECONDS)
    return Run.objects.get(idempotency_key=key)


@pytest.fixture
def snake(transactional_db: None, pool: Pool) -> None:
    """A game with a pool that has nothing: a launch that is to wait for it waits for ever."""
    Run.objects.filter(pk=new_run().pk).delete()


@pytest.mark.parametrize(("change", "state"), [(play, "running"), (end, "ended")])
def test_a_launch_that_prefers_to_wait_is_answered_when_it_runs_or_is_over(
    web: Web, snake: None, meanwhile: Meanwhile, change: Callable[[Run], None], state: str
):
    asked = meanwhile(launch, web, key=state, on_miss="wait")
    run = launched(state)
    wait_until_it_waits()
    assert not asked.done()
    change(run)
    answer = asked.result(SOON_SECONDS)
    told = answer.json()
    assert (answer.status_code, told["run_id"], told["state"]) == (201, str(run.pk), state)
    assert told["token"].startswith("run_"), "nothing of a launch's answer is missing"
    assert answer.headers["Preference-Applied"] == f"wait={LONG_SECONDS}"
    assert int(answer.headers["Content-Length"]) == len(answer.content)


def test_after_so_many_seconds_it_is_answered_as_it_stands(web: Web, snake: None):
    began = time.monotonic()
    answer = launch(web, wait="respond-async, wait=1; foo", on_miss="wait")
    assert (answer.status_code, answer.json()["state"]) == (201, "acquiring")
    assert 1 <= time.monotonic() - began < SOON_SECONDS
    assert answer.headers["Preference-Applied"] == "wait=1"


def test_it_waits_for_thirty_seconds_at_the_most(web: Web, snake: None, meanwhile: Meanwhile):
    asked = meanwhile(launch, web, wait="wait=3600", key="long", on_miss="wait")
    end(launched("long"))
    assert asked.result(SOON_SECONDS).headers["Preference-Applied"] == "wait=30"


@pytest.mark.parametrize("said", ["", "wait", "wait=soon", "wait=-1", "respond-async", "wait=0"])
def test_a_preference_that_asks_for_no_wait_is_passed_over(web: Web, snake: None, said: str):
    answer = launch(web, wait=said, on_miss="wait")
    assert (answer.status_code, answer.json()["state"]) == (201, "acquiring")
    assert "Preference-Applied" not in answer.headers


def test_what_is_refused_is_refused_at_once(web: Web, snake: None):
    answer = launch(web, game="chess")
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_game")
    assert "Preference-Applied" not in answer.headers


def test_the_same_key_sent_again_while_the_first_waits_gives_the_same_run(web: Web, snake: None, meanwhile: Meanwhile):
    asked = [meanwhile(launch, web, key="k", on_miss="wait") for _ in range(3)]
    run = launched("k")
    wait_until_it_waits()
    end(run)
    answers = [each.result(LONG_SECONDS) for each in asked]
    assert {answer.json()["run_id"] for answer in answers} == {str(run.pk)}
    assert Run.objects.count() == 1


def test_a_client_that_hangs_up_has_launched_all_the_same(web: Web, snake: None):
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{web.url}/api/launch", json={"game": "snake", "on_miss": "wait"},
            headers={"Prefer": "wait=30", "Idempotency-Key": "gone"}, **PLAIN | {"timeout": 1},
        )  # fmt: skip
    assert launched("gone").state == RunState.ACQUIRING


# What it waits for.


def waits_for(run: Run) -> Any:
    """The same at both addresses of a single run, but for the time that has passed between."""
    found, also = (Client().get(f"/api/{name}/{run.pk}").json()["waiting_for"] for name in ("sandbox", "runs"))
    assert also | {"expected_seconds": None} == found | {"expected_seconds": None}
    return found


def test_one_in_the_pools_line_knows_its_position_and_when_its_sandbox_should_come(make_sandbox: MakeSandbox):
    make_sandbox("creating", requested_at=timezone.now())
    first, second = (
        new_run(mode="warm", served_by="pool", created_at=timezone.now() - timedelta(seconds=ago)) for ago in (2, 1)
    )
    found = waits_for(first)
    assert (found["code"], found["position"], found["detail"]) == ("pool", 1, "The next warm sandbox is for it.")
    assert found["expected_seconds"] > 0
    found = waits_for(second)
    assert (found["position"], found["expected_seconds"]) == (2, None), "nothing is on its way for it"
    assert found["detail"] == "It waits for a warm sandbox; 1 launch is ahead of it."


def test_one_in_the_line_for_a_place_knows_its_position(db: None):
    new_run(served_by="cold", created_at=timezone.now() - timedelta(seconds=2))
    new_run(mode="warm", served_by="cold_fallback", created_at=timezone.now() - timedelta(seconds=1))
    assert waits_for(new_run(served_by="cold")) == {
        "code": "place", "position": 3, "expected_seconds": None,
        "detail": "It waits for a place in the fleet; 2 launches are ahead of it.",
    }  # fmt: skip


def test_one_whose_own_sandbox_is_created_knows_how_long_that_takes(make_sandbox: MakeSandbox):
    sandbox = make_sandbox("creating", pool=None, origin="cold", requested_at=timezone.now())
    found = waits_for(new_run(served_by="cold", sandbox=sandbox))
    assert (found["code"], found["position"]) == ("sandbox", None)
    assert found["expected_seconds"] > 0


def test_one_whose_game_is_brought_up_knows_how_long_that_takes_until_it_takes_longer(make_sandbox: MakeSandbox):
    fields = {"state": "deploying", "served_by": "pool", "mode": "warm"}
    now = timezone.now()
    run = new_run(sandbox=make_sandbox("in_use"), acquired_at=now, **fields)
    found = waits_for(run)
    assert (found["code"], found["position"]) == ("deployment", None)
    assert 0 < found["expected_seconds"] < 60
    late = new_run(sandbox=make_sandbox("in_use"), acquired_at=now - timedelta(hours=1), **fields)
    assert waits_for(late)["expected_seconds"] is None


@pytest.mark.parametrize("state", ["running", "ended"])
def test_one_that_runs_or_is_over_waits_for_nothing(db: None, state: str):
    over = {"end_code": "ended_by_api", "end_reason": "Over."} if state == "ended" else {}
    assert Client().get(f"/api/sandbox/{new_run(state=state, **over).pk}").json()["waiting_for"] is None


def test_lists_do_not_look_for_it(db: None, settings: Any):
    settings.ANYONE_MAY_END_RUNS = True
    new_run(served_by="cold")
    (run,) = Client().get("/api/runs").json()["runs"]
    assert run["waiting_for"] is None


def primed(web: Web, key: str, seconds: int) -> tuple[httpx.Response, float]:
    """The answer to priming a pool, and how long it took."""
    began = time.monotonic()
    headers = {"X-API-Key": key, "Prefer": f"wait={seconds}"}
    answer = httpx.post(f"{web.url}/api/pools/python/prime", json={"reason": "A test."}, headers=headers, **PLAIN)
    return answer, time.monotonic() - began


def test_who_primes_a_pool_may_wait_until_it_is_full(
    web: Web, pool: Pool, make_sandbox: MakeSandbox, meanwhile: Meanwhile
):
    _, key = api_keys.make("robot", ["operate"], by="ada", now=timezone.now())
    asked = meanwhile(primed, web, key, LONG_SECONDS)
    time.sleep(1)
    assert not asked.done()
    make_sandbox(State.READY, ready_at=timezone.now(), health_checked_at=timezone.now())
    answer, took_seconds = asked.result()
    assert (answer.status_code, answer.json()["counts"]["ready"]) == (200, 1)
    assert "Retry-After" not in answer.headers
    assert answer.headers["Preference-Applied"] == f"wait={LONG_SECONDS}"
    assert 1 <= took_seconds < 1 + SOON_SECONDS


def test_priming_that_takes_longer_is_answered_with_how_the_pool_stands(web: Web, pool: Pool):
    _, key = api_keys.make("robot", ["operate"], by="ada", now=timezone.now())
    answer, took_seconds = primed(web, key, 1)
    assert (answer.status_code, answer.json()["counts"]["ready"]) == (202, 0)
    assert answer.headers["Retry-After"]
    assert 1 <= took_seconds < 1 + SOON_SECONDS


def test_who_may_not_prime_waits_for_nothing(web: Web, pool: Pool):
    _, key = api_keys.make("robot", ["read"], by="ada", now=timezone.now())
    answer, took_seconds = primed(web, key, LONG_SECONDS)
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
    assert took_seconds < SOON_SECONDS
