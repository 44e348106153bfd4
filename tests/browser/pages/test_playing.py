"""A visitor launches games and plays them, through the whole product."""

from collections.abc import Callable

from playwright.sync_api import Frame

from tests.browser.pages.conftest import Player
from tests.fixtures.stack import Stack
from tests.fixtures.steering import KEYS, place_of, way_to_the_apple
from tests.fixtures.waiting import until

NewPlayer = Callable[..., Player]
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
# Its picture, read at once: of two that differ both turn back after a second.
TURN_A_CARD = """index => {
  const card = document.querySelectorAll("#cards button")[index];
  card.click();
  return card.getAttribute("aria-label").split(", ")[2];
}"""
TAKE_A_FREE_SQUARE = "document.querySelector('#board button[data-mark=\".\"]')?.click()"


def runs_of(arcade: Stack) -> int:
    return int(arcade.python("from runs.models import Run; print(Run.objects.count())"))


def eat_apples(player: Player, game: Frame, points: int) -> None:
    """Steer Snake step by step, by keys that go to whatever has the focus."""
    body: list[tuple[int, int]] = []
    for _ in range(points * 60):
        board = game.evaluate("({...document.getElementById('board').dataset})")
        if int(board["score"]) >= points:
            return
        body = [place_of(board["head"]), *body][: int(board["length"])]
        player.page.keyboard.press(KEYS[way_to_the_apple(board, body)])
    raise AssertionError(f"no {points} points after many steps: {board}")


def test_one_click_in_the_lobby_and_snake_is_played_by_keyboard(player: Player) -> None:
    player.open("/").page.get_by_role("button", name="Play Snake").click()
    player.page.wait_for_url("**/runs/*/")
    game = player.game()
    until(lambda: player.page.evaluate("document.activeElement.id") == "game-frame", "the game has the focus")
    player.page.keyboard.press("ArrowUp")  # no click into the frame before
    started = ("playing", "over")  # it runs into the wall when nobody steers
    until(lambda: game.evaluate("document.getElementById('board').dataset.state") in started, "a key starts it")


def test_snake_is_played_to_a_score(player: Player) -> None:
    game = player.launch("snake").game()
    game.locator("input[name=pace][value=step]").check(force=True)
    game.locator("input[name=edges][value=wrap]").check(force=True)
    game.locator("#play").click()
    eat_apples(player, game, 3)
    assert game.locator("#score").inner_text() == "3"


def test_memory_is_played_to_the_end(player: Player) -> None:
    game = player.launch("memory").game()
    game.locator("input[name=cards][value='12']").check(force=True)
    cards = game.locator("#cards button")
    until(lambda: cards.count() == 12, "twelve cards lie on the table")
    places: dict[str, list[int]] = {}
    for index in range(12):
        places.setdefault(game.evaluate(TURN_A_CARD, index), []).append(index)
    for first, second in places.values():
        game.evaluate(TURN_A_CARD, first)
        game.evaluate(TURN_A_CARD, second)  # those that are found already stay
    assert game.locator("#pairs").inner_text() == "6/6"


def test_tic_tac_toe_starts_cold_says_so_and_is_played_to_a_result(player: Player) -> None:
    player.launch("tic-tac-toe").wait_for("running")
    assert "cold" in player.page.locator("[data-live=timeline]").inner_text().lower()
    game = player.game()
    over = game.locator("#again")
    until(lambda: over.is_visible() or game.evaluate(TAKE_A_FREE_SQUARE), "the game has a result")
    assert game.locator("#board button").count() == 9


def test_from_source_the_log_shows_the_clone_and_the_install(player: Player) -> None:
    player.launch("snake", start_from="source").wait_for("running")
    log = player.page.locator("[data-log]")
    until(lambda: "Cloning into" in log.inner_text(), "the log tells of the clone")
    assert player.page.locator("[data-live=timeline]").get_by_text("cloned and installed").is_visible()


def test_the_steps_have_times_and_they_add_up_to_the_total(arcade: Stack, player: Player) -> None:
    player.launch("snake", mode="cold").wait_for("running")
    parts = arcade.get(f"/api/sandbox/{player.run_id}").json()
    until(lambda: player.page.locator(".step-done").count() >= 2, "the steps are ticked off")
    assert player.page.locator(".step-bar").count() >= 2
    assert parts["state"] == "running"


