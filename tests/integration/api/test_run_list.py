"""GET /api/runs: whose runs are listed, which of them, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from games.models import Game
from pools import keyset
from runs.models import Run
from runs.visitors import _name
from tests.fixtures.web import new_run
from tests.integration.api.conftest import person

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def runs_of(client: Client, query: str = "") -> dict[str, Any]:
    answer = client.get(f"/api/runs?{query}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def ids(page: dict[str, Any]) -> list[str]:
    return [run["run_id"] for run in page["runs"]]


def pages(client: Client, query: str = "limit=3") -> Iterator[dict[str, Any]]:
    """Page after page, as a program follows the cursor."""
    page = runs_of(client, query)
    yield page
    while page["has_more"]:
        page = runs_of(client, f"{query}&cursor={quote(page['next_cursor'])}")
        yield page


def make(count: int, **fields: Any) -> list[Run]:
    """So many runs, newest first, a second apart."""
    return [new_run(**{"created_at": NOW - timedelta(seconds=n)} | fields) for n in range(count)]


def test_a_player_sees_their_own_runs_and_nobody_elses(player: Client, name_of: Callable[[Client], str]):
    mine = new_run(visitor=name_of(player))
    new_run(visitor="somebody else")
    page = runs_of(player)
    assert ids(page) == [str(mine.id)]
    assert (page["total"], page["has_more"], page["next_cursor"]) == (1, False, None)


def test_a_program_sees_what_was_launched_from_its_address(snake: Game):
    mine = new_run(visitor=_name("address 203.0.113.7"))
    new_run(visitor=_name("address 203.0.113.8"))
    assert ids(runs_of(Client(REMOTE_ADDR="203.0.113.7"))) == [str(mine.id)]


def test_an_operator_sees_all(operator: Client):
    made = make(3)
    assert ids(runs_of(operator)) == [str(run.id) for run in made]


def test_staff_without_the_right_see_their_own(snake: Game):
    new_run()
    assert ids(runs_of(person("view_fleet"))) == []


def test_no_answer_has_a_token_or_a_visitor(operator: Client):
    make(1)
    [run] = runs_of(operator)["runs"]
    assert not {"token", "visitor"} & set(run)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("state=running", ["running"]),
        ("state=ended", []),
        ("mode=warm", ["warm"]),
        ("game=snake", ["acquiring", "running", "warm"]),
        ("game=chess", []),
        ("state=acquiring&mode=cold&game=snake", ["acquiring"]),
        ("created_after={0}", ["acquiring", "running"]),
        ("created_before={0}", []),
        ("created_after={0}&created_before={1}", ["running"]),
    ],
)
def test_what_is_asked_for_is_what_comes(operator: Client, query: str, found: list[str]):
    made = {
        "acquiring": new_run(created_at=NOW),
        "running": new_run(created_at=NOW - timedelta(minutes=1), state="running"),
        "warm": new_run(created_at=NOW - timedelta(minutes=2), mode="warm", state="deploying"),
    }
    moments = [quote((NOW - timedelta(minutes=minutes)).isoformat()) for minutes in (2, 0)]
    page = runs_of(operator, query.format(*moments))
    assert ids(page) == [str(made[name].id) for name in found]
    assert page["total"] == len(found)


def test_pages_follow_each_other_without_a_gap_or_a_repetition(operator: Client):
    made = make(8) + [new_run(created_at=NOW - timedelta(minutes=1)) for _ in range(4)]
    seen = [each for page in pages(operator) for each in ids(page)]
    assert len(seen) == len(set(seen)) == 12
    assert seen[:8] == [str(run.id) for run in made[:8]]


def test_runs_that_come_meanwhile_shift_nothing(operator: Client):
    made = make(6)
    first = runs_of(operator, "limit=3")
    new_run(created_at=NOW + timedelta(seconds=1))
    second = runs_of(operator, f"limit=3&cursor={quote(first['next_cursor'])}")
    assert ids(first) + ids(second) == [str(run.id) for run in made]


def test_a_page_looks_at_so_many_runs_and_no_more(operator: Client, monkeypatch: pytest.MonkeyPatch):
    """What no index has is looked for among a thousand: a page may be short, and none is missed."""
    monkeypatch.setattr(keyset, "LOOKED_AT", 5)
    rare = [run for n, run in enumerate(make(23)) if n % 7 == 6]
    Run.objects.filter(pk__in=[run.pk for run in rare]).update(mode="warm")
    found = list(pages(operator, "limit=3&mode=warm"))
    assert [each for page in found for each in ids(page)] == [str(run.id) for run in rare]
    assert len(found) == 5
    assert found[0]["total"] is None, "it would have to be counted among too many"


def test_of_many_runs_of_one_moment_none_is_missed_or_repeated(operator: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keyset, "LOOKED_AT", 5)
    for n in range(16):
        new_run(created_at=NOW, mode="warm" if n % 3 else "cold")
    seen = [each for page in pages(operator, "limit=2&mode=warm") for each in ids(page)]
    assert len(seen) == len(set(seen)) == 10


def test_more_than_are_counted_have_no_total(operator: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keyset, "LOOKED_AT", 5)
    make(5)
    assert runs_of(operator)["total"] == 5
    make(1)
    page = runs_of(operator, "limit=2")
    assert (page["total"], page["has_more"]) == (None, True)


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("limit=0", "limit", "invalid"),
        ("limit=101", "limit", "invalid"),
        ("limit=many", "limit", "invalid"),
        ("state=happy", "state", "invalid"),
        ("mode=auto", "mode", "invalid"),
        ("game=" + "x" * 101, "game", "invalid"),
        ("game=%00", "game", "invalid"),
        ("created_after=yesterday", "created_after", "invalid"),
        ("created_after=2026-01-01T00:00:00", "created_after", "invalid"),
        ("created_before=0001-01-01T00:00:00%2B14:00", "created_before", "invalid"),
        ("cursor=x", "cursor", "bad_cursor"),
        ("cursor=%00", "cursor", "bad_cursor"),
        ("cursor=" + "x" * 301, "cursor", "invalid"),
    ],
)
def test_what_is_not_understood_is_named(operator: Client, query: str, field: str, code: str):
    answer = operator.get(f"/api/runs?{query}")
    assert (answer.status_code, answer["Content-Type"]) == (422, "application/problem+json")
    assert (answer.json()["field"], answer.json()["code"]) == (field, code)


def test_a_cursor_that_was_changed_is_not_taken(operator: Client):
    make(4)
    cursor = runs_of(operator, "limit=2")["next_cursor"]
    forged = cursor[:10] + ("A" if cursor[10] != "A" else "B") + cursor[11:]
    assert operator.get(f"/api/runs?cursor={quote(forged)}").status_code == 422


def test_it_takes_get_head_and_options(player: Client):
    assert player.head("/api/runs").status_code == 200
    assert player.options("/api/runs")["Allow"] == "GET, HEAD, OPTIONS"
    assert player.post("/api/runs").status_code == 405


def test_a_page_costs_as_many_statements_however_many_rows_it_has(operator: Client):
    make(20)
    costs = []
    for limit in (2, 20):
        with CaptureQueriesContext(connection) as asked:
            runs_of(operator, f"limit={limit}&state=acquiring&mode=cold")
        costs.append(len(asked))
    assert costs[0] == costs[1]
