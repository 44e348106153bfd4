"""An operator adds a game by its address in front of the running product, watches its trial, and publishes it."""

from __future__ import annotations

import os

from playwright.sync_api import expect

from tests.browser.admin.conftest import SECONDS, SignIn
from tests.fixtures.accessibility import Screen, must_be_accessible
from tests.fixtures.git_server import GitServer
from tests.fixtures.stack import Stack
from tests.fixtures.waiting import until

SCREENS = [Screen("light", 390, 844), Screen("dark", 1280, 900)]
ADD = "/admin/games/gameversion/add/"


def test_a_game_is_added_watched_and_published_in_the_admin(sign_in: SignIn, product: Stack, git_server: GitServer):
    repository = git_server.add("games")
    repository.write_game("chess", folder="boards/chess", tagline="For two")
    otto = sign_in("otto", bypass_csp=True).open(ADD)
    must_be_accessible(otto.page, SCREENS)
    otto.page.get_by_label("Address").fill(repository.url)
    otto.page.get_by_label("Folder").fill("boards/chess")
    otto.page.get_by_label("Why").fill("a new one")
    otto.page.get_by_role("button", name="Save").click()
    otto.page.wait_for_url("**/change/")
    otto.page.evaluate("window.isTheSamePage = true")
    expect(otto.page.get_by_role("heading", name="Tried, and not published")).to_be_visible(timeout=SECONDS * 1000)
    assert otto.page.evaluate("window.isTheSamePage"), "it was not loaded again"
    live = otto.page.locator("#version-live")
    assert "For two" in live.inner_text()
    assert "Cloning chess..." in live.inner_text()
    must_be_accessible(otto.page, SCREENS)
    if folder := os.environ.get("PICTURES"):
        for screen in SCREENS:
            otto.page.set_viewport_size({"width": screen.width, "height": screen.height})
            otto.page.emulate_media(color_scheme=screen.color_scheme)
            otto.page.screenshot(path=f"{folder}/version-{screen.width}.png", full_page=True)
    assert "chess" not in [game["slug"] for game in product.get("/api/games").json()]

    live.get_by_label("Why").fill("it is good")
    live.get_by_role("button", name="Publish").click()
    expect(otto.page.locator(".messagelist")).to_contain_text("Chess is published at")
    until(lambda: "chess" in [game["slug"] for game in product.get("/api/games").json()], "it can be launched")
    otto.page.get_by_role("link", name="Watch its trial live").click()
    expect(otto.page.locator("iframe").content_frame.get_by_role("heading", name="Chess")).to_be_visible()
