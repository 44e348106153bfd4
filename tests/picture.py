"""The picture in the README, taken of the running product: `make picture` takes it anew. Needs Chromium."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import httpx
from playwright.sync_api import Page, sync_playwright

from orchestrator_site.testing import LocalArcade
from tests.fixtures.binaries import find
from tests.fixtures.browser import OPTIONS, WAIT_MS
from tests.fixtures.documents import CHECKOUT
from tests.fixtures.waiting import until

PICTURE = CHECKOUT / "docs" / "pictures" / "playing.jpg"
SIZE = {"width": 1200, "height": 900}
QUALITY = 82  # percent, with which letters are still sharp
MOVES = ("ArrowDown", "ArrowLeft", "ArrowDown", "ArrowRight", "ArrowUp")
MOVE_MS = 300


def warm_up(product: LocalArcade) -> None:
    """Have a sandbox ready with its games in it, as there is while people play."""
    httpx.post(f"{product.url}/api/launch", json={"game": "memory"}, timeout=60).raise_for_status()
    until(lambda: is_staged(product), "a sandbox is ready", seconds=90)


def is_staged(product: LocalArcade) -> bool:
    games = httpx.get(f"{product.url}/api/games", timeout=20).json()
    return any(game["slug"] == "snake" and game["ready_now"] for game in games)


def play(page: Page) -> None:
    """Launch Snake as a player does, and play for a moment."""
    page.get_by_role("button", name="Play Snake").click()
    game = page.frame_locator("iframe")
    game.locator("input[name=edges][value=wrap]").check(force=True)
    game.locator("#play").click()
    for key in MOVES:
        page.keyboard.press(key)
        page.wait_for_timeout(MOVE_MS)
    game.locator("body").evaluate("() => scrollTo(0, 0)")
    page.evaluate("scrollTo(0, 0)")


def main() -> None:
    program = find("chromium")
    if program is None:
        sys.exit("There is no Chromium here.")
    with tempfile.TemporaryDirectory() as folder:
        product = LocalArcade(Path(folder), {})
        product.start()
        try:
            warm_up(product)
            with sync_playwright() as playwright:
                chromium = playwright.chromium.launch(executable_path=program, args=OPTIONS)
                page = chromium.new_page(viewport=SIZE)
                page.set_default_timeout(WAIT_MS)
                page.goto(product.url)
                play(page)
                PICTURE.parent.mkdir(exist_ok=True)
                page.screenshot(path=PICTURE, type="jpeg", quality=QUALITY)
        finally:
            product.stop()
    print(f"{PICTURE.relative_to(CHECKOUT)}: {PICTURE.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
