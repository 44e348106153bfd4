"""What holds for every page in every state: accessible, light, within its policy, in the visitor's own time."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, Response

from tests.browser.pages.conftest import Player
from tests.fixtures.accessibility import Screen, must_be_accessible
from tests.fixtures.stack import Stack
from tests.fixtures.waiting import until

NewPlayer = Callable[..., Player]
MOST_BYTES = 150_000
LOADED = ("document", "stylesheet", "script", "image", "font")
SCREENS = (Screen("light", 1280, 800), Screen("dark", 360, 740), Screen("light", 320, 640))


def is_accessible(page: Page) -> None:
    """On every screen; but the game in its frame has tests of its own, and another origin."""
    must_be_accessible(page, SCREENS, leave_out="iframe")


def test_every_page_is_accessible_in_every_state(player: Player) -> None:
    for path in ("/", "/games/snake/", "/games/tic-tac-toe/", "/stats/"):
        is_accessible(player.open(path).page)
    player.launch("snake", mode="cold")
    is_accessible(player.page)
    player.wait_for("running")
    is_accessible(player.page)
    player.end()
    is_accessible(player.page)
    for path in ("/", "/stats/"):
        is_accessible(player.open(path).page)


@pytest.fixture
def downloads(player: Player) -> Iterator[list[Response]]:
    """Every answer that the player's page got, but not those to the game's frame."""
    got: list[Response] = []
    player.page.on("response", lambda answer: got.append(answer) if "/play/" not in answer.url else None)
    return got


def test_no_page_weighs_more_than_150_kb_all_told(player: Player, downloads: list[Response]) -> None:
    player.launch("snake").wait_for("running")
    for path in ("/", "/games/snake/", "/stats/", f"/runs/{player.run_id}/"):
        downloads.clear()
        player.open(path)
        player.page.wait_for_load_state()
        parts = [answer for answer in downloads if answer.status == 200 and answer.request.resource_type in LOADED]
        weights = {answer.url: len(answer.body()) for answer in parts}
        assert sum(weights.values()) < MOST_BYTES, weights
        assert all(url.startswith(player.site) for url in weights), weights
    player.wait_for("running")


def test_the_skip_link_is_the_first_stop_and_leads_to_the_content(player: Player) -> None:
    page = player.open("/").page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    until(lambda: page.evaluate("document.activeElement.id") == "main", "the content has the focus")


def test_a_game_is_launched_with_the_keyboard_alone(player: Player) -> None:
    page = player.open("/games/snake/").page
    for _ in range(20):
        page.keyboard.press("Tab")
        if "Launch Snake" in page.evaluate("document.activeElement.textContent"):
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/*/")
    player.wait_for("running")


def test_times_are_in_the_visitors_own_zone(new_player: NewPlayer) -> None:
    player = new_player(timezone_id="Asia/Tokyo", locale="en-GB")
    player.launch("snake").wait_for("running")
    time = player.page.locator("[data-log] time").first
    expected = time.evaluate(
        """(time) => new Intl.DateTimeFormat("en-GB", {timeZone: "Asia/Tokyo", timeStyle: "medium"})
        .format(new Date(time.dateTime))"""
    )
    assert time.inner_text() == expected


def test_only_the_readiness_is_announced_and_not_every_line(player: Player) -> None:
    player.launch("snake").wait_for("running")
    page = player.page
    assert page.locator("[data-log][aria-live], [data-log][role=log]").count() == 0
    assert page.locator("[role=status]").count() == 1


def test_pages_that_are_not_there_belong_to_the_site(arcade: Stack) -> None:
    answer = arcade.get("/nowhere/")
    assert answer.status_code == 404
    assert "Only sand here" in answer.text
    assert "css/base.css" in answer.text


def test_an_operators_pages_keep_within_the_policy_too(arcade: Stack, player: Player) -> None:
    """Django's admin has to work under it: the errors of its console would fail this test."""
    page = player.open("/admin/").page
    page.locator("#id_username").fill("operator")
    page.locator("#id_password").fill(arcade.operator_password)
    page.locator("[type=submit]").click()
    for path in ("/admin/", "/admin/auth/user/", "/admin/auth/user/add/"):
        player.open(path)
        assert page.locator("#container").is_visible()
    assert player.open("/").page.get_by_role("link", name="Operate").is_visible()
