"""Snake, played with a keyboard and with fingers."""

from collections.abc import Callable

import httpx

from tests.browser.games.conftest import Played
from tests.fixtures.steering import KEYS, place_of, way_to_the_apple
from tests.fixtures.waiting import until

BOARD = "#board"


def board_of(game: Played) -> dict[str, str]:
    return game.frame.evaluate("({...document.getElementById('board').dataset})")


def choose(game: Played, name: str, value: str) -> None:
    game.frame.locator(f"input[name={name}][value={value}]").check(force=True)


def eat(game: Played, points: int) -> None:
    """Steer to apple after apple, by step, where nothing moves meanwhile; remembers where the snake lies."""
    body: list[tuple[int, int]] = []
    for _ in range(points * 60):
        board = board_of(game)
        if int(board["score"]) >= points or board["state"] == "over":
            break
        body = [place_of(board["head"]), *body][: int(board["length"])]
        game.press(KEYS[way_to_the_apple(board, body)])
    assert int(board_of(game)["score"]) >= points, board_of(game)


def test_the_first_arrow_key_starts_and_the_snake_moves_by_itself(play: Callable[..., Played]) -> None:
    game = play("snake")
    ready = board_of(game)
    assert ready["state"] == "ready"
    game.press("ArrowLeft")
    first = board_of(game)
    assert first["state"] in ("playing", "over")  # at the wall, when the machine is slow
    assert first["direction"] == "left"
    until(lambda: board_of(game)["head"] != ready["head"], "the snake moves")


def test_steering_to_apples_gives_points_and_the_best_score_stays(play: Callable[..., Played]) -> None:
    game = play("snake")
    choose(game, "pace", "step")
    choose(game, "edges", "wrap")
    game.frame.locator("#play").click()
    eat(game, 3)
    assert game.frame.locator("#score").inner_text() == "3"
    # Bite: with seven parts, a tight turn ends it.
    board = board_of(game)
    for way in circle_from(board["direction"]):
        game.press(KEYS[way])
    assert board_of(game)["state"] == "over"
    assert game.frame.locator("#headline").inner_text() == "Game over"
    best = until(
        lambda: httpx.get(game.server.url + "/api/scores").json()["best"]["wrap"], "the score reaches the server"
    )
    assert best >= 3
    game.frame.locator("#best-games li").first.wait_for()
    game.page.reload()
    frame = next(frame for frame in game.page.frames if frame.url == game.url)
    frame.locator("#best-games").wait_for(state="attached")
    frame.locator("input[value=wrap]").check(force=True)
    until(lambda: frame.locator("#best").inner_text() == str(best), "the best score is there after a reload")


def circle_from(direction: str) -> list[str]:
    ways = ["up", "right", "down", "left"]
    at = ways.index(direction)
    return [ways[(at + turn) % 4] for turn in (1, 2, 3, 4)]


def test_the_wall_ends_a_game_and_space_begins_the_next(play: Callable[..., Played]) -> None:
    game = play("snake")
    choose(game, "pace", "step")
    game.frame.locator("#play").click()
    for _ in range(9):
        game.press("ArrowUp")
    assert board_of(game)["state"] == "over"
    until(
        lambda: (game.frame.locator("#news").text_content() or "").startswith("Game over. 0 points"), "the end is told"
    )
    until(lambda: game.press("Space") or board_of(game)["state"] == "playing", "the next game begins", every=0.2)
    assert board_of(game)["score"] == "0"


def test_without_walls_the_snake_comes_back_on_the_other_side(play: Callable[..., Played]) -> None:
    game = play("snake")
    choose(game, "pace", "step")
    choose(game, "edges", "wrap")
    game.frame.locator("#play").click()
    for _ in range(9):
        game.press("ArrowUp")
    board = board_of(game)
    assert board["state"] == "playing"
    assert int(board["head"].split(",")[1]) > 8


def test_space_pauses_and_goes_on(play: Callable[..., Played]) -> None:
    game = play("snake")
    choose(game, "edges", "wrap")
    game.frame.locator("#play").click()
    game.press("Space")
    paused = board_of(game)
    assert paused["state"] == "paused"
    assert game.frame.locator("#headline").inner_text() == "Paused"
    game.frame.locator("#pause").click()
    until(lambda: board_of(game)["head"] != paused["head"], "it goes on")


def test_a_player_who_looks_away_finds_the_game_paused(play: Callable[..., Played]) -> None:
    game = play("snake")
    choose(game, "edges", "wrap")
    game.press("d")
    until(lambda: board_of(game)["state"] == "playing", "it is played")
    game.frame.evaluate("window.dispatchEvent(new Event('blur'))")
    assert board_of(game)["state"] == "paused"


def test_fingers_steer_by_swipe_and_by_the_pad(play: Callable[..., Played]) -> None:
    """Now and then the swipe that began a game scrolled the page: it starts over the panel."""
    phone = {"viewport": {"width": 320, "height": 568}, "has_touch": True, "is_mobile": True}
    game = play("snake", **phone)
    choose(game, "pace", "step")
    swipe(game, "up")
    until(lambda: board_of(game)["state"] == "playing", "a swipe starts it")
    assert board_of(game)["direction"] == "up"
    assert game.frame.evaluate("document.scrollingElement.scrollTop") == 0
    game.frame.locator("[data-turn=left]").tap()
    until(lambda: board_of(game)["direction"] == "left", "the pad turns it")
    swipe(game, "down")
    until(lambda: board_of(game)["direction"] == "down", "a swipe turns it")


def swipe(game: Played, way: str) -> None:
    """A finger over the middle of the board, as the browser's own input."""
    box = game.frame.locator("#stage").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + 12
    far = {"up": (0, -60), "down": (0, 60), "left": (-60, 0), "right": (60, 0)}[way]
    if way == "up":
        y += 80
    session = game.page.context.new_cdp_session(game.page)
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for part in (0.5, 1):
        point = {"x": x + far[0] * part, "y": y + far[1] * part}
        session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_by_step_a_screen_reader_is_told_where_the_apple_is(play: Callable[..., Played]) -> None:
    game = play("snake")
    choose(game, "pace", "step")
    game.frame.locator("#play").click()
    game.press("ArrowRight")
    until(
        lambda: game.frame.locator("#news").text_content() == "Column 11, row 9, heading right. Apple 2 right.",
        "the position is told",
    )
