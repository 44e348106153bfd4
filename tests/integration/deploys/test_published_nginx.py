"""deploy/nginx.conf in front of two servers: people notice neither that one freezes nor that TLS ends before it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from orchestrator_site.forwarded import is_over_https
from tests.fixtures.nginx import MakePublishedNginx
from tests.fixtures.waiting import until

NOTICED_SECONDS = 10


class Echo(BaseHTTPRequestHandler):
    """Says what it was asked with."""

    is_stopping = False

    def do_GET(self) -> None:
        self.send_response(503 if self.is_stopping and self.path == "/health/serving" else 200)
        self.end_headers()
        self.wfile.write(json.dumps([[name.lower(), value] for name, value in self.headers.items()]).encode())

    do_POST = do_GET  # noqa: N815  its base's name

    def log_message(self, *_: object) -> None:
        pass


class Server:
    def __init__(self, port: int = 0) -> None:
        self.handler = type("Handler", (Echo,), {"asked": []})
        self.server = ThreadingHTTPServer(("127.0.0.1", port), self.handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def frozen() -> Iterator[socket.socket]:
    """The kernel takes connections for it, and nobody reads what comes."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        yield listening


def address_of(listening: socket.socket) -> str:
    return f"127.0.0.1:{listening.getsockname()[1]}"


def sent_to(listening: socket.socket) -> list[bytes]:
    """The beginning of all that was sent to a server which never read it."""
    listening.setblocking(False)
    found = []
    with suppress(BlockingIOError):
        while True:
            with listening.accept()[0] as came:
                came.setblocking(False)
                with suppress(BlockingIOError):
                    found.append(came.recv(100))
    return found


def ask(address: str, path: str = "/", **headers: str) -> httpx.Response:
    return httpx.get(f"http://{address}{path}", headers=headers, timeout=60, trust_env=False)


def test_a_frozen_web_server_is_noticed_although_nobody_asks(
    server: Server, frozen: socket.socket, make_published_nginx: MakePublishedNginx
) -> None:
    """Each of nginx' processes sent it requests, every five seconds one, and each of those took 130 seconds."""
    nginx, front = make_published_nginx(server.address, address_of(frozen))
    until(lambda: "upstream timed out" in nginx.log.read_text(), "it is noticed", seconds=NOTICED_SECONDS)
    for _ in range(20):
        assert httpx.post(f"http://{front}/api/launch", timeout=60, trust_env=False).status_code == 200
    sent = sent_to(frozen)
    assert sent, "it was asked how it is"
    assert not [each for each in sent if each.startswith(b"POST")]


def test_a_web_server_that_stops_is_asked_no_more(make_published_nginx: MakePublishedNginx) -> None:
    """Nothing here looked at /health/serving: it was asked until it refused."""
    servers = [Server(), Server()]
    _, front = make_published_nginx(*(server.address for server in servers))
    served: list[str] = []

    def counted(name: str) -> Callable[[Echo], None]:
        def get(handler: Echo) -> None:
            if handler.path == "/":
                served.append(name)
            Echo.do_GET(handler)

        return get

    for name, server in zip("ab", servers, strict=True):
        server.handler.do_GET = counted(name)  # type: ignore[attr-defined]
    servers[0].handler.is_stopping = True  # type: ignore[attr-defined]

    def is_left_alone() -> bool:
        served.clear()
        for _ in range(6):
            ask(front)
        return set(served) == {"b"}

    until(is_left_alone, "the other one gets all requests", seconds=NOTICED_SECONDS, every=0.5)
    for server in servers:
        server.close()


def test_web_servers_that_have_both_failed_are_asked_as_soon_as_they_are_back(
    make_published_nginx: MakePublishedNginx,
) -> None:
    """Both were left alone for ten seconds, and everybody was told 502."""
    servers = [Server(), Server()]
    _, front = make_published_nginx(*(server.address for server in servers))
    for server in servers:
        server.close()
    until(lambda: ask(front).status_code == 502, "both have failed")
    back = [Server(int(server.address.partition(":")[2])) for server in servers]
    assert ask(front).status_code == 200
    for server in back:
        server.close()


@pytest.mark.parametrize(
    ("said", "proxies", "is_https"),
    [({}, 1, False), ({"X-Forwarded-Proto": "https"}, 1, False), ({"X-Forwarded-Proto": "https"}, 2, True)],
)
def test_tls_that_ends_before_it_is_told_on(
    server: Server, make_published_nginx: MakePublishedNginx, said: dict[str, str], proxies: int, is_https: bool
) -> None:
    """It said http: an https:// PUBLIC_URL sent browsers in a circle. A client is believed as little as before."""
    _, front = make_published_nginx(server.address, server.address)
    headers = [(name.encode(), value.encode()) for name, value in ask(front, **said).json()]
    assert is_over_https(headers, proxies) == is_https


@pytest.mark.parametrize(("path", "prefer"), [("/api/runs/1?wait_for=running", ""), ("/api/launch", "wait=30")])
def test_a_request_that_waits_keeps_its_method_and_its_words(
    server: Server, make_published_nginx: MakePublishedNginx, path: str, prefer: str
) -> None:
    _, front = make_published_nginx(server.address, server.address)
    answer = httpx.post(f"http://{front}{path}", headers={"Prefer": prefer}, content=b"{}", trust_env=False)
    assert answer.status_code == 200
    assert ["content-length", "2"] in answer.json()
