"""`/play/<run>/` before a real Daphne: it reaches the game's port alone, and a game reaches nothing of ours."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from threading import Event
from typing import Any, NamedTuple
from uuid import uuid4

import h11
import httpx
import pytest
import websockets
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import DjangoDbBlocker
from websockets.exceptions import ConnectionClosed

from pools.models import Fleet, Sandbox
from runs import lifecycle
from runs.models import Run
from runs.reasons import RunEndCode
from tests.fixtures.addresses import CLIMBING, PLAIN
from tests.fixtures.waiting import free_port, until
from tests.fixtures.web import PLAIN as CLIENT
from tests.fixtures.web import Web, new_run
from tests.integration.runs.sandboxes import A_GAME, FakeSandbox, fake_sandbox, http, row


@pytest.fixture(scope="module", autouse=True)
def database(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Open for all of the module, and emptied at its end: tests are many here, and few rows are touched."""
    with django_db_blocker.unblock():
        if not connection.introspection.table_names():  # none is made for tests that are not marked
            call_command("migrate", verbosity=0)
        yield
        call_command("flush", verbosity=0, interactive=False)


@pytest.fixture(scope="module")
def web(impatient_web: Web) -> Web:
    return impatient_web


@pytest.fixture(scope="module")
def shared_sandbox(database: None) -> Iterator[tuple[FakeSandbox, Run]]:
    with fake_sandbox() as sandbox:
        yield sandbox, new_run(state="running", sandbox=row(sandbox.url), port=5000)


@pytest.fixture
def sandbox(shared_sandbox: tuple[FakeSandbox, Run]) -> FakeSandbox:
    """Nobody has asked it for anything; it answers with a game."""
    sandbox, _ = shared_sandbox
    sandbox.asked.clear()
    sandbox.answer = A_GAME
    return sandbox


@pytest.fixture
def run(shared_sandbox: tuple[FakeSandbox, Run]) -> Run:
    """A run whose game is in that sandbox, on port 5000."""
    return shared_sandbox[1]


class Answer(NamedTuple):
    status: int
    headers: dict[str, list[str]]
    body: bytes

    def header(self, name: str) -> str:
        return ", ".join(self.headers.get(name, []))


