"""Visitors are told apart without a row for each."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.conf import settings as site
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings

from runs.models import Run

pytestmark = pytest.mark.django_db
COOKIE = site.VISITOR_COOKIE_NAME
PAGES = ["/", "/live/", "/games/snake/", "/games/snake/live/", "/stats/"]


@pytest.fixture(autouse=True)
def no_task_is_run(monkeypatch: pytest.MonkeyPatch, settings) -> None:
    settings.MAX_RUNS_PER_HOUR = settings.MAX_CONCURRENT_WARM = settings.MAX_TOTAL_ACTIVE = 100


def launch(client: Client, key: str = "0123456789abcdef") -> str:
    response = client.post("/games/snake/", {"key": key, "mode": "warm", "start_from": "snapshot"})
    assert response.status_code == 303
    return response["Location"]


def test_a_hundred_looks_without_cookies_leave_no_session(snake, pool, make_run):
    pages = [*PAGES, make_run(visitor="somebody").get_absolute_url()]
    Session.objects.all().delete()  # the one of the fixtures' player
    for number in range(100):
        assert Client().get(pages[number % len(pages)]).status_code == 200
    assert not Session.objects.exists()


def test_a_launch_leaves_none_either(client, snake, pool):
    client.get("/games/snake/")
    launch(client)
    assert not Session.objects.exists()


def test_what_is_launched_from_a_page_is_the_visitors(client, snake, pool):
    client.get("/")
    run = launch(client)
    assert "yours" in client.get("/").content.decode()
    assert client.post(f"{run}end/").status_code == 303
    assert Client().post(f"{run}end/").status_code == 403


def test_two_clicks_on_a_page_are_one_launch(client, snake, pool):
    client.get("/games/snake/")
    assert launch(client) == launch(client)
    assert Run.objects.count() == 1


def test_visitors_have_different_numbers_and_keep_them(snake):
    first, second = Client(), Client()
    numbers = [visitor.get("/").cookies[COOKIE].value for visitor in (first, second)]
    assert numbers[0] != numbers[1]
    assert COOKIE not in first.get("/").cookies


def test_the_number_is_for_the_server_alone(client, snake, settings):
    settings.SESSION_COOKIE_SECURE = True
    cookie = client.get("/").cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["secure"]) == (True, "Lax", True)


def test_a_number_that_was_made_up_is_nobodys(client, snake):
    client.cookies[COOKIE] = "0" * 32
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.cookies[COOKIE].value != "0" * 32


def test_their_runs_stay_theirs_when_somebody_logs_in(client, snake, pool):
    client.get("/")
    run = launch(client)
    client.force_login(get_user_model().objects.create_user("ada"))
    assert client.post(f"{run}end/").status_code == 303


def test_who_has_a_number_in_a_session_of_old_keeps_their_runs(player, make_run):
    run = make_run()
    answer = player.get("/")
    assert str(run.id) in answer.content.decode()
    assert COOKIE not in answer.cookies


OLD = "visitor"  # the cookie's name before each installation had its own


def signed(name: str, number: str) -> str:
    response = HttpResponse()
    response.set_signed_cookie(name, number)
    return response.cookies[name].value


def number_in(cookies: Any) -> str:
    request = HttpRequest()
    request.COOKIES = {COOKIE: cookies[COOKIE].value}
    return request.get_signed_cookie(COOKIE)


def test_who_has_the_cookie_of_an_older_version_keeps_their_runs_and_their_number(client, snake, pool):
    client.get("/")
    run = launch(client)
    upgraded = Client()
    upgraded.cookies[OLD] = signed(OLD, number_in(client.cookies))
    answer = upgraded.get("/")
    assert "yours" in answer.content.decode()
    assert number_in(answer.cookies) == number_in(client.cookies)
    del upgraded.cookies[OLD]
    assert upgraded.post(f"{run}end/").status_code == 303


def test_the_old_cookie_of_another_installation_on_this_host_is_nobodys(client, snake):
    with override_settings(SECRET_KEY="another installation's"):
        client.cookies[OLD] = signed(OLD, "0" * 32)
    assert number_in(client.get("/").cookies) != "0" * 32


def test_a_number_of_ones_own_comes_before_the_old_one(client, snake):
    client.get("/")
    before = client.cookies[COOKIE].value
    client.cookies[OLD] = signed(OLD, "0" * 32)
    assert COOKIE not in client.get("/").cookies
    assert client.cookies[COOKIE].value == before


# The key changes.

OLD_KEY, NEW_KEY = "the old key", "the new key"
BEFORE = {"SECRET_KEY": OLD_KEY, "SECRET_KEY_FALLBACKS": [OLD_KEY], "OLDEST_SECRET_KEY": OLD_KEY}
ANNOUNCED = {"SECRET_KEY": OLD_KEY, "SECRET_KEY_FALLBACKS": [NEW_KEY, OLD_KEY], "OLDEST_SECRET_KEY": OLD_KEY}
USED = {"SECRET_KEY": NEW_KEY, "SECRET_KEY_FALLBACKS": [NEW_KEY, OLD_KEY], "OLDEST_SECRET_KEY": OLD_KEY}
FORGOTTEN = {"SECRET_KEY": NEW_KEY, "SECRET_KEY_FALLBACKS": [NEW_KEY], "OLDEST_SECRET_KEY": NEW_KEY}


@pytest.mark.parametrize("first", [BEFORE, ANNOUNCED, USED], ids=["before", "announced", "used"])
def test_a_visitors_runs_stay_theirs_while_the_secret_key_changes(client, snake, pool, first: dict[str, Any]):
    """With a new key, even beside the old one, every visitor became another."""
    with override_settings(**first):
        client.get("/")
        run = launch(client)
    for keys in (ANNOUNCED, USED, ANNOUNCED, USED, FORGOTTEN):
        with override_settings(**keys):
            assert "yours" in client.get("/").content.decode()
    with override_settings(**FORGOTTEN):
        assert client.post(f"{run}end/").status_code == 303
    assert Run.objects.count() == 1


def test_a_visitor_who_comes_by_is_signed_for_under_the_new_key(client, snake, clock_of_cookies):
    with override_settings(**USED):
        client.get("/")
    held = client.cookies[COOKIE].value
    with override_settings(**USED):
        clock_of_cookies(3601)
        client.get("/")
    assert client.cookies[COOKIE].value != held
    assert client.cookies[COOKIE].value.split(":")[0] == held.split(":")[0]


@pytest.fixture
def clock_of_cookies(monkeypatch: pytest.MonkeyPatch):
    now = time.time
    return lambda seconds: monkeypatch.setattr("django.core.signing.time.time", lambda: now() + seconds)


@pytest.mark.parametrize("keys", [ANNOUNCED, USED], ids=["announced", "used"])
def test_a_program_at_an_address_that_launches_again_gets_the_same_run_from_a_process_of_the_other_key(
    client, snake, pool, keys: dict[str, Any]
):
    """It comes back to another process when the first one restarts."""

    def launched() -> str:
        sent = {"game": "snake", "mode": "cold"}
        answer = Client().post("/api/launch", sent, "application/json", headers={"Idempotency-Key": "7f3a"})
        return answer.json()["run_id"]

    with override_settings(**BEFORE):
        first = launched()
    with override_settings(**keys):
        assert launched() == first
