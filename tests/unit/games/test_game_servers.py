"""The games' own web servers: what they serve, and what they answer to good and bad input."""

import subprocess
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.fixtures.games import GameServer

GAMES = ("snake", "memory", "tic-tac-toe")
SNAKE = {"score": 12, "seconds": 40, "edges": "walls", "pace": "classic"}
MEMORY = {"cards": 16, "moves": 14, "seconds": 42}
RESULT = {"against": "perfect", "result": "drawn"}
RESULTS = {"snake": SNAKE, "memory": MEMORY, "tic-tac-toe": RESULT}


@pytest.mark.parametrize("slug", GAMES)
def test_a_game_serves_its_page_with_relative_addresses_only(
    start_game: Callable[[str], GameServer], slug: str
) -> None:
    server = start_game(slug)
    page = httpx.get(server.url + "/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    for absolute in ('src="/', 'href="/', "http://", "https://", "<style", " style=", " onclick", "<form"):
        assert absolute not in page.text
    for name in ("game.js", "game.css", "icon.svg"):
        assert f'"static/{name}"' in page.text
        file = httpx.get(f"{server.url}/static/{name}")
        assert file.status_code == 200
        assert file.headers["access-control-allow-origin"] == "*"
        assert file.headers["x-content-type-options"] == "nosniff"
        for storage in ("localStorage", "sessionStorage", "document.cookie", "https://"):
            assert storage not in file.text


@pytest.mark.parametrize("slug", GAMES)
def test_a_game_answers_pages_of_an_opaque_origin(start_game: Callable[[str], GameServer], slug: str) -> None:
    server = start_game(slug)
    origin = {"Origin": "null"}
    assert httpx.get(server.url + "/api/health", headers=origin).json() == {"status": "ok", "game": slug}
    asked = {**origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    preflight = httpx.options(server.url + "/api/scores", headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    posted = httpx.post(server.url + "/api/scores", json=RESULTS[slug], headers=origin)
    assert posted.status_code == 201
    assert posted.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("slug", GAMES)
def test_what_is_not_there_is_a_404_in_json(start_game: Callable[[str], GameServer], slug: str) -> None:
    server = start_game(slug)
    hidden = ("/server.py", "/server.js", "/game.toml", "/static/%2e%2e/server.py", "/static/..%2fserver.js")
    for path in ("/nothing", "/api/nothing", "/static/nothing.js", *hidden):
        answer = httpx.get(server.url + path)
        assert answer.status_code == 404, path
        assert answer.json()["error"], path
        assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("slug", GAMES)
def test_bodies_are_bounded_and_must_be_objects(start_game: Callable[[str], GameServer], slug: str) -> None:
    url = start_game(slug).url + "/api/scores"
    for body, status in [
        (b"x" * 2000, 413),
        (b"", 422),
        (b"nonsense", 422),
        (b"[1]", 422),
        (b"null", 422),
        (b"\xff", 422),
    ]:
        answer = httpx.post(url, content=body)
        assert answer.status_code == status, body[:20]
        assert answer.json()["field"] == "body"
    assert httpx.get(url).status_code == 200


def refused(start_game: Callable[[str], GameServer], slug: str, wrong: dict[str, Any]) -> None:
    url = start_game(slug).url + "/api/scores"
    before = httpx.get(url).json()
    for field, values in wrong.items():
        for value in values:
            answer = httpx.post(url, json={**RESULTS[slug], field: value})
            assert answer.status_code == 422, (field, value)
            assert answer.json()["field"] == field
    without = dict(list(RESULTS[slug].items())[1:])
    assert httpx.post(url, json=without).json()["field"] == next(iter(RESULTS[slug]))
    assert httpx.get(url).json() == before


def test_snake_refuses_what_no_game_gives(start_game: Callable[[str], GameServer]) -> None:
    wrong: dict[str, Any] = {
        "score": [-1, 286, 1.5, "7", True, None],
        "seconds": [-1, 86401, "x"],
        "edges": ["none", 1, None, ["walls"]],
        "pace": ["hasty"],
        "name": ["x"],
    }
    refused(start_game, "snake", wrong)


def test_memory_refuses_what_no_game_gives(start_game: Callable[[str], GameServer]) -> None:
    wrong: dict[str, Any] = {
        "cards": [14, "16", True, None, [16]],
        "moves": [7, 10000, 8.5, "9", True],
        "seconds": [-1, 86401, None],
        "name": ["x"],
    }
    refused(start_game, "memory", wrong)


def test_tic_tac_toe_refuses_what_no_game_gives(start_game: Callable[[str], GameServer]) -> None:
    wrong: dict[str, Any] = {"against": ["nobody", 1, None, ["easy"]], "result": ["x", 0], "name": ["x"]}
    refused(start_game, "tic-tac-toe", wrong)


def test_snake_keeps_the_ten_best_games_of_each_kind(start_game: Callable[[str], GameServer]) -> None:
    url = start_game("snake").url + "/api/scores"
    for score in range(1, 13):
        rank = httpx.post(url, json={**SNAKE, "score": score}).json()["rank"]
        assert rank == 1
    assert httpx.post(url, json={**SNAKE, "score": 1}).json()["rank"] == 0
    assert httpx.post(url, json={**SNAKE, "score": 12, "pace": "calm"}).json()["rank"] == 2
    kept = httpx.get(url).json()
    assert [game["score"] for game in kept["scores"]["walls"]] == [12, 12, 11, 10, 9, 8, 7, 6, 5, 4]
    assert kept["best"] == {"walls": 12, "wrap": 0}


def test_memory_ranks_by_moves_then_time(start_game: Callable[[str], GameServer]) -> None:
    url = start_game("memory").url + "/api/scores"
    for moves, seconds in [(14, 42), (12, 90), (14, 30)]:
        httpx.post(url, json={**MEMORY, "moves": moves, "seconds": seconds})
    kept = httpx.get(url).json()
    assert [(game["moves"], game["seconds"]) for game in kept["scores"]["16"]] == [(12, 90), (14, 30), (14, 42)]
    assert kept["best"]["16"]["moves"] == 12
    assert kept["best"]["24"] is None


def test_the_perfect_opponent_answers_over_http(start_game: Callable[[str], GameServer]) -> None:
    url = start_game("tic-tac-toe").url + "/api/move"
    assert httpx.post(url, json={"board": "XX.OO....", "level": "perfect"}).json() == {
        "move": 2,
        "player": "X",
        "board": "XXXOO....",
        "winner": "X",
        "line": [0, 1, 2],
    }
    assert httpx.post(url, json={"board": "XX.O....."}).json()["move"] == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"board": "XX......"}, "board"),
        ({"board": "XX.O....Z"}, "board"),
        ({"board": "XXX......"}, "board"),
        ({"board": "OO.X....."}, "board"),
        ({"board": "XXXOOO..."}, "board"),
        ({"board": "XXXOO...."}, "board"),
        ({"board": "XOXXOXOXO"}, "board"),
        ({"board": None}, "board"),
        ({}, "board"),
        ({"board": ".........", "level": "wise"}, "level"),
        ({"board": ".........", "player": "X"}, "player"),
    ],
)
def test_an_impossible_board_is_refused(
    start_game: Callable[[str], GameServer], body: dict[str, Any], field: str
) -> None:
    answer = httpx.post(start_game("tic-tac-toe").url + "/api/move", json=body)
    assert answer.status_code == 422
    assert answer.json()["field"] == field


@pytest.mark.parametrize("slug", GAMES)
def test_a_game_listens_on_loopback_only(start_game: Callable[[str], GameServer], slug: str) -> None:
    server = start_game(slug)
    listening = subprocess.run(["cat", "/proc/net/tcp"], capture_output=True, text=True, check=True).stdout
    local = [line.split()[1] for line in listening.splitlines()[1:] if line.split()[3] == "0A"]
    assert f"0100007F:{server.port:04X}" in local
    assert f"00000000:{server.port:04X}" not in local