def raw(web: Web, request: bytes, method: str = "GET", *, seconds: float = 30) -> Answer | None:
    """What a request answers that no library would send; None when the connection is closed without an answer."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=seconds) as sock:
        sock.sendall(request)
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        connection.send(h11.EndOfMessage())
        answer, body = None, b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                with suppress(ConnectionResetError):
                    connection.receive_data(sock.recv(65_536))
            elif isinstance(event, h11.Response):
                answer = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            elif isinstance(event, h11.ConnectionClosed):
                return None
    headers: dict[str, list[str]] = {}
    for name, value in answer.headers:
        headers.setdefault(name.decode(), []).append(value.decode("latin-1"))
    return Answer(answer.status_code, headers, body)


GAMES_HOST = b"Host: localhost"


def get(web: Web, target: bytes, *headers: bytes, method: bytes = b"GET") -> Answer | None:
    lines = [method + b" " + target + b" HTTP/1.1", *(headers or [b"Host: 127.0.0.1"]), b"Connection: close", b"", b""]
    return raw(web, b"\r\n".join(lines), "HEAD" if method == b"HEAD" else "GET")


def play(run: Run, path: bytes = b"") -> bytes:
    return f"/play/{run.id}/".encode() + path


def is_shut_in(answer: Answer) -> bool:
    """A browser gives it an origin of its own, wherever it is opened, and does not guess what it is."""
    policies = answer.headers.get("content-security-policy", [])
    return (
        len(policies) == 1
        and policies[0].startswith("sandbox allow-scripts")
        and "allow-same-origin" not in policies[0]
        and answer.header("set-cookie") == ""
        and answer.headers.get("x-content-type-options", ["nosniff"]) == ["nosniff"]
    )


# Ways out.


@pytest.mark.parametrize("path", PLAIN)
def test_a_games_addresses_reach_its_port_as_they_were_written(web: Web, run: Run, sandbox: FakeSandbox, path: bytes):
    answer = get(web, play(run, path))
    assert (answer.status, answer.body) == (200, b"a game")
    assert [asked.target for asked in sandbox.asked] == ["/proxy/5000/" + path.decode()]


@pytest.mark.parametrize("path", [path for path in CLIMBING if b"?" not in path])
def test_no_address_leads_out_of_the_games_port(web: Web, run: Run, sandbox: FakeSandbox, path: bytes):
    answer = get(web, play(run, path))
    assert answer is None or answer.status in (400, 404)
    assert sandbox.asked == []


@pytest.mark.parametrize(
    "target",
    [
        "http://evil.example/play/{run}/",
        "http://evil.example/",
        "http://127.0.0.1:{sandbox}/api/exec",
        "https://127.0.0.1/play/{run}/",
        "//evil.example/play/{run}/",
        "//play/{run}/",
        "/play//{run}/",
        "/play/./{run}/",
        "/play/../play/{run}/",
        "/%70lay/{run}/",
        "/play%2f{run}/",
        "/play%2f{run}%2f..%2f..",
        "/PLAY/{run}/",
        "\\play\\{run}\\",
        "/play\\{run}/",
        "/play/{run}%2f",
        "/play/{run}%2f..%2fapi",
        "/play/{run};x/",
        "/play/{run} /",
        "/play/{upper}/",
        "/play/{hex}/",
        "/play/{run}x/",
        "/play/",
        "/play/{run}/\x00",
        "127.0.0.1:{sandbox}",
        "*",
    ],
)
def test_no_other_spelling_of_an_address_reaches_a_game(web: Web, run: Run, sandbox: FakeSandbox, target: str):
    names = {"run": run.id, "upper": str(run.id).upper(), "hex": run.id.hex, "sandbox": sandbox.port}
    answer = get(web, target.format(**names).encode())
    assert answer is None or answer.status in (400, 404)
    assert sandbox.asked == []


def test_an_address_without_its_last_slash_is_completed(web: Web, run: Run, sandbox: FakeSandbox):
    answer = get(web, play(run)[:-1] + b"?level=2")
    assert (answer.status, answer.header("location")) == (308, f"/play/{run.id}/?level=2")
    assert is_shut_in(answer)
    assert sandbox.asked == []


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "OPTIONS", "PROPFIND", "get", "GET/"])
def test_a_game_is_asked_by_the_usual_methods_only(web: Web, run: Run, sandbox: FakeSandbox, method: str):
    answer = get(web, play(run), method=method.encode())
    assert answer is None or answer.status in (400, 405)
    assert sandbox.asked == []


def test_a_preflight_is_answered_here(web: Web, run: Run, sandbox: FakeSandbox):
    """A game's own requests are foreign to its opaque origin."""
    asks = (GAMES_HOST, b"Origin: null", b"Access-Control-Request-Method: PUT")
    answer = get(web, play(run, b"save"), *asks, method=b"OPTIONS")
    assert answer.status == 204
    assert "PUT" in answer.header("access-control-allow-methods")
    assert answer.header("access-control-allow-credentials") == ""
    assert sandbox.asked == []


def test_a_socket_does_not_reach_a_game(web: Web, run: Run, sandbox: FakeSandbox):
    async def code() -> int:
        async with websockets.connect(f"{web.address}/play/{run.id}/") as socket:
            await socket.recv()  # why
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            return closed.value.rcvd.code

    assert asyncio.run(code()) == 4404
    assert sandbox.asked == []


@pytest.mark.parametrize("destination", ["script", "style", "worker", "sharedworker", "serviceworker"])
def test_our_own_pages_run_nothing_of_a_game(web: Web, run: Run, sandbox: FakeSandbox, destination: str):
    """Its files have addresses of our site, which the policy of our pages allows."""
    headers = (GAMES_HOST, b"Sec-Fetch-Site: same-origin", b"Sec-Fetch-Dest: " + destination.encode())
    answer = get(web, play(run, b"game.js"), *headers)
    assert answer.status == 403
    assert is_shut_in(answer)
    assert sandbox.asked == []
    assert get(web, play(run, b"game.js"), headers[0], b"Sec-Fetch-Site: cross-site", headers[2]).status == 200


# Headers.