def test_more_time_comes_without_interrupting_the_game(player: Player) -> None:
    game = player.launch("snake").game()
    game.evaluate("window.isStillTheSame = true")
    before = int(player.page.locator("[data-countdown]").get_attribute("data-countdown"))
    player.page.locator("#extend").dblclick()
    until(
        lambda: int(player.page.locator("[data-countdown]").get_attribute("data-countdown")) > before + 60,
        "the end moves away",
    )
    assert player.game().evaluate("window.isStillTheSame") is True
    assert "1 left" in player.page.locator("#extend").inner_text(), "a double click is one wish"
    player.page.locator("#extend").click()
    player.page.locator("#extend:disabled").wait_for()


def test_ending_it_says_why_and_offers_another(player: Player) -> None:
    player.launch("snake").game()
    first = player.run_id
    player.page.locator("#end").click()
    player.wait_for("ended")
    assert player.page.get_by_text("Ended by the player.").first.is_visible()
    assert player.page.locator("iframe").count() == 0
    player.page.get_by_role("button", name="Launch again").click()
    player.page.wait_for_url(lambda url: first not in url and "/runs/" in url)
    player.wait_for("running")


def test_a_reload_in_the_middle_brings_the_game_and_the_log_back(player: Player) -> None:
    player.launch("snake").game()
    lines = player.page.locator("[data-log] .line")
    until(lambda: "game ready!" in player.page.locator("[data-log]").inner_text().lower(), "the log is complete")
    before = lines.all_inner_texts()
    player.page.reload()
    player.game()
    assert lines.all_inner_texts() == before


def test_every_line_of_the_log_is_there_once_and_in_order(arcade: Stack, player: Player) -> None:
    player.launch("snake", mode="cold", start_from="source").wait_for("running")
    written = [event["seq"] for event in arcade.get(f"/api/runs/{player.run_id}/events?after=0").json()["events"]]
    shown = "[...document.querySelectorAll('[data-log] .line')].map((line) => Number(line.dataset.seq))"
    until(lambda: len(player.page.evaluate(shown)) >= len(written), "every line is shown")
    assert player.page.evaluate(shown) == written


def test_two_tabs_show_the_same_and_both_see_the_end(player: Player) -> None:
    player.launch("snake").game()
    other = player.page.context.new_page()
    other.goto(player.page.url)
    other.locator("[data-state=running]").wait_for()
    player.end()
    other.locator("[data-live=stage][data-state=ended]").wait_for()


def test_a_double_click_is_one_launch(arcade: Stack, player: Player) -> None:
    before = runs_of(arcade)
    player.open("/games/snake/").page.locator("button.launch-button").dblclick()
    player.page.wait_for_url("**/runs/*/")
    player.wait_for("running")
    assert runs_of(arcade) == before + 1


def test_a_double_click_without_javascript_is_one_launch(arcade: Stack, new_player: NewPlayer) -> None:
    before = runs_of(arcade)
    player = new_player(java_script_enabled=False)
    player.open("/games/snake/").page.locator("button.launch-button").dblclick()
    player.page.wait_for_url("**/runs/*/")
    assert runs_of(arcade) == before + 1


def test_back_and_reload_never_launch_again(arcade: Stack, player: Player) -> None:
    before = runs_of(arcade)
    player.launch("snake").wait_for("running")
    first = player.run_id
    player.page.reload()
    player.page.go_back()
    player.page.locator("button.launch-button").wait_for()
    player.page.reload()
    player.page.go_forward()
    player.page.wait_for_url(f"**/runs/{first}/")
    assert runs_of(arcade) == before + 1


def test_without_javascript_the_page_refreshes_itself_and_the_game_comes(new_player: NewPlayer) -> None:
    player = new_player(java_script_enabled=False)
    player.launch("snake", mode="cold").wait_for("running")
    assert player.page.locator("iframe").count() == 1
    assert player.page.locator("[data-log] .line").count() > 2
    player.page.locator("#end").click()
    player.wait_for("ended")


