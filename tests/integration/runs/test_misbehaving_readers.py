"""Readers that do not read, or vanish, and proxies that cut and hold back."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import select
import socket
from contextlib import suppress
from typing import Any

import httpx
import psutil
import pytest
import redis as redis_client
import websockets

from runs import events
from runs.events import Entry
from runs.models import EventKind, Run
from tests.fixtures.servers import Redis
from tests.fixtures.waiting import free_port, until
from tests.fixtures.web import PLAIN, MakeRun, MakeWeb, Web
from tests.integration.runs.patience import HEARTBEAT_SECONDS
from tests.integration.runs.proxies import in_blocks, proxied
from tests.integration.runs.readers import read_stream, server_sent
from tests.integration.runs.writers import finish, in_background, written

pytestmark = pytest.mark.django_db(transaction=True)

LINES = 3_000
LINE = "x" * 1_900
READERS = 20


def say_much(run: Run) -> None:
    for _ in range(LINES // 500):
        events.write(run.id, [Entry(EventKind.LOG, LINE)] * 500)


def connect(web: Web, path: str, *headers: str) -> socket.socket:
    """A connection that has asked for a stream and read no more than the beginning of the answer."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    sock.settimeout(30)
    sock.connect(("127.0.0.1", web.port))
    sock.sendall("\r\n".join([f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]).encode())
    assert sock.recv(13).startswith((b"HTTP/1.1 200", b"HTTP/1.1 101"))
    return sock


def by_stream(web: Web, run: Run) -> socket.socket:
    return connect(web, f"/api/stream/{run.id}", "Connection: close")


def by_socket(web: Web, run: Run) -> socket.socket:
    key = base64.b64encode(os.urandom(16)).decode()
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13")
    return connect(web, f"/ws/runs/{run.id}/", *upgrade)


doors = pytest.mark.parametrize("door", [by_stream, by_socket])


def is_cut(sock: socket.socket) -> bool:
    """Whether the other side ended it, without reading from it."""
    poll = select.poll()
    poll.register(sock, 0)
    return any(flags & (select.POLLHUP | select.POLLERR) for _, flags in poll.poll(0))


@doors
def test_a_reader_that_never_reads_is_dropped_and_costs_no_memory(impatient_web: Web, make_run: MakeRun, door: Any):
    run = make_run()
    idle = [door(impatient_web, run) for _ in range(READERS)]
    before = impatient_web.memory_mb()
    say_much(run)
    until(lambda: all(is_cut(sock) for sock in idle), "all of them are dropped")
    more_mb, written_mb = impatient_web.memory_mb() - before, READERS * LINES * len(LINE) / 1e6
    assert more_mb < written_mb / 4
    finish(run)
    assert read_stream(f"{impatient_web.url}/api/stream/{run.id}") == written(run), "who reads gets every line"


def test_a_socket_that_asks_for_pongs_and_reads_none_costs_no_memory(web: Web, make_run: MakeRun):
    """57 MB of pings were answered into the memory."""
    idle = by_socket(web, make_run())
    idle.settimeout(1)
    before = web.memory_mb()
    pings = (bytes([0x89, 0x80 | 125]) + bytes(4) + b"x" * 125) * 500
    with suppress(OSError):
        for _ in range(900):
            idle.sendall(pings)
    assert web.memory_mb() - before < 20


@doors
def test_a_slow_reader_gets_every_line(impatient_web: Web, make_run: MakeRun, door: Any):
    """It takes a little now and then, so it is not dropped."""
    run = make_run()
    sock = door(impatient_web, run)

    def story() -> None:
        say_much(run)
        finish(run)

    telling = in_background(story)
    read = bytearray()
    while b'"kind":"end"' not in read[-1_000:]:
        part = sock.recv(4_096)
        assert part, "it ended before its end"
        read += part
    # What the server has not parsed yet must not keep it busy during the next test.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # no farewell
    sock.close()
    process = psutil.Process(impatient_web.process.pid)
    until(lambda: open_connections(process) == 0, "the server has let go of it")
    assert impatient_web.get("/health/live").status_code == 200
    telling.join()
    assert read.count(LINE.encode()) == LINES


@doors
def test_readers_that_vanish_free_everything_at_once(impatient_web: Web, make_run: MakeRun, door: Any):
    run = make_run()
    process = psutil.Process(impatient_web.process.pid)

    def come_and_vanish() -> None:
        sockets = [door(impatient_web, run) for _ in range(40)]
        assert open_connections(process) == 40
        for sock in sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # no farewell
            sock.close()
        until(lambda: open_connections(process) == 0, "nothing is left of them")

    come_and_vanish()  # what is made once: the database's connections of all threads that read
    before = process.num_fds()
    come_and_vanish()
    until(lambda: process.num_fds() <= before, "their sockets are closed")
    events.emit(run.id, EventKind.LOG, "for nobody")
    assert impatient_web.get("/health/live").status_code == 200