def test_a_game_gets_the_headers_it_needs_and_our_token(web: Web, run: Run, sandbox: FakeSandbox):
    tricks = {
        "Cookie": "sessionid=secret; csrftoken=secret",
        "Authorization": "Bearer of-the-visitor",
        "Proxy-Authorization": "Basic eDp5",
        "X-Forwarded-For": "10.0.0.1",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "gopher",
        "X-Original-URL": "/api/exec",
        "X-Rewrite-URL": "/api/exec",
        "X-HTTP-Method-Override": "DELETE",
        "Forwarded": "host=evil.example",
        "Connection": "close, Authorization, Host",
        "Keep-Alive": "timeout=1000",
        "TE": "trailers",
        "Origin": "http://evil.example",
        "Referer": "http://127.0.0.1/runs/secret/",
        "X-CSRFToken": "secret",
        "Accept-Language": "de",
        "User-Agent": "a browser",
    }
    assert httpx.get(f"{web.play_url}/play/{run.id}/", headers=tricks, **CLIENT).status_code == 200
    (asked,) = sandbox.asked
    assert dict(asked.headers) == {
        "host": f"127.0.0.1:{sandbox.port}",
        "authorization": f"Bearer {run.sandbox.token}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "accept-language": "de",
        "user-agent": "a browser",
    }
    assert len(asked.headers) == 6, "each once"


@pytest.mark.parametrize(
    "host",
    [
        b"Host: evil.example",
        b"Host: 127.0.0.1; script-src *",
        b"Host: 127.0.0.1 evil.example",
        b"Host: 127.0.0.1@evil.example",
        b"Host: 127.0.0.1:80/x",
        b"Host:",
        b"X-Forwarded-Host: 127.0.0.1",
    ],
)
def test_a_name_that_is_not_ours_is_refused(web: Web, run: Run, sandbox: FakeSandbox, host: bytes):
    answer = get(web, play(run), host)
    assert answer is None or answer.status == 400
    assert sandbox.asked == []


def test_of_two_names_none_gets_into_what_the_game_is_asked_or_a_foreign_one_into_its_policy(web, run, sandbox):
    answer = get(web, play(run), b"Host: 127.0.0.1", b"Host: evil.example")
    assert answer is None or "evil" not in answer.header("content-security-policy")
    assert all(asked.header("host") == [f"127.0.0.1:{sandbox.port}"] for asked in sandbox.asked)


SMUGGLED = b"GET /play/%s/smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
        b"Content-Length: 0\r\nContent-Length: 60\r\n\r\n",
        b"Content-Length: 0, 60\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: +0\r\n\r\n",
        b"Content-Length: 0x0\r\n\r\n",
        b"Transfer-Encoding: xchunked\r\n\r\n",
        b"Transfer-Encoding: chunked, identity\r\n\r\n",
        b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"Content-Length: 0\r\n Transfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_a_request_that_could_be_read_as_two_is_not_passed_on_as_two(web, run, sandbox, headers: bytes):
    """What follows may be a request of its own to us, but never a part of one to the game."""
    beginning = b"POST " + play(run) + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    with suppress(h11.RemoteProtocolError, TimeoutError):  # it may wait for more
        raw(web, beginning + headers + SMUGGLED % str(run.id).encode(), seconds=0.5)
    for asked in sandbox.asked:
        assert asked.header("transfer-encoding") == []
        assert b"smuggled" not in asked.body


@pytest.mark.parametrize("value", [b"a\x0bb", b"a\x00b", b"a\rX-Evil: 1", b"a\x7fb"])
def test_a_control_character_in_a_header_does_no_harm(web: Web, run: Run, sandbox: FakeSandbox, value: bytes):
    answer = get(web, play(run), b"Host: 127.0.0.1", b"Accept: " + value)
    assert answer is None or answer.status in (200, 400)
    for asked in sandbox.asked:
        assert asked.header("x-evil") == []
        assert asked.header("accept") == []


# What a game answers.


