"""Nothing of a request is read, kept or parsed before somebody wants it."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from unittest.mock import Mock
from uuid import UUID, uuid4

import psutil
import pytest
import websockets

from orchestrator_site import daphne_http
from pools.models import Sandbox
from runs.models import Run
from tests.fixtures.waiting import until
from tests.fixtures.web import Web, new_run
from tests.integration.runs.sandboxes import fake_sandbox, row

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE_SECONDS = 20
FORM = "Content-Type: application/x-www-form-urlencoded"
PARTS = "Content-Type: multipart/form-data; boundary=x"


@contextmanager
def connected(web: Web) -> Iterator[socket.socket]:
    with closing(socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE_SECONDS)) as connection:
        yield connection


def head(method: str, path: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]).encode()


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the next answer, whose length is said."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (data := connection.recv(65536)):
            raise AssertionError(f"it was cut: {received!r}")
        received += data
    top, body = received.split(b"\r\n\r\n", 1)
    first, *lines = top.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return int(first.split(" ")[1]), headers, body


@pytest.mark.parametrize("path", ["/nothing", "/", "/api/launch/warm", "/admin/login/", f"/api/stream/{UUID(int=7)}"])
def test_a_large_upload_is_refused_at_its_head(web: Web, path: str) -> None:
    with connected(web) as connection:
        connection.sendall(head("POST", path, FORM, "Content-Length: 300000000"))
        status, headers, _ = answer(connection)
    assert status == 413
    assert headers["connection"] == "close"


def test_who_asks_first_is_not_told_to_send(web: Web) -> None:
    with connected(web) as connection:
        connection.sendall(head("POST", "/nothing", "Content-Length: 300000000", "Expect: 100-continue"))
        assert answer(connection)[0] == 413


def test_who_asks_first_is_told_when_somebody_reads(web: Web) -> None:
    body = json.dumps({"game": "no-such-game"}).encode()
    with connected(web) as connection:
        length = f"Content-Length: {len(body)}"
        connection.sendall(head("POST", "/api/launch/warm", length, "Expect: 100-continue"))
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert answer(connection)[0] == 422


def test_chunks_are_refused_after_the_allowed_bytes(web: Web) -> None:
    with connected(web) as connection:
        connection.sendall(head("POST", "/nothing", "Transfer-Encoding: chunked"))
        sent = 0
        with suppress(OSError):
            for _ in range(10_000):
                connection.sendall(b"2000\r\n" + b"a" * 0x2000 + b"\r\n")
                sent += 0x2000
        assert sent < 30_000_000, "the server read on"


def test_chunks_that_are_too_many_are_answered(web: Web) -> None:
    with connected(web) as connection:
        connection.sendall(head("POST", "/nothing", "Transfer-Encoding: chunked"))
        for _ in range(10):
            connection.sendall(b"2000\r\n" + b"a" * 0x2000 + b"\r\n")
        status, headers, body = answer(connection)
    assert (status, headers["connection"]) == (413, "close")
    assert b"64 kB" in body


def test_programs_get_a_problem(web: Web) -> None:
    refused = web.client().post("/api/launch/warm", content=b" " * 100_000)
    assert refused.status_code == 413
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["detail"] == "A request to this address may hold 64 kB."


def test_a_form_of_allowed_size_is_not_parsed_in_the_event_loop(web: Web) -> None:
    """2 MB of parts held every answer for 4 s, and are refused now; 64 kB of them must not be felt either."""
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
    body = part * (64_000 // len(part))
    seconds: list[float] = []
    is_over = threading.Event()

    def look() -> None:
        while not is_over.is_set():
            began = time.monotonic()
            web.get("/health/live")
            seconds.append(time.monotonic() - began)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        with web.client() as client:
            for path in ("/", "/nothing", "/admin/login/", "/api/launch/warm") * 5:
                sent = client.post(path, content=body, headers={"content-type": "multipart/form-data; boundary=x"})
                assert sent.status_code in (400, 403, 404, 405, 413, 422)
    finally:
        is_over.set()
        looking.join()
    assert max(seconds) < 4


def test_parts_that_nobody_has_read_are_one_message() -> None:
    """60,000 chunks of a byte each were as many messages: they held every answer for 1.3 s."""

    async def kept() -> list[bytes]:
        queue = daphne_http.BodyQueue(Mock())
        for part in (b"a", b"b"):
            queue.add(part)
        first = await queue.get()
        queue.add(b"c")
        queue.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        return [first["body"], (await queue.get())["body"], (await queue.get())["body"]]

    assert asyncio.run(kept()) == [b"ab", b"c", b""]


def test_memory_and_disk_stay_flat_under_large_uploads(web: Web) -> None:
    process = psutil.Process(web.process.pid)
    web.get("/")
    before = web.memory_mb()

    async def upload() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
        writer.write(head("POST", f"/play/{uuid4()}/save", "Transfer-Encoding: chunked"))
        try:
            for _ in range(200):
                writer.write(b"8000\r\n" + b"a" * 0x8000 + b"\r\n")
                await writer.drain()
            await reader.read()
        except OSError:
            pass
        writer.close()

    async def uploads() -> None:
        await asyncio.gather(*(upload() for _ in range(50)))

    asyncio.run(uploads())
    assert web.memory_mb() - before < 50
    assert not [file for file in process.open_files() if file.path.startswith("/tmp/tmp")]


def test_nothing_stays_of_bodies_that_nobody_read(web: Web) -> None:
    """Daphne forgets a request a second or two after its end."""
    web.get("/")
    before = web.memory_mb()
    body = (b"8000\r\n" + b"a" * 0x8000 + b"\r\n") * 8
    for _ in range(600):
        with connected(web) as connection, suppress(OSError):
            connection.sendall(head("POST", f"/play/{uuid4()}/save", "Transfer-Encoding: chunked") + body)
            connection.recv(1000)
    assert web.memory_mb() - before < 40


def test_what_was_asked_for_is_done_though_its_sender_does_not_wait(web: Web) -> None:
    other = new_run()
    body = b'{"game": "snake"}'
    with connected(web) as connection:
        connection.sendall(head("POST", "/api/launch/cold", f"Content-Length: {len(body)}") + body)
    until(lambda: Run.objects.exclude(pk=other.pk).exists(), "the launch is there")


def test_a_stream_that_is_sent_too_much_ends(web: Web) -> None:
    run = new_run()
    with connected(web) as connection, suppress(OSError):
        connection.sendall(head("GET", f"/api/stream/{run.id}", "Transfer-Encoding: chunked"))
        connection.sendall(b"1\r\na\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        for _ in range(20):
            connection.sendall(b"2000\r\n" + b"a" * 0x2000 + b"\r\n")
        connection.settimeout(PATIENCE_SECONDS)
        while connection.recv(65536):
            pass
    assert "Traceback" not in web.log.read_text()
    assert web.get("/health/live").status_code == 200


def test_a_body_that_comes_slowly_holds_nobody_up(web: Web) -> None:
    body = json.dumps({"game": "no-such-game"}).encode()
    with connected(web) as connection:
        connection.sendall(head("POST", "/api/launch/warm", f"Content-Length: {len(body)}"))
        assert web.get("/health/live").status_code == 200
        for place in range(len(body)):
            connection.sendall(body[place : place + 1])
        assert answer(connection)[0] == 422


def test_requests_on_one_connection_follow_each_other(web: Web) -> None:
    """Bodies and pipelined requests are told apart."""
    body = b'{"game": "no-such-game"}'
    launch = head("POST", "/api/launch/warm", f"Content-Length: {len(body)}") + body
    with connected(web) as connection:
        connection.sendall(launch + launch + head("GET", "/health/live", "Connection: close"))
        received = b""
        while data := connection.recv(65536):
            received += data
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"422", b"422", b"200"]


def test_who_does_not_read_is_not_answered_more(web: Web) -> None:
    """300 requests in one packet, for a file of 285 kB, were all answered into the memory: 88 MB."""
    file = "/static/admin/js/vendor/jquery/jquery.js"
    size = len(web.get(file).content)
    before = web.memory_mb()
    with connected(web) as connection:
        connection.sendall(head("GET", file) * 299 + head("GET", file, "Connection: close"))
        time.sleep(2)
        assert web.memory_mb() - before < 20
        received, answers = 0, 0
        while data := connection.recv(1_000_000):
            received += len(data)
            answers += data.count(b"HTTP/1.1 200 OK")
    assert received > 300 * size
    assert 290 <= answers <= 300, "some are cut in two by a read"


def test_a_client_that_leaves_in_the_middle_of_a_body_is_forgotten(web: Web) -> None:
    process = psutil.Process(web.process.pid)
    for _ in range(20):
        with connected(web) as connection:
            connection.sendall(head("POST", "/api/launch/warm", "Content-Length: 1000") + b"{")
    until(
        lambda: not [each for each in process.net_connections() if each.status in ("ESTABLISHED", "CLOSE_WAIT")],
        "no connection is left",
    )
    assert web.get("/health/live").status_code == 200


def test_a_body_in_broken_chunks_is_a_bad_request(web: Web) -> None:
    with connected(web) as connection:
        connection.sendall(head("POST", "/api/launch/warm", "Transfer-Encoding: chunked") + b"zz\r\n")
        assert answer(connection)[0] == 400


def test_a_socket_that_brings_a_body_is_refused(web: Web) -> None:
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: a")
    with connected(web) as connection:
        connection.sendall(head("GET", "/ws/orchestrator/", *upgrade, "Content-Length: 5") + b"hello")
        assert answer(connection)[0] == 400


def test_a_socket_takes_no_large_message(web: Web) -> None:
    """Autobahn keeps a message until it is complete: a megabyte each, of as many sockets as somebody opens."""

    async def is_cut_off() -> bool:
        async with websockets.connect(f"{web.address}/ws/orchestrator/") as opened:
            await opened.send("x" * 5_000)
            await asyncio.wait_for(opened.wait_closed(), PATIENCE_SECONDS)
            return opened.close_code == 1006

    assert asyncio.run(is_cut_off())


class TestHeads:
    def test_17_kb_of_cookies_are_read(self, web: Web) -> None:
        cookies = [f"Cookie: c{number}={'x' * 4000}" for number in range(5)]
        with connected(web) as connection:
            connection.sendall(head("GET", "/api/games", *cookies))
            assert answer(connection)[0] == 200

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ([f"Cookie: {'x' * 17_000}"], 431),
            ([f"Cookie: c{number}={'x' * 4000}" for number in range(10)], 431),
            ([f"X-{number}: y" for number in range(600)], 431),
            ([f"Content-Length: {'9' * 5000}"], 400),
        ],
    )
    def test_too_much_is_said_to_be_too_much(self, web: Web, headers: list[str], status: int) -> None:
        with connected(web) as connection:
            connection.sendall(head("GET", "/", *headers))
            found, _, body = answer(connection)
        assert found == status
        assert body

    def test_a_long_address_is_said_to_be_too_long(self, web: Web) -> None:
        with connected(web) as connection:
            connection.sendall(head("GET", "/" + "x" * 20_000))
            assert answer(connection)[0] == 414

    def test_a_bad_request_is_told_so(self, web: Web) -> None:
        with connected(web) as connection:
            connection.sendall(b"what is this\r\n\r\n")
            assert answer(connection)[0] == 400


class TestSlowness:
    def test_a_head_that_trickles_is_answered_in_time(self, impatient_web: Web) -> None:
        with connected(impatient_web) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            trickle(connection, b"X")
            assert answer(connection)[0] == 408

    def test_not_even_a_first_line_may_trickle(self, impatient_web: Web) -> None:
        with connected(impatient_web) as connection:
            trickle(connection, b"G")
            assert answer(connection)[0] == 408

    def test_a_body_that_does_not_come_is_answered_in_time(self, impatient_web: Web) -> None:
        with connected(impatient_web) as connection:
            connection.sendall(head("POST", "/api/launch/warm", "Content-Length: 1000"))
            assert answer(connection)[0] == 408

    def test_nor_may_a_body_trickle(self, impatient_web: Web) -> None:
        with connected(impatient_web) as connection:
            connection.sendall(head("POST", "/api/launch/warm", "Content-Length: 1000"))
            trickle(connection, b" ")
            assert answer(connection)[0] == 408

    def test_a_game_is_not_held_by_a_body_that_does_not_come(self, impatient_web: Web) -> None:
        with fake_sandbox() as sandbox:
            run = new_run(state="running", sandbox=row(sandbox.url), port=5000)
            with connected(impatient_web) as connection:
                connection.sendall(head("POST", f"/play/{run.id}/save", "Content-Length: 1000") + b"{")
                assert answer(connection)[0] == 408
            assert sandbox.asked == []
            assert Sandbox.objects.get(pk=run.sandbox_id).health_failures == 0, "it was not the game"

    def test_a_game_is_not_held_by_a_body_that_trickles(self, impatient_web: Web) -> None:
        with fake_sandbox() as sandbox:
            run = new_run(state="running", sandbox=row(sandbox.url), port=5000)
            with connected(impatient_web) as connection:
                connection.sendall(head("POST", f"/play/{run.id}/save", "Content-Length: 1000"))
                trickle(connection, b"x")
                assert answer(connection)[0] == 408

    def test_a_connection_whose_body_was_held_back_is_closed_like_any_other(self, impatient_web: Web) -> None:
        """It was kept for ever: the time of a body that comes whole while nobody reads it was not set again."""
        body = b"a" * 100_000
        with connected(impatient_web) as connection:
            connection.sendall(head("POST", f"/play/{uuid4()}/save", f"Content-Length: {len(body)}") + body)
            assert answer(connection)[0] == 404
            assert connection.recv(1) == b""

    def test_a_kept_connection_outlives_those_of_proxies(self) -> None:
        """nginx keeps one for 60 s, Traefik for 90, Caddy for 120: closed at that very moment, a request is lost."""
        assert daphne_http.Factory(Mock()).timeOut > 120


def trickle(connection: socket.socket, byte: bytes) -> None:
    """Send a byte now and then until somebody has had enough."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    connection.settimeout(0.2)
    while time.monotonic() < deadline:
        connection.sendall(byte)
        try:
            connection.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            continue
        break
    else:
        raise AssertionError("nobody had enough")
    connection.settimeout(PATIENCE_SECONDS)