def test_on_a_phone_nothing_is_wider_than_the_screen_and_the_game_fits(new_player: NewPlayer) -> None:
    player = new_player(**PHONE)
    for path in ("/", "/games/snake/", "/stats/"):
        player.open(path)
        assert player.page.evaluate("document.documentElement.scrollWidth") <= 360, path
    player.launch("snake").game()
    frame = player.page.locator("iframe").bounding_box()
    assert frame["width"] >= 350
    assert frame["height"] <= 740
    assert player.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_another_visitor_sees_that_somebody_plays_but_no_way_in(player: Player, new_player: NewPlayer) -> None:
    player.launch("snake").wait_for("running")
    stranger = new_player().open("/")
    stranger.page.locator(".run-running").first.wait_for()
    assert player.run_id not in stranger.page.content()
    stranger.open(f"/runs/{player.run_id}/")
    assert stranger.page.locator("#end").count() == 0
    assert stranger.page.locator("iframe").count() == 0
    assert stranger.page.get_by_text("Somebody plays Snake here").is_visible()


def test_a_game_that_is_on_is_continued_from_its_card_and_a_second_one_asked_for(arcade: Stack, player: Player) -> None:
    player.launch("snake").wait_for("running")
    first, before = player.run_id, runs_of(arcade)
    card = player.open("/").page.locator(".game-card", has_text="Snake")
    card.get_by_role("link", name="Continue Snake").click()
    player.page.wait_for_url(f"**/runs/{first}/")
    player.open("/games/snake/").page.get_by_role("button", name="Launch another").wait_for()
    assert runs_of(arcade) == before
    player.open(f"/runs/{first}/").end()
    card = player.open("/").page.locator(".game-card", has_text="Snake")
    card.get_by_role("button", name="Play Snake").wait_for()
    assert not card.get_by_role("link", name="Continue Snake").is_visible()


def test_near_its_end_the_page_offers_more_time_and_the_title_tells_what_is_left(player: Player) -> None:
    player.page.clock.install()
    player.launch("snake").wait_for("running")
    assert "min left" in player.page.title()
    left = int(player.page.locator("[data-countdown]").get_attribute("data-countdown") or 0)
    player.page.clock.fast_forward(1000 * (left - 45))
    more = player.page.locator("#extend-soon")
    more.wait_for()
    assert player.page.locator("[data-toast]").inner_text().startswith(tuple("123456789"))
    more.click()
    more.wait_for(state="hidden")
    until(lambda: "1 left" in player.page.locator("#extend").inner_text(), "there is more time")


def test_the_lobby_shows_a_launch_elsewhere_without_a_reload(player: Player, new_player: NewPlayer) -> None:
    watcher = new_player().open("/")
    watcher.page.evaluate("window.isStillTheSame = true")
    watcher.page.get_by_text("Behind the scenes").click()
    player.launch("memory").wait_for("running")
    watcher.page.locator(".run-running", has_text="Memory").first.wait_for()
    until(lambda: "acquired" in watcher.page.locator("[data-log]").inner_text(), "the log tells of it")
    assert watcher.page.evaluate("window.isStillTheSame") is True


FAILING_FETCHES = """
const fetchReally = window.fetch;
window.isAway = true;
window.failed = 0;
window.fetch = (url, options) => {
  if (!window.isAway || !String(url).endsWith("/live/")) return fetchReally(url, options);
  window.failed += 1;
  return Promise.reject(new TypeError("away"));
};
"""


def test_the_game_opens_although_the_last_news_could_not_be_fetched(player: Player) -> None:
    """Nothing follows a run's "ready" for a long while that would make the page ask again."""
    page = player.page
    page.add_init_script(FAILING_FETCHES)
    player.launch("snake", mode="cold")
    until(lambda: "Game ready!" in page.locator("[data-log]").inner_text(), "it is ready", seconds=60)
    count = page.evaluate("window.failed")
    until(lambda: page.evaluate("window.failed") > count, "the page asks again")
    page.evaluate("window.isAway = false")
    player.wait_for("running")


def test_it_goes_on_where_a_network_blocks_the_better_ways(player: Player) -> None:
    """A proxy that knows no WebSockets, and that lets no stream through."""
    player.page.route("**/api/stream/**", lambda route: route.fulfill(content_type="text/event-stream", body=""))
    player.page.route_web_socket("**/ws/**", lambda socket: socket.close())
    player.launch("snake").wait_for("running")
    until(lambda: "polling" in player.page.locator("[data-transport]").inner_text(), "it polls")