@pytest.mark.parametrize(
    "status", ["200 OK", "201 Created", "304 Not Modified", "404 Not Found", "500 Oh no", "599 Hm"]
)
@pytest.mark.parametrize("kind", ["text/html", "application/json", "image/svg+xml", "application/pdf", ""])
def test_every_answer_of_a_game_is_shut_in(web: Web, run: Run, sandbox: FakeSandbox, status: str, kind: str):
    tricks = [
        "Set-Cookie: sessionid=planted; Path=/",
        "Set-Cookie: csrftoken=planted",
        "Content-Security-Policy: sandbox allow-same-origin allow-scripts",
        "Content-Security-Policy-Report-Only: default-src *",
        "Clear-Site-Data: *",
        "Refresh: 0; url=http://evil.example/",
        "Link: <http://evil.example/>; rel=preload",
        "Service-Worker-Allowed: /",
        "Access-Control-Allow-Credentials: true",
        "X-Frame-Options: DENY",
    ]
    body = b"" if status.startswith("304") else b"<script>alert(1)</script>"
    sandbox.answer = http(body, *tricks, *([f"Content-Type: {kind}"] if kind else []), status=status)
    answer = get(web, play(run))
    assert str(answer.status) == status[:3]
    assert answer.body == body
    assert is_shut_in(answer)
    assert answer.headers["x-content-type-options"] == ["nosniff"]
    assert f"default-src {web.play_url}/play/{run.id}/ " in answer.header("content-security-policy")
    assert answer.header("content-type") == kind
    for trick in tricks:
        name, _, value = trick.partition(": ")
        assert value not in answer.header(name.lower())


def test_no_cookie_of_one_game_goes_to_another(web: Web, run: Run, sandbox: FakeSandbox):
    """All local sandboxes have the same host name."""
    other = new_run(state="running", sandbox=row(sandbox.url), port=5000)
    sandbox.answer = http(b"", "Set-Cookie: mine=1; Path=/")
    for each in (run, other, run):
        get(web, play(each))
    assert [asked.header("cookie") for asked in sandbox.asked] == [[], [], []]


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [("/start", "start"), ("next?x=1", "next?x=1"), ("http://localhost:5000/a", "a"), ("/", "")],
)
def test_a_redirect_inside_a_game_stays_there(web: Web, run: Run, sandbox: FakeSandbox, location: str, leads_to: str):
    sandbox.answer = http(b"", f"Location: {location}", status="302 Found")
    answer = get(web, play(run))
    assert (answer.status, answer.header("location")) == (302, f"/play/{run.id}/{leads_to}")
    assert is_shut_in(answer)
    assert len(sandbox.asked) == 1, "the browser follows it, not the proxy"


@pytest.mark.parametrize(
    "location", ["http://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent", "201 Created"])
def test_a_redirect_that_leads_out_is_not_passed_on(web, run, sandbox, location: str, status: str):
    sandbox.answer = http(b"", f"Location: {location}", status=status)
    answer = get(web, play(run))
    assert (answer.status, answer.header("location")) == (502, "")
    assert b"wants to send you elsewhere" in answer.body
    assert is_shut_in(answer)


def test_an_answer_in_chunks_with_a_length_beside_can_not_pass_for_two(web: Web, run: Run, sandbox: FakeSandbox):
    second = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    body = b"12345" + second
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    sandbox.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    answer = get(web, play(run))
    assert answer.body == body
    assert answer.header("content-length") == ""


# Bodies.


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_a_body_reaches_the_game_as_it_was_sent(web: Web, run: Run, sandbox: FakeSandbox, method: str, size: int):
    body = os.urandom(size)
    headers = {"Content-Type": "application/octet-stream"}
    httpx.request(method, f"{web.play_url}/play/{run.id}/save", content=body, headers=headers, **CLIENT)
    (asked,) = sandbox.asked
    assert (asked.method, asked.body) == (method, body)
    assert asked.header("content-type") == ["application/octet-stream"]
    assert len(asked.header("content-length")) <= 1


def test_a_body_in_chunks_reaches_the_game_whole(web: Web, run: Run, sandbox: FakeSandbox):
    parts = [os.urandom(40_000) for _ in range(5)]
    httpx.post(f"{web.play_url}/play/{run.id}/save", content=iter(parts), **CLIENT)
    assert sandbox.asked[0].body == b"".join(parts)


