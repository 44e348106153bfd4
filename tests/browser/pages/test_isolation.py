"""A game that wants out: it stays in its frame, and in a tab of its own."""

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Frame, Page

from tests.browser.pages.conftest import ROOMY, Player
from tests.fixtures.addresses import CLIMBING
from tests.fixtures.firefox import Firefox
from tests.fixtures.stack import Stack
from tests.fixtures.waiting import until

HERE = Path(__file__).parent


OWN, NONE = "an origin of their own", "none"


@pytest.fixture(scope="module", params=[OWN, NONE])
def arcade(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The product with that one game in its catalog; games have an origin of their own, or none."""
    folder = tmp_path_factory.mktemp("catalog")
    shutil.copytree(HERE / "hostile", folder / "hostile", ignore=shutil.ignore_patterns("__pycache__"))
    stack = Stack(tmp_path_factory.mktemp("hostile"), CATALOG_DIR=str(folder), **ROOMY)
    if request.param == NONE:
        stack.play_url = stack.url
        stack.env(PLAY_URL=stack.url)
    try:
        yield stack.start()
    finally:
        stack.close()
        print(stack.log)


@pytest.fixture(scope="module")
def playing(arcade: Stack) -> str:
    """The id of a run whose game is on."""
    ours = {"Idempotency-Key": "a-test-of-ours"}  # the game's own launch would have none
    asked = {"json": {"game": "hostile"}, "headers": ours, "timeout": 60, "trust_env": False}
    run = httpx.post(f"{arcade.url}/api/launch/warm", **asked).json()
    until(lambda: arcade.get(f"/api/sandbox/{run['run_id']}").json()["state"] == "running", "it runs", seconds=60)
    return run["run_id"]


@pytest.fixture
def visitor(browser: Browser, arcade: Stack) -> Iterator[Player]:
    """A visitor with cookies worth stealing. Here errors in the console are the refusals that are wanted."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    player = Player(context.new_page(), arcade.url)
    player.launch("hostile").wait_for("running")
    yield player
    context.close()


def outcome(page: Page | Frame) -> dict[str, str]:
    page.evaluate("window.done")
    return page.evaluate("window.outcome")


def holds(found: dict[str, str]) -> None:
    assert found["origin"] == "null"
    for name in ("read cookie", "set cookie", "storage", "lobby", "api", "launch"):
        assert found[name].startswith("refused"), f"{name}: {found[name]}"
    headers = json.loads(found["headers"])
    assert "cookie" not in headers
    assert "authorization" not in headers


def left_nothing(visitor: Player) -> None:
    assert "/stats/" not in visitor.page.url
    cookies = {cookie["name"]: cookie["value"] for cookie in visitor.page.context.cookies()}
    assert "stolen" not in cookies
    assert any(name.startswith("visitor_") for name in cookies)
    assert not any(name.startswith("session") for name in cookies)
    assert "planted" not in cookies.values()


def test_in_its_frame_it_reaches_nothing_of_ours(visitor: Player) -> None:
    found = outcome(visitor.game())
    assert found["parent"].startswith("refused")
    assert found["popup"] == "null"
    holds(found)
    left_nothing(visitor)
    assert f"/runs/{visitor.run_id}/" in visitor.page.url


def test_in_a_tab_it_reaches_nothing_either_and_shows_no_address_of_ours(arcade: Stack, visitor: Player) -> None:
    tab = visitor.page.context.new_page()
    tab.goto(f"{visitor.site}/play/{visitor.run_id}/")
    if arcade.play_url == arcade.url:
        assert tab.inner_text("h1") == "Games are shown in their frame"
        tab.click("a")
        tab.wait_for_url(f"{arcade.url}/runs/{visitor.run_id}/")
    else:
        holds(outcome(tab))
        assert tab.evaluate("window.disguise()") == f"{arcade.play_url}/admin/login/"
        assert not tab.url.startswith(arcade.url)
        tab.reload()
        assert tab.url.startswith(f"{arcade.url}/admin/login/"), "the real one"
    left_nothing(visitor)


def test_in_firefox_it_is_the_same(arcade: Stack, playing: str, firefox: Firefox) -> None:
    firefox.open(f"{arcade.url}/runs/{playing}/")
    frame = firefox.frame(f"/play/{playing}/")
    until(lambda: firefox.evaluate("window.done !== undefined", frame), "the game is there")
    firefox.evaluate("window.done", frame)
    found = firefox.evaluate("window.outcome", frame)
    assert found["parent"].startswith("refused")
    holds(found)
    assert firefox.url == f"{arcade.url}/runs/{playing}/"
    firefox.open_tab()
    firefox.open(f"{arcade.url}/play/{playing}/")
    if arcade.play_url == arcade.url:
        assert firefox.evaluate("document.querySelector('h1').innerText") == "Games are shown in their frame"
        return
    firefox.evaluate("window.done")
    holds(firefox.evaluate("window.outcome"))
    assert firefox.evaluate("window.disguise()") == f"{arcade.play_url}/admin/login/"
    assert not firefox.url.startswith(arcade.url)


def test_it_launched_nothing_in_the_visitors_name(arcade: Stack, visitor: Player) -> None:
    outcome(visitor.game())
    count = "from runs.models import Run; print(Run.objects.exclude(idempotency_key__isnull=False).count())"
    assert arcade.python(count) == "0"


@pytest.mark.parametrize("path", [b"headers", *(path for path in CLIMBING if b"?" not in path)])
def test_no_address_reaches_anything_of_its_sandbox_but_the_game(arcade: Stack, playing: str, path: bytes) -> None:
    """As bytes, against the sandbox's real agent: what is above the game's port is a shell."""
    with socket.create_connection(("127.0.0.1", arcade.port), timeout=30) as sock:
        lines = [b"GET /play/%s/%s HTTP/1.1" % (playing.encode(), path), b"Host: localhost", b"Connection: close"]
        sock.sendall(b"\r\n".join([*lines, b"", b""]))
        answer = b""
        while part := sock.recv(65_536):
            answer += part
    status = answer.partition(b"\r\n")[0]
    assert b" 200" in status if path == b"headers" else not status or b" 400" in status or b" 404" in status
