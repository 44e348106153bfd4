"""Games as a player gets them: in a frame, in an opaque origin, below a path, through a proxy."""

import http.client
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Frame, Page

from tests.fixtures.games import GameServer

PREFIX = "/play/1f0c9d2e"
HOST_PAGE = '<!doctype html><html lang="en"><title>Lobby</title>\
<meta name="viewport" content="width=device-width, initial-scale=1"><body style="margin:0"><iframe title="Game" \
sandbox="allow-scripts" src="{url}" style="border:0;width:100vw;height:100vh;display:block"></iframe>'
ICON = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


class Front(ThreadingHTTPServer):
    """Serves a game below PREFIX with the header that makes its origin opaque, and a page that frames it."""

    daemon_threads = True

    def __init__(self, game_port: int, framed: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.game_port = game_port
        self.framed = framed
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Forward(BaseHTTPRequestHandler):
    server: Front

    def answer(self) -> None:
        if self.server.framed:
            page = HOST_PAGE.format(url=self.server.framed).encode()
            self.reply(200, [("Content-Type", "text/html")], page if self.path == "/" else ICON)
            return
        if not self.path.startswith(PREFIX + "/"):
            self.send_error(404, "outside of the game")
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection("127.0.0.1", self.server.game_port, timeout=30)
        passed = {name: self.headers[name] for name in ("Content-Type", "Origin", "Accept") if name in self.headers}
        connection.request(self.command, self.path.removeprefix(PREFIX), body, passed)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        kept = [(name, value) for name, value in response.getheaders() if name.lower() in KEPT]
        self.reply(response.status, [*kept, ("Content-Security-Policy", "sandbox allow-scripts")], content)

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_OPTIONS(self) -> None:
        self.answer()

    def reply(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for name, value in [*headers, ("Content-Length", str(len(content)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


KEPT = {
    "content-type",
    "cache-control",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "x-content-type-options",
}


@dataclass
class Played:
    """A game in a browser: the page around it, and the frame that it runs in."""

    server: GameServer
    url: str
    page: Page
    frame: Frame

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def focus(self) -> None:
        """Give the frame the keyboard, as the run's page does."""
        self.page.locator("iframe").focus()


@pytest.fixture
def served(start_game: Callable[[str], GameServer]) -> Iterator[Callable[[str], tuple[GameServer, str]]]:
    """Start a game and serve it as players get it: its server, and the URL of its page."""
    fronts: list[Front] = []

    def serve(slug: str) -> tuple[GameServer, str]:
        server = start_game(slug)
        fronts.append(Front(server.port))
        return server, f"{fronts[-1].url}{PREFIX}/"

    yield serve
    for front in fronts:
        front.shutdown()
        front.server_close()


@pytest.fixture
def play(
    served: Callable[[str], tuple[GameServer, str]], open_page: Callable[..., Page]
) -> Iterator[Callable[..., Played]]:
    """Open a game in a frame of another origin; the options are those of the browser's profile."""
    fronts: list[Front] = []

    def open_game(slug: str, **options: object) -> Played:
        server, url = served(slug)
        around = Front(server.port, framed=url)
        fronts.append(around)
        page = open_page(**{"viewport": {"width": 1100, "height": 720}, **options})
        page.goto(around.url)
        frame = page.frame(url=url)
        assert frame is not None
        frame.wait_for_load_state()
        assert frame.evaluate("self.origin") == "null", "the game must run in an opaque origin"
        played = Played(server, url, page, frame)
        played.focus()
        return played

    yield open_game
    for front in fronts:
        front.shutdown()
        front.server_close()