@pytest.mark.parametrize(("method", "times"), [(b"GET", 2), (b"POST", 1)])
def test_a_move_is_made_once_though_the_answer_does_not_come(
    web: Web, run: Run, sandbox: FakeSandbox, method: bytes, times: int
):
    """A kept connection may be closed at the very moment: asking to see something is repeated, doing something not."""
    sandbox.answer = lambda sock: sock.shutdown(socket.SHUT_RDWR)
    answer = get(web, play(run, b"move"), method=method)
    assert answer.status in (502, 503)
    assert [asked.method for asked in sandbox.asked if "move" in asked.target] == [method.decode()] * times


@pytest.mark.parametrize("in_chunks", [False, True])
def test_a_body_that_is_too_large_is_refused(web: Web, run: Run, sandbox: FakeSandbox, in_chunks: bool):
    body = bytes(10_000_001)
    content = iter([body[:5_000_000], body[5_000_000:]]) if in_chunks else body
    answer = httpx.post(f"{web.play_url}/play/{run.id}/save", content=content, **CLIENT)
    assert answer.status_code == 413
    assert sandbox.asked == []


def test_a_large_answer_comes_whole(web: Web, run: Run, sandbox: FakeSandbox):
    body = os.urandom(1_000_000) * 30
    sandbox.answer = http(body, "Content-Type: application/wasm")
    answer = httpx.get(f"{web.play_url}/play/{run.id}/game.wasm", **CLIENT)
    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(body).digest()
    assert answer.headers["content-length"] == str(len(body))


