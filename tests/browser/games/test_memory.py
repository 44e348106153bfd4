"""Memory, solved by looking at cards and remembering them, as people do."""

from collections.abc import Callable

import httpx

from tests.browser.games.conftest import Played
from tests.fixtures.waiting import until


def board_of(game: Played) -> dict[str, str]:
    return game.frame.evaluate("({...document.getElementById('cards').dataset})")


def label_of(game: Played, index: int) -> str:
    return game.frame.locator(".card").nth(index).get_attribute("aria-label") or ""


def look_at(game: Played, index: int) -> str:
    """Turn a card and read the picture at once: of two that differ both turn back after a second."""
    turn = "card => { card.click(); return card.getAttribute('aria-label'); }"
    return game.frame.locator(".card").nth(index).evaluate(turn).split(", ")[2]


def solve(game: Played) -> None:
    """Turn every card once, then the pairs that are known by then."""
    places: dict[str, list[int]] = {}
    for index in range(game.frame.locator(".card").count()):
        places.setdefault(look_at(game, index), []).append(index)
    for first, second in places.values():
        if not label_of(game, first).endswith("found"):
            look_at(game, first)
            look_at(game, second)


def test_a_game_is_solved_and_its_moves_are_the_best_result(play: Callable[..., Played]) -> None:
    game = play("memory")
    solve(game)
    assert (board_of(game)["state"], board_of(game)["found"]) == ("won", "8")
    game.frame.locator("#go", has_text="Play again").wait_for()
    moves = int(board_of(game)["moves"])
    assert 8 <= moves <= 16
    best = until(
        lambda: httpx.get(game.server.url + "/api/scores", timeout=30).json()["best"]["16"], "the result is kept"
    )
    assert best["moves"] == moves
    game.frame.locator("#best-games li", has_text=f"{moves} moves").wait_for()
    until(lambda: f"All pairs found. {moves} moves" in (game.frame.locator("#news").text_content() or ""), "it is told")
    game.frame.locator("#go").click()
    assert board_of(game)["state"] == "ready"


def test_every_size_has_its_cards_in_pairs_and_is_solved(play: Callable[..., Played]) -> None:
    game = play("memory")
    for cards in (12, 24):
        game.frame.locator(f"input[value='{cards}']").check(force=True)
        assert game.frame.locator(".card").count() == cards
        solve(game)
        assert board_of(game)["state"] == "won"


def test_two_different_cards_turn_back_and_a_pair_stays(play: Callable[..., Played]) -> None:
    game = play("memory")
    # Neighbours may be a pair: then they stay, and the next two are tried.
    first = next(index for index in range(0, 16, 2) if look_at(game, index) != look_at(game, index + 1))
    until(lambda: label_of(game, first).endswith("face down"), "the first turns back by itself")
    assert label_of(game, first + 1).endswith("face down")
    assert all(label_of(game, index).endswith("found") for index in range(first))


def test_nothing_in_the_page_tells_what_lies_face_down(play: Callable[..., Played]) -> None:
    game = play("memory")
    cards = game.frame.locator(".card")
    assert len({cards.nth(index).locator("svg").inner_html() for index in range(16)}) == 1


def test_the_whole_game_is_played_with_the_keyboard(play: Callable[..., Played]) -> None:
    game = play("memory")
    columns = int(board_of(game)["columns"])
    focused = "[...document.querySelectorAll('.card')].indexOf(document.activeElement)"
    assert game.frame.evaluate(focused) == 0
    for key, place in [("ArrowRight", 1), ("ArrowDown", 1 + columns), ("Home", columns), ("ArrowLeft", columns)]:
        game.press(key)
        assert game.frame.evaluate(focused) == place
    game.press("Enter")
    assert not label_of(game, columns).endswith("face down")
    game.press("p")
    assert board_of(game)["state"] == "paused"
    assert game.frame.evaluate("document.getElementById('cards').inert") is True
    game.press("p")
    assert board_of(game)["state"] == "playing"
    game.press("n")
    assert board_of(game)["state"] == "ready"
    assert game.frame.evaluate(focused) == 0


def test_the_clock_stands_still_in_a_pause(play: Callable[..., Played]) -> None:
    game = play("memory")
    look_at(game, 0)
    until(lambda: game.frame.locator("#time").inner_text() != "0:00", "the clock runs")
    game.frame.locator("#pause").click()
    assert game.frame.evaluate(
        "new Promise(done => { const at = document.getElementById('time').textContent;"
        "setTimeout(() => done(document.getElementById('time').textContent === at), 1300) })"
    )


def test_on_a_small_phone_all_cards_are_on_the_screen(play: Callable[..., Played]) -> None:
    game = play("memory", viewport={"width": 320, "height": 568}, has_touch=True, is_mobile=True)
    for cards in (12, 16, 24):
        game.frame.locator(f"input[value='{cards}']").check(force=True)
        last = game.frame.locator(".card").last.bounding_box()
        assert last is not None
        assert last["y"] + last["height"] <= 568
        assert last["width"] >= 40
