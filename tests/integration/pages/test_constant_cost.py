"""What a page costs does not grow with the sandboxes and runs that there are, or ever were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.sql import compiler
from django.test import Client
from django.utils import timezone

from games.models import Game
from pools import minutes, outcomes
from pools.models import Pool, PoolMinute, Sandbox, State
from runs import overview
from runs.launching import outlook, progress
from runs.models import Run, RunState
from runs.pages import statistics

pytestmark = pytest.mark.django_db
FEW, MANY = 150, 600


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """What is looked at one by one, less than the few of these tests."""
    for module, name in [
        (outcomes, "MOST"),
        (outlook, "LOOKED_AT"),
        (progress, "LOOKED_AT"),
        (overview, "MOST_ACTIVE"),
        (overview, "ENDED_LOOKED_AT"),
        (statistics, "LAUNCHES_LOOKED_AT"),
        (statistics, "LIVES_LOOKED_AT"),
        (statistics, "DEMANDS_LOOKED_AT"),
        (statistics, "SANDBOXES_SUMMED"),
    ]:
        monkeypatch.setattr(module, name, 50)
    settings.MAX_TOTAL_ACTIVE = settings.MAX_CONCURRENT_WARM = settings.MAX_RUNS_PER_HOUR = 100_000


@dataclass
class Cost:
    statements: int = 0
    rows: int = 0


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cost]:
    """Count the statements, and the rows that come from the database."""
    cost, fetch = Cost(), compiler.cursor_iter

    def rows(*arguments: Any) -> Iterator[Sequence[Any]]:
        for found in fetch(*arguments):
            cost.rows += len(found)
            yield found

    def statement(execute: Any, *arguments: Any) -> Any:
        cost.statements += 1
        return execute(*arguments)

    with monkeypatch.context() as patch, connection.execute_wrapper(statement):
        patch.setattr(compiler, "cursor_iter", rows)
        yield cost


def crowd(pool: Pool, game: Game, first: int, until: int) -> None:
    """Add to the runs that are played, to those that are over, and to the ready sandboxes."""
    now = timezone.now()
    lives = [(n, state) for n in range(first, until) for state in (State.IN_USE, State.DELETED, State.READY)]
    sandboxes = [
        Sandbox(
            name=f"{state}-{n}", pool=pool, runtime="python", image="a/b:c", region="syd", size="apps-s-1vcpu-1gb",
            state=state, origin="pool", create_code="demand", create_reason="a test wants it",
            end_code="run_over" if state == State.DELETED else "", end_reason="over" if state == State.DELETED else "",
            requested_at=now - timedelta(minutes=2), ready_at=now - timedelta(minutes=1), health_checked_at=now,
            acquired_at=None if state == State.READY else now - timedelta(seconds=n % 50),
            delete_requested_at=now if state == State.DELETED else None,
        )
        for n, state in lives
    ]  # fmt: skip
    runs = [
        Run(
            game=game, sandbox=sandbox, mode="warm", served_by="pool", deployed_from="snapshot", visitor="somebody",
            state=RunState.RUNNING if sandbox.state == State.IN_USE else RunState.ENDED, total_ms=70, acquire_ms=30,
            end_code="" if sandbox.state == State.IN_USE else "time_up", end_reason="Its time was up.",
            created_at=now - timedelta(seconds=n), ready_at=now, expires_at=now + timedelta(minutes=5), ended_at=now,
        )
        for n, sandbox in enumerate(sandboxes)
        if sandbox.state != State.READY
    ]  # fmt: skip
    Sandbox.objects.bulk_create(sandboxes)
    Run.objects.bulk_create(runs)


PAGES = [
    "/", "/live/", "/live/mine/", "/stats/", "/games/snake/", "/games/snake/live/", "/api/pool/status", "/api/games",
    "/api/orchestrator/logs", "/api/status", "/api/history?limit=20", "/api/stats", "/api/limits", "a run's page",
    "its parts", "a starting run's page", "its answer",
]  # fmt: skip


def address(page: str, running: Run, starting: Run) -> str:
    return {
        "a run's page": f"/runs/{running.id}/",
        "its parts": f"/runs/{running.id}/live/",
        "a starting run's page": f"/runs/{starting.id}/",
        "its answer": f"/api/sandbox/{running.id}",
    }.get(page, page)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_reads_as_much_of_few_as_of_many(monkeypatch, snake, pool, make_run, page):
    path = address(page, make_run(), make_run(RunState.ACQUIRING))
    assert_costs_the_same(monkeypatch, pool, snake, path)


@pytest.mark.parametrize("path", ["/api/status", "/api/history?limit=20"])
def test_a_list_of_everybodys_runs_reads_as_much_of_few_as_of_many(monkeypatch, settings, snake, pool, path):
    settings.ANYONE_MAY_END_RUNS = True
    assert_costs_the_same(monkeypatch, pool, snake, path)


def assert_costs_the_same(monkeypatch: pytest.MonkeyPatch, pool: Pool, game: Game, path: str) -> None:
    client = Client()
    costs = []
    for first, until in ((0, FEW), (FEW, MANY)):
        crowd(pool, game, first, until)
        client.get(path)  # gives a visitor their number
        with counted(monkeypatch) as cost:
            assert client.get(path).status_code == 200
        costs.append(cost)
    assert costs[0] == costs[1]
    assert costs[1].statements <= 30


def test_a_busy_pools_past_is_that_of_its_minutes(client, snake, pool):
    now = timezone.now()
    crowd(pool, snake, 0, FEW)
    for ago in (4, 3, 2, 1):
        minutes.note(now - timedelta(minutes=ago))
    minutes.note(now - timedelta(minutes=1))  # counted already
    counts = list(PoolMinute.objects.order_by("minute").values_list("seconds", "made", "ready", "in_use"))
    assert [(seconds, ready, in_use) for seconds, _, ready, in_use in counts] == [(60, FEW, FEW)] * 4
    (history,) = statistics.pool_histories(now - timedelta(hours=6), now)
    assert history.is_counted
    assert history.line.steps["in_use"].values == (FEW,)
    assert history.made == sum(made for _, made, _, _ in counts)
    cost = statistics.idle_cost(now - timedelta(days=1), now)
    assert (cost.idle_seconds, cost.used_seconds) == (4 * 60 * FEW, 4 * 60 * FEW)
    page = client.get("/stats/").content.decode()
    assert page.count("counted each minute") == 2
    assert "the newest launches of the last 7 days" in page


def test_a_busy_pool_that_was_never_counted_is_shown_as_it_is(client, snake, pool):
    now = timezone.now()
    crowd(pool, snake, 0, FEW)
    (history,) = statistics.pool_histories(now - timedelta(hours=6), now)
    assert (history.line.steps["ready"].peak, history.line.steps["in_use"].peak) == (FEW, FEW)
    assert client.get("/stats/").status_code == 200


def test_after_a_silence_a_count_stands_for_five_minutes_at_most(pool):
    now = timezone.now()
    minutes.note(now - timedelta(hours=2))
    minutes.note(now)
    assert list(PoolMinute.objects.order_by("minute").values_list("seconds", flat=True)) == [60, 300]


def test_counts_of_a_pools_sandboxes_come_from_an_index_alone(snake, pool):
    crowd(pool, snake, 0, FEW)
    rows = Sandbox.objects.filter(pool=pool, state__in=[State.IN_USE, State.READY]).order_by().values("state")
    if connection.vendor == "sqlite":
        assert "COVERING INDEX sandbox_claim" in rows.explain()
