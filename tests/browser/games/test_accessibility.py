"""Every game, as axe sees it: light and dark, on a desktop and on the smallest phone, before and in a game."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.fixtures.accessibility import violations
from tests.fixtures.games import GameServer

DESKTOP = {"viewport": {"width": 1100, "height": 720}}
PHONE = {"viewport": {"width": 320, "height": 568}, "has_touch": True, "is_mobile": True}
FIRST_MOVE = {"snake": "#play", "memory": ".card >> nth=0", "tic-tac-toe": ".field >> nth=0"}


@pytest.mark.parametrize("slug", FIRST_MOVE)
def test_a_game_has_no_violations(
    served: Callable[[str], tuple[GameServer, str]], open_page: Callable[..., Page], slug: str
) -> None:
    _, url = served(slug)
    for device in (DESKTOP, PHONE):
        page = open_page(**device)
        page.goto(url)
        assert page.title() != ""
        for move in (lambda: None, page.locator(FIRST_MOVE[slug]).click):
            move()
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                assert violations(page) == [], (device, scheme)


@pytest.mark.parametrize("slug", FIRST_MOVE)
@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_nothing_sticks_out_sideways(
    served: Callable[[str], tuple[GameServer, str]], open_page: Callable[..., Page], slug: str, width: int
) -> None:
    _, url = served(slug)
    page = open_page(viewport={"width": width, "height": 640}, has_touch=width < 700, is_mobile=width < 700)
    page.goto(url)
    page.locator(FIRST_MOVE[slug]).click()
    assert page.evaluate("[innerWidth, document.documentElement.scrollWidth]") == [width, width]


@pytest.mark.parametrize("slug", FIRST_MOVE)
def test_a_game_asks_no_other_host_and_keeps_nothing(
    served: Callable[[str], tuple[GameServer, str]], open_page: Callable[..., Page], slug: str
) -> None:
    _, url = served(slug)
    page = open_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    page.locator(FIRST_MOVE[slug]).click()
    page.wait_for_load_state("networkidle")
    assert [one for one in asked if not one.startswith((url, "data:"))] == []
    assert page.context.cookies() == []
