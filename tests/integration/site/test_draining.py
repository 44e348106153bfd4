"""A web process that is asked to stop loses no request, and sends its readers elsewhere."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Event
from typing import Any

import httpx
import pytest
import websockets
from websockets.exceptions import ConnectionClosed

from runs.models import Run
from tests.fixtures.waiting import until
from tests.fixtures.web import PLAIN, MakeRun, MakeWeb, Web
from tests.integration.runs.sandboxes import fake_sandbox, http, row
from tests.integration.runs.writers import say

pytestmark = pytest.mark.django_db(transaction=True)

DRAIN_SECONDS = 5.0
SERVICE_RESTART = 1012


def stream(web: Web, path: str) -> str:
    """All of a stream until the server ends it."""
    with httpx.stream("GET", web.url + path, **PLAIN) as answer:
        return "".join(answer.iter_text())


def socket_code(web: Web, path: str) -> int:
    """With which code a WebSocket is closed."""

    async def read() -> int:
        async with websockets.connect(web.address + path) as opened:
            with suppress(ConnectionClosed):
                while True:
                    await opened.recv()
            return opened.close_code or 0

    return asyncio.run(read())


def is_refused(web: Web) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", web.port)) != 0


def readiness(web: Web) -> Any:
    return web.get("/health/ready").json()["status"]


@pytest.fixture
def may_answer() -> Event:
    """Until it is set, no game answers."""
    return Event()


@pytest.fixture
def played(make_run: MakeRun, may_answer: Event) -> Any:
    """A run whose game takes its time for each answer."""

    def slowly(connection: socket.socket) -> None:
        may_answer.wait(60)
        connection.sendall(http(b"a game", "Content-Type: text/html"))

    with fake_sandbox() as sandbox:
        sandbox.answer = slowly
        yield make_run(state="running", sandbox=row(sandbox.url), port=5000)


def test_who_stops_answers_until_others_have_noticed_and_finishes_what_it_began(
    make_web: MakeWeb, make_run: MakeRun, played: Run, may_answer: Event
):
    web, run = make_web(DRAIN_SECONDS=str(DRAIN_SECONDS)).start(), make_run()
    say(run, 1)
    with ThreadPoolExecutor(10) as pool:
        streams = [pool.submit(stream, web, path) for path in (f"/api/stream/{run.id}", "/api/orchestrator/stream")]
        sockets = [pool.submit(socket_code, web, path) for path in (f"/ws/runs/{run.id}/", "/ws/lobby/")]
        poll = pool.submit(web.get, f"/api/runs/{run.id}/events?after=1&wait=25")
        waits = pool.submit(web.get, f"/api/runs/{run.id}?wait_for=running&timeout=25")
        game = pool.submit(lambda: httpx.get(f"{web.play_url}/play/{played.id}/", **PLAIN))
        time.sleep(1.5)  # until each is in hand
        everything: list[Future[Any]] = [*streams, *sockets, poll, waits, game]
        assert not any(each.done() for each in everything)

        began = time.monotonic()
        web.process.send_signal(signal.SIGTERM)
        until(lambda: readiness(web) == "stopping", "readiness says no", seconds=DRAIN_SECONDS)
        answer = web.get("/health/ready")
        assert (answer.status_code, answer.headers["connection"]) == (503, "close")
        while time.monotonic() - began < DRAIN_SECONDS / 2:
            assert web.get("/health/live").status_code == web.get("/api/games").status_code == 200
        assert not any(each.done() for each in everything), "nobody is sent away before others have noticed"

        until(lambda: is_refused(web), "nobody is let in")
        may_answer.set()
        assert all(text.result(30).rpartition("\n\nretry: ")[2].strip().isdigit() for text in streams)
        assert [code.result(30) for code in sockets] == [SERVICE_RESTART, SERVICE_RESTART]
        assert (poll.result(30).status_code, poll.result().json()["events"]) == (200, [])
        assert (waits.result(30).status_code, waits.result().json()["state"]) == (200, run.state)
        assert (game.result(30).status_code, game.result().text) == (200, "a game")
        assert web.process.wait(50) == 0


def test_under_uvicorn_it_is_the_same(make_web: MakeWeb, make_run: MakeRun, played: Run, may_answer: Event):
    """But an answer does not say that its connection is closed, and the signal is what ends the process."""
    web, run = make_web(server="uvicorn", DRAIN_SECONDS=str(DRAIN_SECONDS)).start(), make_run()
    with ThreadPoolExecutor(3) as pool:
        lines = pool.submit(stream, web, f"/api/stream/{run.id}")
        lobby = pool.submit(socket_code, web, "/ws/lobby/")
        time.sleep(1)
        web.process.send_signal(signal.SIGTERM)
        until(lambda: readiness(web) == "stopping", "readiness says no", seconds=DRAIN_SECONDS)
        game = pool.submit(lambda: httpx.get(f"{web.play_url}/play/{played.id}/", **PLAIN))
        until(lambda: is_refused(web), "nobody is let in")
        may_answer.set()
        assert "retry: " in lines.result(30)
        assert lobby.result(30) == SERVICE_RESTART
        assert game.result(30).text == "a game"
        assert web.process.wait(50) == -signal.SIGTERM


def test_who_waits_for_nobody_stops_at_once_whoever_reads(make_web: MakeWeb, make_run: MakeRun):
    web, run = make_web(DRAIN_SECONDS="0").start(), make_run()
    with ThreadPoolExecutor(2) as pool:
        readers = pool.submit(stream, web, f"/api/stream/{run.id}"), pool.submit(socket_code, web, "/ws/lobby/")
        time.sleep(1)
        began = time.monotonic()
        assert web.stop() == 0
        assert time.monotonic() - began < 30
        assert "retry: " in readers[0].result(30)
        assert readers[1].result(30) == SERVICE_RESTART


def test_a_reader_that_comes_while_the_door_closes_is_sent_away_too(
    make_web: MakeWeb, make_run: MakeRun, played: Run, may_answer: Event
):
    """A connection that was kept for the next request brings one after all."""
    web, run = make_web(DRAIN_SECONDS="0").start(), make_run()
    with ThreadPoolExecutor(1) as pool, web.client() as kept:
        assert kept.get("/health/live").status_code == 200
        game = pool.submit(lambda: httpx.get(f"{web.play_url}/play/{played.id}/", **PLAIN))
        time.sleep(1)
        web.process.send_signal(signal.SIGTERM)
        until(lambda: is_refused(web), "nobody is let in")
        may_answer.set()
        assert kept.get(f"/api/stream/{run.id}").text.rpartition("retry: ")[2].strip().isdigit()
        assert game.result(30).text == "a game"
        assert web.process.wait(50) == 0


def test_who_was_let_in_last_is_answered_though_the_request_comes_later(make_web: MakeWeb):
    web = make_web(DRAIN_SECONDS="1").start()
    web.process.send_signal(signal.SIGTERM)
    last: list[socket.socket] = []

    def is_shut() -> bool:
        try:
            came = socket.create_connection(("127.0.0.1", web.port), 10)
        except ConnectionRefusedError:
            return True
        last[:] = [came]
        return False

    until(is_shut, "nobody is let in", seconds=20, every=0.01)
    with last[0] as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    assert web.process.wait(50) == 0


@pytest.mark.parametrize(
    ("content_type", "ends_well", "least_seconds"),
    [("text/event-stream; charset=utf-8", True, 0), ("application/x-ndjson", False, 8)],
)
def test_a_games_endless_answer_ends_long_before_the_grace(
    make_web: MakeWeb, make_run: MakeRun, content_type: str, ends_well: bool, least_seconds: float
):
    """A browser comes back for an event stream by itself; of another answer nobody takes the part for the whole."""

    def endlessly(connection: socket.socket) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        with suppress(OSError):
            while True:
                connection.sendall(b"9\r\ndata: 1\n\n\r\n")
                time.sleep(0.2)

    with fake_sandbox() as sandbox, ThreadPoolExecutor(1) as pool:
        sandbox.answer = endlessly
        run = make_run(state="running", sandbox=row(sandbox.url), port=5000)
        web = make_web(DRAIN_SECONDS="1").start()
        reader = pool.submit(read_all, f"{web.play_url}/play/{run.id}/")
        time.sleep(1.5)
        assert not reader.done()
        began = time.monotonic()
        web.process.send_signal(signal.SIGTERM)
        assert web.process.wait(50) == 0
        assert least_seconds <= time.monotonic() - began < 40
        assert reader.result(30) == ends_well


def read_all(url: str) -> bool:
    """Whether an answer came to its end, and was not cut off."""
    try:
        httpx.get(url, **PLAIN)
    except (httpx.RemoteProtocolError, httpx.ReadError):
        return False
    return True
