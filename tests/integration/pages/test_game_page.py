"""A game's page and its launch form."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from games.models import Game
from runs.limits import LimitReached
from runs.models import Run
from runs.pages import game as game_page

pytestmark = pytest.mark.django_db


def key_on(response) -> str:
    return re.search(r'name="key" value="([^"]+)"', response.content.decode())[1]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, make_run: Callable[..., Run]) -> list[dict[str, Any]]:
    """What the page asks the launch for; the launch itself has tests of its own."""
    asked: list[dict[str, Any]] = []

    def launch(**wishes: Any) -> Run:
        asked.append(wishes)
        mine = {"visitor": wishes["client"].name, "idempotency_key": wishes["idempotency_key"]}
        return Run.objects.filter(**mine).first() or make_run(**mine)

    monkeypatch.setattr(game_page, "launch", launch)
    return asked


def test_it_says_what_it_is_and_how_to_play(client: Client, snake: Game):
    page = client.get("/games/snake/").content.decode()
    for words in ("Snake", "The classic.", "Arrow keys.", "Launch Snake"):
        assert words in page


def test_warm_from_a_snapshot_is_chosen_already(client, snake):
    page = client.get("/games/snake/").content.decode()
    assert re.search(r'value="warm" checked', page)
    assert re.search(r'value="snapshot" checked', page)


def test_a_click_launches_and_leads_to_the_run(client, snake, launched):
    key = key_on(client.get("/games/snake/"))
    response = client.post("/games/snake/", {"mode": "cold", "start_from": "source", "key": key})
    assert response.status_code == 303
    assert response["Location"] == f"/runs/{Run.objects.get().id}/"
    asked = launched[0]
    assert (asked["game"], asked["mode"], asked["use_snapshot"]) == ("snake", "cold", False)
    assert key in asked["idempotency_key"]


def test_two_clicks_of_one_page_come_from_one_visitor_with_one_key(client, snake, launched):
    key = key_on(client.get("/games/snake/"))
    for _ in range(2):
        response = client.post("/games/snake/", {"mode": "warm", "start_from": "snapshot", "key": key})
        assert response.status_code == 303
    assert len({(asked["client"].name, asked["idempotency_key"]) for asked in launched}) == 1


def test_a_second_launch_of_a_game_that_is_on_is_asked_about_first(client, snake, launched):
    wish = {"mode": "warm", "start_from": "snapshot"}
    client.post("/games/snake/", wish | {"key": key_on(client.get("/games/snake/"))})
    mine = Run.objects.get()
    again = wish | {"key": key_on(client.get("/games/snake/"))}
    asked = client.post("/games/snake/", again)
    assert asked.status_code == 409
    page = asked.content.decode()
    assert f'href="/runs/{mine.id}/"' in page
    assert "5 min left" in page
    assert len(launched) == 1
    assert client.post("/games/snake/", again | {"another": "yes"}).status_code == 303
    assert len(launched) == 2


def test_each_page_has_a_key_of_its_own(client, snake):
    assert key_on(client.get("/games/snake/")) != key_on(client.get("/games/snake/"))


@pytest.mark.parametrize(
    "wrong", [{"mode": "lukewarm"}, {"start_from": "thin air"}, {"key": ""}, {"key": "<script>alert(1)</script>"}]
)
def test_a_form_that_makes_no_sense_launches_nothing(client, snake, launched, wrong):
    response = client.post("/games/snake/", {"mode": "warm", "start_from": "snapshot", "key": "a" * 36} | wrong)
    assert response.status_code == 422
    assert not launched
    assert b"<script>alert" not in response.content


def test_a_refused_launch_says_why_and_when_to_come_back(client, snake, monkeypatch):
    def refuse(**wishes: Any) -> Run:
        raise LimitReached("MAX_RUNS_PER_HOUR", "All 25 launches of this hour are used up.", 300)

    monkeypatch.setattr(game_page, "launch", refuse)
    key = key_on(client.get("/games/snake/"))
    response = client.post("/games/snake/", {"mode": "cold", "start_from": "source", "key": key})
    page = response.content.decode()
    assert (response.status_code, response["Retry-After"]) == (429, "300")
    assert "All 25 launches of this hour are used up." in page
    assert "in 5 minutes" in page
    assert key_on(response) == key
    assert re.search(r'value="cold" checked', page)


def test_a_game_that_is_switched_off_is_not_there(client, snake):
    Game.objects.update(enabled=False)
    assert client.get("/games/snake/").status_code == 404
    assert client.get("/games/snake/cover.svg").status_code == 404


def test_the_picture_can_not_run_scripts_and_is_kept_for_long(client, snake):
    address = re.search(r'src="(/games/snake/cover.svg\?v=[^"]+)"', client.get("/games/snake/").content.decode())[1]
    response = client.get(address)
    assert response["Content-Type"] == "image/svg+xml"
    assert response["Content-Security-Policy"] == "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    assert "immutable" in response["Cache-Control"]
    assert client.get(address, headers={"If-None-Match": response["ETag"]}).status_code == 304


def test_a_form_without_its_token_launches_nothing_and_says_so(snake, launched):
    strict = Client(enforce_csrf_checks=True)
    response = strict.post("/games/snake/", {"mode": "warm", "start_from": "snapshot", "key": "a" * 36})
    assert response.status_code == 403
    assert b"That page was too old" in response.content
    assert not launched