def test_an_answer_is_passed_on_as_it_comes(web: Web, run: Run, sandbox: FakeSandbox):
    has_arrived = Event()

    def in_two(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nfirst")
        assert has_arrived.wait(30)
        sock.sendall(b"again")

    sandbox.answer = in_two
    with httpx.stream("GET", f"{web.play_url}/play/{run.id}/", **CLIENT) as answer:
        parts = answer.iter_raw()
        assert next(parts) == b"first"
        has_arrived.set()
        assert b"".join(parts) == b"again"


def test_the_head_of_an_answer_comes_without_its_body(web: Web, run: Run, sandbox: FakeSandbox):
    sandbox.answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 12345\r\nConnection: close\r\n\r\n"
    answer = get(web, play(run), method=b"HEAD")
    assert (answer.status, answer.header("content-length"), answer.body) == (200, "12345", b"")
    assert is_shut_in(answer)
    assert sandbox.asked[0].method == "HEAD"


def test_a_part_of_a_file_comes_as_asked_for(web: Web, run: Run, sandbox: FakeSandbox):
    sandbox.answer = http(b"345", "Content-Range: bytes 3-5/10", "Accept-Ranges: bytes", status="206 Partial Content")
    answer = get(web, play(run, b"music.ogg"), b"Host: 127.0.0.1", b"Range: bytes=3-5")
    assert (answer.status, answer.header("content-range"), answer.body) == (206, "bytes 3-5/10", b"345")
    assert sandbox.asked[0].header("range") == ["bytes=3-5"]


def test_a_game_hears_at_once_that_its_visitor_has_left(web: Web, run: Run, sandbox: FakeSandbox):
    has_left = Event()

    def waiting(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        sock.settimeout(30)
        with suppress(ConnectionResetError):
            assert sock.recv(1) == b""
        has_left.set()

    sandbox.answer = waiting
    with httpx.stream("GET", f"{web.play_url}/play/{run.id}/", **CLIENT) as answer:
        next(answer.iter_raw())
    assert has_left.wait(15), "long before it would have been given up"


# When there is no answer.


def hang_up(_: socket.socket) -> None:
    return


def never(sock: socket.socket) -> None:
    sock.settimeout(30)
    sock.recv(1)


@pytest.mark.parametrize(
    ("answers", "status", "says"),
    [
        (hang_up, 502, b"The game does not answer"),
        (b"this is not HTTP\r\n\r\n", 502, b"The game does not answer"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: evil\r\n\r\n", 502, b"The game does not answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 502, b"The game does not answer"),
        (http(b'{"detail":"Port 5000: nothing listens there"}', status="502 Bad Gateway"), 502, b"does not answer"),
        (http(b'{"detail":"Port 5000 did not answer"}', status="504 Gateway Timeout"), 504, b"does not answer in time"),
        (never, 504, b"does not answer in time"),
    ],
    ids=["hangs up", "no HTTP", "switches", "two lengths", "nothing listens", "slow for the agent", "never answers"],
)
def test_a_game_that_does_not_answer_is_said_to_be_so(web, run, sandbox, answers: Any, status: int, says: bytes):
    sandbox.answer = answers
    answer = get(web, play(run))
    assert answer.status == status
    assert says in answer.body
    assert answer.header("content-type").startswith("text/html")
    assert answer.header("cache-control") == "no-store"
    assert is_shut_in(answer)


def test_a_sandbox_that_is_gone_is_said_to_be_so(web: Web):
    run = new_run(state="running", sandbox=row(f"http://127.0.0.1:{free_port()}"), port=5000)
    answer = get(web, play(run))
    assert (answer.status, is_shut_in(answer)) == (502, True)


@pytest.mark.parametrize("status", ["502 Bad Gateway", "503 Service Unavailable"])
def test_a_dead_end_has_the_sandbox_looked_at_at_once(web, run, sandbox, status: str):
    """It was "well 4 min ago" until it expired."""
    long_ago = timezone.now() - timedelta(seconds=60)
    Sandbox.objects.filter(pk=run.sandbox_id).update(health_failures=0, health_checked_at=long_ago)
    Fleet.get()
    Fleet.objects.update(nudged=False)
    sandbox.answer = http(b'{"detail":"Port 5000: nothing listens there"}', status=status)
    get(web, play(run))
    assert Sandbox.objects.get(pk=run.sandbox_id).health_failures == 1
    assert Fleet.get().nudged


def test_a_game_that_is_well_makes_nobody_look(web, run, sandbox):
    Sandbox.objects.filter(pk=run.sandbox_id).update(health_failures=0, health_checked_at=None)
    assert get(web, play(run)).status == 200
    assert Sandbox.objects.get(pk=run.sandbox_id).health_failures == 0


def test_a_game_that_is_being_started_again_is_said_to_be_so(web: Web, sandbox: FakeSandbox):
    until_then = timezone.now() + timedelta(seconds=10)
    run = new_run(state="running", sandbox=row(sandbox.url), port=5000, deploy_lease_until=until_then)
    answer = get(web, play(run))
    assert (answer.status, answer.header("retry-after"), sandbox.asked) == (503, "2", [])
    assert b"being started again" in answer.body


def test_an_answer_that_breaks_off_does_not_pass_for_a_whole(web: Web, run: Run, sandbox: FakeSandbox):
    sandbox.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        httpx.get(f"{web.play_url}/play/{run.id}/", **CLIENT)


def test_an_answer_that_ends_before_it_has_begun_is_told_and_the_sandbox_is_asked_why(
    web: Web, run: Run, sandbox: FakeSandbox
):
    """Of a packed answer the agent sends the head alone: the browser said that the connection was reset."""
    sandbox.answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nContent-Length: 100\r\n\r\n"
    answer = get(web, play(run, b"style.css"))
    assert answer.status == 502
    assert b"breaks off" in answer.body
    assert is_shut_in(answer)
    tasks = [queued.task for queued in OrmQ.objects.all()]
    wanted = [task["args"] for task in tasks if task["func"] == "runs.tasks.look_for_packing"]
    assert wanted == [(str(run.id), "/style.css")]
    get(web, play(run, b"style.css"))
    assert len(OrmQ.objects.all()) == len(tasks), "once is enough"


def test_an_answer_in_chunks_that_breaks_off_does_not_pass_for_a_whole(web: Web, run: Run, sandbox: FakeSandbox):
    sandbox.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        httpx.get(f"{web.play_url}/play/{run.id}/", **CLIENT)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_visitor_who_leaves_is_waited_for_by_no_game(web: Web, run: Run, sandbox: FakeSandbox, method: str):
    """Else a game that hangs keeps its turn until its time is up."""
    has_left = Event()

    def hang(sock: socket.socket) -> None:
        sock.settimeout(20)
        if sock.recv(1) == b"":
            has_left.set()

    sandbox.answer = hang
    with socket.create_connection(("127.0.0.1", web.port)) as sock:
        sock.sendall(method.encode() + b" " + play(run) + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")
        until(lambda: sandbox.asked, "the game is asked")
    assert has_left.wait(15), "as soon as its visitor has"


def test_a_visitor_who_does_not_read_is_dropped(web: Web, run: Run, sandbox: FakeSandbox):
    has_ended = Event()

    def endless(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with suppress(OSError):
            while True:
                sock.sendall(bytes(65_536))
        has_ended.set()

    sandbox.answer = endless
    with socket.create_connection(("127.0.0.1", web.port)) as sock:
        sock.sendall(b"GET " + play(run) + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert has_ended.wait(30)


# Runs that are not running.


@pytest.mark.parametrize("state", ["acquiring", "deploying"])
def test_a_game_that_is_starting_is_looked_for_again_by_itself(web: Web, state: str):
    answer = get(web, play(new_run(state=state)))
    assert (answer.status, answer.header("retry-after")) == (503, "1")
    assert b'http-equiv="refresh"' in answer.body
    assert is_shut_in(answer)


@pytest.mark.parametrize("state", ["ended", "failed"])
def test_a_game_that_is_over_says_why(web: Web, sandbox: FakeSandbox, state: str):
    over = {"end_code": "time_up", "end_reason": "It ended <b>well</b>."}
    run = new_run(state=state, sandbox=row(sandbox.url), port=5000, **over)
    answer = get(web, play(run))
    assert answer.status == 410
    assert b"It ended &lt;b&gt;well&lt;/b&gt;." in answer.body
    assert is_shut_in(answer)
    assert sandbox.asked == []


def test_a_game_is_not_reached_any_more_after_its_run_ended(web: Web, sandbox: FakeSandbox):
    run = new_run(state="running", sandbox=row(sandbox.url), port=5000)
    assert get(web, play(run)).status == 200
    assert lifecycle.end(run.id, RunEndCode.ENDED_BY_API, "Ended by a test.", timezone.now())
    until(lambda: get(web, play(run)).status == 410, "it is over for the proxy, too")


@pytest.mark.parametrize("path", ["", "index.html", "../x"])
def test_a_run_that_nobody_launched_is_not_found(web: Web, path: str):
    answer = get(web, f"/play/{uuid4()}/{path}".encode())
    assert answer.status == 404
    assert is_shut_in(answer)


# An agent that does not take our token any more.

REFUSAL = b'{"detail": "Invalid API token"}'


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "503 Service Unavailable"])
def test_an_agent_that_refuses_our_token_is_never_shown_as_the_games_page(web, run, sandbox, status):
    """The player read {"detail": "Invalid API token"} in the place of the game."""
    sandbox.answer = http(REFUSAL, "Content-Type: application/json", status=status)
    answer = get(web, play(run))
    assert answer.status == 502
    assert b"can't be reached any more" in answer.body.replace(b"&#x27;", b"'")
    assert REFUSAL not in answer.body
    assert is_shut_in(answer)


def test_a_game_that_refuses_its_player_is_passed_on(web, run, sandbox):
    """Only its agent's own paths tell whether the agent takes our token."""

    def answer_as_a_game(sock: socket.socket) -> None:
        is_agent = sandbox.asked[-1].target == "/api/processes"
        said = http(b"[]", "Content-Type: application/json")
        refused = http(b'{"detail": "no cheating"}', "Content-Type: application/json", status="403 Forbidden")
        sock.sendall(said if is_agent else refused)

    sandbox.answer = answer_as_a_game
    answer = get(web, play(run, b"scores"))
    assert (answer.status, answer.body) == (403, b'{"detail": "no cheating"}')
    assert [each.target for each in sandbox.asked] == ["/proxy/5000/scores", "/api/processes"]


def test_a_game_behind_an_agent_that_is_gone_by_then_is_dead(web, run, sandbox):
    def answer_once(sock: socket.socket) -> None:
        if len(sandbox.asked) == 1:
            sock.sendall(http(REFUSAL, "Content-Type: application/json", status="403 Forbidden"))

    sandbox.answer = answer_once
    assert get(web, play(run)).status == 502
