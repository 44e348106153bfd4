"""Who may end a run: not whoever knows its id; and every act has its actor in the log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from pools.models import FleetEvent, State
from runs import rights
from runs.models import Run, RunState
from runs.reasons import RunEndCode
from runs.visitors import known_visitor
from tests.fixtures.web import new_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(snake) -> Run:
    return new_run(state="deploying", visitor="a program somewhere")


def end(client: Client, run: Run, query: str = "", **headers: str) -> tuple[int, str]:
    """Status and code of the answer to DELETE."""
    answer = client.delete(f"/api/sandbox/{run.id}{query}", headers=headers)
    return answer.status_code, answer.json().get("code", "")


def person(*groups: str, staff: bool = True) -> Client:
    user = User.objects.create_user("somebody", is_staff=staff)
    user.groups.set(Group.objects.filter(name__in=groups))
    client = Client()
    client.force_login(user)
    return client


def actors(run: Run) -> set[str]:
    return set(FleetEvent.objects.filter(run_id=run.id).values_list("actor", flat=True)) - {""}


def test_whoever_knows_its_id_may_look_and_not_end_it(run: Run):
    stranger = Client()
    assert stranger.get(f"/api/sandbox/{run.id}").status_code == 200
    assert end(stranger, run) == (403, "not_yours")
    run.refresh_from_db()
    assert run.state == RunState.DEPLOYING


@pytest.mark.parametrize("staff", [True, False])
def test_a_viewer_may_not_end_it(run: Run, *, staff: bool):
    assert end(person("Viewers", staff=staff), run, "?reason=because") == (403, "not_yours")


def test_who_launched_it_with_a_program_ends_it_with_the_token_of_the_answer(snake, pool):
    launched = Client().post("/api/launch/cold", {"game": "snake"}, content_type="application/json").json()
    run = Run.objects.get(pk=launched["run_id"])
    again = Client()
    assert "token" not in again.get(f"/api/sandbox/{run.id}").json()
    assert end(again, run) == (403, "not_yours"), "the address that it came from is no right"
    assert end(again, run, Authorization=f"Bearer {launched['token']}") == (200, "")
    run.refresh_from_db()
    assert run.end_code == RunEndCode.ENDED_BY_API
    assert actors(run) == {f"holder of the token of run {run.short_id}"}


@pytest.mark.parametrize("said", ["", "Bearer", "Bearer run_", "Basic eDp5", "Bearer ünter", "Bearer \x00", "run_x"])
def test_what_is_no_token_of_it_opens_nothing(run: Run, said: str):
    assert end(Client(), run, Authorization=said) == (403, "not_yours")


def test_a_token_is_of_one_run(run: Run):
    other = new_run()
    assert end(Client(), run, Authorization=f"Bearer {rights.token_of(other.id)}") == (403, "not_yours")


def test_a_token_outlives_a_new_secret_key(run: Run, settings):
    token = rights.token_of(run.id)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a new one", [settings.SECRET_KEY]
    assert end(Client(), run, Authorization=f"bearer {token}") == (200, "")


def test_its_player_ends_it_from_the_same_browser(snake, pool):
    player = Client()
    player.get("/")
    location = player.post("/games/snake/", {"key": "0123456789abcdef", "mode": "cold", "start_from": "snapshot"})
    run = Run.objects.get(pk=location["Location"].split("/")[-2])
    assert end(Client(), run) == (403, "not_yours")
    assert end(player, run) == (200, "")
    assert actors(run) == {f"player {run.visitor[:8]}"}


def test_an_operator_says_why_and_is_named(run: Run):
    operator = person("Operators")
    assert end(operator, run) == (422, "reason_needed")
    assert end(operator, run, "?reason=%20") == (422, "reason_needed")
    assert end(operator, run, "?reason=it+hangs") == (200, "")
    run.refresh_from_db()
    assert (run.end_code, run.end_reason) == (RunEndCode.ENDED_BY_OPERATOR, "An operator ended it: it hangs")
    assert actors(run) == {"somebody"}


def test_where_anyone_may_the_log_still_names_a_caller(run: Run, settings):
    settings.ANYONE_MAY_END_RUNS = True
    assert end(Client(REMOTE_ADDR="203.0.113.7"), run) == (200, "")
    (actor,) = actors(run)
    assert actor.startswith("caller ")
    assert "203.0.113.7" not in actor


@pytest.mark.parametrize("act", ["end", "extend"])
def test_on_its_page_the_player_is_named_too(snake, pool, act: str, make_running: Callable[[Client], Run]):
    player = Client()
    run = make_running(player)
    assert Client().post(f"/runs/{run.id}/{act}/").status_code == 403
    assert player.post(f"/runs/{run.id}/{act}/").status_code in (204, 303)
    assert actors(run) == {f"player {run.visitor[:8]}"}


@pytest.fixture
def make_running(make_sandbox) -> Callable[[Client], Run]:
    def make(player: Client) -> Run:
        seen = player.get("/").wsgi_request
        soon = timezone.now() + timedelta(minutes=5)
        sandbox = make_sandbox(State.IN_USE, expires_at=soon)
        return new_run(state="running", visitor=known_visitor(seen), sandbox=sandbox, expires_at=soon)

    return make
