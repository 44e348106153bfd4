"""The API's description as a page: from our own files alone, without an error, with all there is to know."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Request, expect

from tests.fixtures.stack import Stack

DRAWING_MS = 30_000  # alone it takes three seconds, all of them the browser's


@pytest.fixture
def asked() -> list[str]:
    """The hosts that the page asked for anything."""
    return []


@pytest.fixture
def docs(open_page: Callable[..., Page], arcade: Stack, asked: list[str]) -> Page:
    page = open_page(viewport={"width": 1280, "height": 900})

    def note(request: Request) -> None:
        asked.append(urlsplit(request.url).netloc)

    page.on("request", note)
    answer = page.goto(f"{arcade.url}/api/docs")
    assert answer is not None
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    expect(page.locator(".opblock").first).to_be_visible(timeout=DRAWING_MS)
    return page


def test_it_comes_from_this_site_alone(docs: Page, arcade: Stack, asked: list[str]):
    expect(docs.locator(".info .title")).to_contain_text("Sandbox orchestrator")
    assert {host for host in asked if host} == {urlsplit(arcade.url).netloc}


def test_it_shows_the_ways_to_be_known(docs: Page):
    docs.locator(".auth-wrapper .authorize").first.click()
    for scheme in ("api_key", "api_key_header", "run_token", "session"):
        expect(docs.locator(".auth-container", has_text=f"{scheme} ").first).to_be_visible()


def test_it_shows_the_games_codes_and_examples_of_a_launch(docs: Page):
    docs.locator("#operations-runs-launch_game .opblock-summary").click()
    launch = docs.locator("#operations-runs-launch_game")
    expect(launch.locator(".body-param__example, .body-param textarea").first).to_contain_text("snake")
    expect(launch.locator("tr.response[data-code='429']")).to_contain_text("A limit is reached")
