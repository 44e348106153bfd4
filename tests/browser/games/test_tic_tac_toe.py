"""Tic-Tac-Toe against its opponents, in a browser."""

import random
from collections.abc import Callable

import httpx

from tests.browser.games.conftest import Played
from tests.fixtures.waiting import until


def board_of(game: Played) -> dict[str, str]:
    return game.frame.evaluate("({...document.getElementById('board').dataset})")


def mine_or_over(game: Played) -> bool:
    return board_of(game)["state"] in ("playing", "over")


def choose(game: Played, value: str) -> None:
    game.frame.locator(f"input[value={value}]").check(force=True)


def play_at_random(game: Played, luck: random.Random) -> str:
    """Take fields until the game is over; what the page says then."""
    while board_of(game)["state"] != "over":
        until(lambda: mine_or_over(game), "the computer answers")
        board = board_of(game)
        if board["state"] == "over":
            break
        free = [index for index, field in enumerate(board["board"]) if field == "."]
        game.press(str(luck.choice(free) + 1))
    return game.frame.locator("#status").inner_text()


def test_nobody_beats_the_perfect_opponent_and_results_are_counted(play: Callable[..., Played]) -> None:
    game = play("tic-tac-toe", reduced_motion="reduce")
    luck = random.Random(5)
    results = []
    for side in ("X", "O", "X", "O"):
        choose(game, side)
        game.press("n")
        results.append(play_at_random(game, luck))
    assert set(results) <= {"A draw", "The computer wins"}
    tally = until(
        lambda: sum((counted := tally_of(game)["perfect"]).values()) == 4 and counted, "all results are counted"
    )
    assert tally["won"] == 0
    assert tally["drawn"] == results.count("A draw")


def tally_of(game: Played) -> dict[str, dict[str, int]]:
    return httpx.get(game.server.url + "/api/scores").json()["tally"]


def test_two_friends_play_a_win_with_its_line(play: Callable[..., Played]) -> None:
    game = play("tic-tac-toe")
    choose(game, "friend")
    for field in (0, 1, 4, 2, 8):
        game.frame.locator(".field").nth(field).click()
    assert board_of(game)["state"] == "over"
    assert game.frame.locator("#status").inner_text() == "X wins!"
    assert game.frame.locator(".field[data-won]").count() == 3
    assert game.frame.locator(".strike path").count() == 1
    until(lambda: game.frame.locator("#news").text_content() == "X wins!", "it is told")
    game.frame.locator("#again").click()
    assert board_of(game)["board"] == "........."


def test_two_friends_play_a_draw(play: Callable[..., Played]) -> None:
    game = play("tic-tac-toe")
    choose(game, "friend")
    for key in "123586479":
        game.press(key)
    assert game.frame.locator("#status").inner_text() == "A draw"
    until(lambda: tally_of(game)["friend"]["drawn"] == 1, "the draw is counted")


def test_a_taken_field_stays_as_it_is(play: Callable[..., Played]) -> None:
    game = play("tic-tac-toe")
    choose(game, "friend")
    game.press("5")
    game.press("5")
    assert board_of(game)["board"] == "....X...."
    assert game.frame.locator("#status").inner_text() == "That square is taken"


def test_arrow_keys_move_and_enter_takes(play: Callable[..., Played]) -> None:
    game = play("tic-tac-toe")
    choose(game, "friend")
    game.frame.locator(".field").nth(4).focus()
    for key in ("ArrowUp", "ArrowLeft", "ArrowLeft", "Enter"):
        game.press(key)
    assert board_of(game)["board"] == "X........"
    assert game.frame.locator(".field").first.get_attribute("aria-label") == "Row 1, column 1, X, cross"


def test_a_pause_keeps_the_computers_answer(play: Callable[..., Played]) -> None:
    game = play("tic-tac-toe")
    game.press("1")
    game.press("p")
    assert board_of(game)["state"] == "paused"
    game.press("p")
    until(lambda: "O" in board_of(game)["board"] and board_of(game)["state"] == "playing", "the computer answers")
    assert board_of(game)["board"].count("O") == 1


def test_a_computer_out_of_reach_can_be_asked_again(play: Callable[..., Played]) -> None:
    game = play("tic-tac-toe")
    other_answer = {"body": "Bad Gateway", "headers": {"Access-Control-Allow-Origin": "*"}}
    game.page.route("**/api/move", lambda route: route.fulfill(**other_answer))
    game.press("5")
    again = game.frame.locator("#again", has_text="Try again")
    again.wait_for()
    game.page.unroute("**/api/move")
    again.click()
    until(lambda: "O" in board_of(game)["board"], "the computer answers")