def test_a_socket_that_talks_costs_no_memory_and_gets_every_line(impatient_web: Web, make_run: MakeRun):
    """Nobody reads what a client sends. Were each of its messages dispatched, they would come faster than they go."""
    run = make_run()
    frame = b"\x81\x8a" + bytes(4) + b"0123456789"  # a text of ten characters, as a client masks it
    sock = by_socket(impatient_web, run)
    before = impatient_web.memory_mb()
    for _ in range(200):
        sock.sendall(frame * 1_000)
    assert impatient_web.memory_mb() - before < 20
    finish(run)
    read = b""
    while b'"kind":"end"' not in read:
        part = sock.recv(4_096)
        assert part, "it ended before its end"
        read += part
    # What the server has not parsed yet must not keep it busy during the next test.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # no farewell
    sock.close()
    process = psutil.Process(impatient_web.process.pid)
    until(lambda: open_connections(process) == 0, "the server has let go of it")
    assert impatient_web.get("/health/live").status_code == 200


def open_connections(process: psutil.Process) -> int:
    return sum(each.status == psutil.CONN_ESTABLISHED for each in process.net_connections("tcp"))


# Proxies.


def test_a_silent_stream_lives_behind_a_proxy_that_cuts_idle_connections(impatient_web: Web, make_run: MakeRun):
    run = make_run()
    with proxied(impatient_web.port, idle_seconds=HEARTBEAT_SECONDS * 4) as proxy:

        async def by_both() -> None:
            async with (
                websockets.connect(f"{proxy.address}/ws/runs/{run.id}/", ping_interval=None) as socket,
                httpx.AsyncClient(**PLAIN) as client,
                client.stream("GET", f"{proxy.url}/api/stream/{run.id}") as answer,
            ):
                beats = 0
                async for line in answer.aiter_lines():
                    beats += line == "event: heartbeat"
                    if beats == 8:  # beyond what the proxy would have suffered
                        break
                for _ in range(8):
                    assert json.loads(await socket.recv())["kind"] == "heartbeat"

        asyncio.run(by_both())
        assert proxy.cuts == 0


def test_a_stream_that_is_cut_again_and_again_is_read_to_its_end(impatient_web: Web, make_run: MakeRun):
    run = make_run()
    read: list[dict[str, Any]] = []
    with proxied(impatient_web.port, age_seconds=0.2) as proxy:
        while not read or read[-1]["kind"] != "end":
            if proxy.cuts < 4:
                events.write(run.id, [Entry(EventKind.LOG, f"line {n}") for n in range(20)])
            elif not Run.objects.get(pk=run.pk).is_over:
                finish(run)
            last = str(read[-1]["seq"] if read else 0)
            try:
                with httpx.stream(
                    "GET", f"{proxy.url}/api/stream/{run.id}", headers={"Last-Event-ID": last}, **PLAIN
                ) as answer:
                    read.extend(s.data for s in server_sent(answer.iter_lines()) if s.event != "heartbeat")
            except httpx.TransportError:
                pass  # it was cut
    assert read == written(run)


def test_a_proxy_that_holds_back_the_first_kilobytes_lets_the_beginning_pass(impatient_web: Web, make_run: MakeRun):
    """Unless the stream begins with so many, its reader would see nothing for minutes."""
    run = make_run()
    with (
        proxied(impatient_web.port, passing=in_blocks(2_048)) as proxy,
        httpx.stream("GET", f"{proxy.url}/api/stream/{run.id}", **PLAIN) as answer,
    ):
        assert next(answer.iter_raw()).startswith(b": ")


def test_behind_a_proxy_that_holds_everything_back_polling_gets_every_line(impatient_web: Web, make_run: MakeRun):
    run = make_run()
    events.emit(run.id, EventKind.LOG, "before")
    with proxied(impatient_web.port, passing=in_blocks(1_000_000)) as proxy:
        read: list[dict[str, Any]] = []
        while not read or read[-1]["kind"] != "end":
            after = read[-1]["seq"] if read else 0
            url = f"{proxy.url}/api/runs/{run.id}/events?after={after}&wait=25"
            page = httpx.get(url, headers={"Connection": "close"}, **PLAIN).json()
            read += page["events"]
            if len(read) == 1:
                events.emit(run.id, EventKind.LOG, "then")
            if len(read) == 2:
                finish(run)
        assert read == written(run)
        whole = read_stream(f"{proxy.url}/api/stream/{run.id}", headers={"Connection": "close"})
        assert whole == written(run), "a stream comes when it is over"


# Redis.


def test_redis_wakes_readers_and_its_death_costs_no_line(make_web: MakeWeb, make_run: MakeRun, redis: Redis, settings):
    web, run = make_web(REDIS_URL=redis.url).start(), make_run()
    server = redis_client.Redis.from_url(redis.url)
    settings.REDIS_URL = redis.url
    with httpx.stream("GET", f"{web.url}/api/stream/{run.id}", **PLAIN) as answer:
        sent = (each for each in server_sent(answer.iter_lines()) if each.event != "heartbeat")
        channel = until(server.pubsub_channels, "the web server listens")[0]
        assert server.publish(channel, b"!") == 1
        events.emit(run.id, EventKind.LOG, "with Redis")
        assert next(sent).data["message"] == "with Redis"
        server.client_kill_filter(_type="pubsub")
        settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"  # where the writer finds nobody
        events.emit(run.id, EventKind.LOG, "without Redis")
        assert next(sent).data["message"] == "without Redis"
        until(server.pubsub_channels, "the web server listens again")
        finish(run)
        assert next(sent).event == "end"
