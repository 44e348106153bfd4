"""From the moment an event is written by another process until a subscriber has read it, next to the floor."""

from __future__ import annotations

import asyncio
import re
import socket
import statistics
import subprocess
import sys
import time

import psutil
import pytest

from runs.models import Run
from tests.fixtures.web import ROOT, MakeRun, MakeWeb, Web

pytestmark = [pytest.mark.bench, pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]
WRITTEN = re.compile(rb'"message":"(\d{10,})"')
SUBSCRIBERS = 1_000
RUNS = 50
ROUNDS = 15


def quantiles(values: list[float]) -> tuple[float, float]:
    """Median and 99th percentile (the maximum of few)."""
    ordered = sorted(values)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]


def write(web: Web, runs: list[Run], *, every_seconds: float, rounds: int) -> subprocess.Popen[str]:
    """Another process writes one event of each run in that time, so many times; it prints how late it was at last."""
    command = [sys.executable, "-m", "tests.bench.writer", str(every_seconds), str(rounds), *(str(r.id) for r in runs)]
    return subprocess.Popen(command, cwd=ROOT, env=web.environment, stdout=subprocess.PIPE, text=True)


class Reader(asyncio.Protocol):
    """As cheap as a reader can be, so that what is measured is the server."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.is_open = False
        self.took_ms: list[float] = []
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        self.is_open = True
        data = self.rest + data
        end = 0
        for found in WRITTEN.finditer(data):
            self.took_ms.append((now - int(found[1])) / 1e6)
            end = found.end()
        self.rest = data[max(end, len(data) - 60) :]


def stream_of(run: Run) -> bytes:
    return f"GET /api/stream/{run.id} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def socket_of(run: Run) -> bytes:
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    return f"GET /ws/runs/{run.id}/ HTTP/1.1\r\nHost: 127.0.0.1\r\n{upgrade}\r\n{key}\r\n\r\n".encode()


async def subscribe(web: Web, requests: list[bytes]) -> list[Reader]:
    loop = asyncio.get_running_loop()
    readers = [Reader(request) for request in requests]
    for reader in readers:
        await loop.create_connection(lambda reader=reader: reader, "127.0.0.1", web.port)
    async with asyncio.timeout(120):
        while not all(reader.is_open for reader in readers):
            await asyncio.sleep(0.05)
    await asyncio.sleep(2)  # what each reads at first
    return readers


async def measure(web: Web, requests: list[bytes], runs: list[Run], **pace) -> list[float]:
    """Milliseconds of every event at every reader; fails when one is missing."""
    readers = await subscribe(web, requests)
    writer = await asyncio.to_thread(write, web, runs, **pace)
    assert await asyncio.to_thread(writer.wait, 300) == 0
    async with asyncio.timeout(60):
        while any(len(reader.took_ms) < pace["rounds"] for reader in readers):
            await asyncio.sleep(0.05)
    for reader in readers:
        assert len(reader.took_ms) == pace["rounds"]
        reader.transport.abort()
    return [took for reader in readers for took in reader.took_ms]


FLOOR = """
import socket, sys, time
from uuid import UUID
import django
django.setup()
from django.db import transaction
from runs.models import Run
wire = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
for _ in range(200):
    began = time.monotonic_ns()
    with transaction.atomic():
        Run.objects.filter(pk=UUID(sys.argv[1])).update(last_seq=0)
    wire.sendall(b'"message":"%d"\\n' % began)
    time.sleep(0.01)
"""


def floor(web: Web, run: Run) -> list[float]:
    """A bare commit in another process that is told to this one by a socket of its own: nothing can be faster."""
    took: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        writer = subprocess.Popen(
            [sys.executable, "-c", FLOOR, str(run.id), str(server.getsockname()[1])], cwd=ROOT, env=web.environment
        )
        wire, _ = server.accept()
        with wire:
            while data := wire.recv(65_536):
                now = time.monotonic_ns()
                took += [(now - int(found)) / 1e6 for found in WRITTEN.findall(data)]
        writer.wait(60)
    return took


MANY_FLOOR = """
import asyncio, sys, time
readers, runs, rounds = map(int, sys.argv[1:])
there = []

async def main():
    server = await asyncio.start_server(lambda _, writer: there.append(writer), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    while len(there) < readers:
        await asyncio.sleep(0.01)
    due = time.monotonic()
    for number in range(rounds * runs):
        await asyncio.sleep(due - time.monotonic())
        due += 1 / runs
        line = b'"message":"%d"\\n' % time.monotonic_ns()
        for writer in there[number % runs :: runs]:
            writer.write(line)
    await asyncio.sleep(1)

asyncio.run(main())
"""


def bare_server() -> subprocess.Popen[str]:
    arguments = [str(number) for number in (SUBSCRIBERS, RUNS, ROUNDS)]
    return subprocess.Popen([sys.executable, "-c", MANY_FLOOR, *arguments], stdout=subprocess.PIPE, text=True)


async def floor_of_many() -> list[float]:
    """The same lines at the same pace to as many bare sockets, from a process that does nothing else."""
    server = bare_server()
    port = int(server.stdout.readline())
    readers = [Reader(b"") for _ in range(SUBSCRIBERS)]
    for reader in readers:
        await asyncio.get_running_loop().create_connection(lambda reader=reader: reader, "127.0.0.1", port)
    assert await asyncio.to_thread(server.wait, 100) == 0
    return [took for reader in readers for took in reader.took_ms]


def cpu_seconds(web: Web) -> float:
    times = psutil.Process(web.process.pid).cpu_times()
    return times.user + times.system


def table(title: str, rows: list[tuple[str, list[float]]], capsys) -> None:
    with capsys.disabled():
        print(f"\n| {title} | p50 ms | p99 ms | max ms | n |\n| --- | ---: | ---: | ---: | ---: |")
        for name, took in rows:
            p50, p99 = quantiles(took)
            print(f"| {name} | {p50:.1f} | {p99:.1f} | {max(took):.1f} | {len(took)} |")


@pytest.mark.parametrize("wakes", ["embedded default", "Redis"])
def test_an_event_reaches_a_subscriber(make_web: MakeWeb, make_run: MakeRun, request, capsys, wakes: str):
    settings = {} if wakes == "embedded default" else {"REDIS_URL": request.getfixturevalue("redis").url}
    web = make_web(**settings).start()
    rows = [("floor: a commit, told by a socket", floor(web, make_run()))]
    pace = {"every_seconds": 0.05, "rounds": 200}
    for name, door in (("event stream", stream_of), ("WebSocket", socket_of)):
        run = make_run()
        rows.append((name, asyncio.run(measure(web, [door(run)], [run], **pace))))
    table(f"written → read, {wakes}", rows, capsys)
    wanted = 60 if wakes == "embedded default" else 15
    assert all(quantiles(took)[0] <= wanted for _, took in rows)


@pytest.mark.parametrize("door", [stream_of, socket_of], ids=["event streams", "WebSockets"])
@pytest.mark.parametrize("wakes", ["embedded default", "Redis"])
def test_a_thousand_subscribers_hold(make_web: MakeWeb, make_run: MakeRun, request, capsys, wakes: str, door):
    settings = {} if wakes == "embedded default" else {"REDIS_URL": request.getfixturevalue("redis").url}
    web = make_web(**settings).start()
    runs = [make_run() for _ in range(RUNS)]
    requests = [door(runs[number % RUNS]) for number in range(SUBSCRIBERS)]
    before = web.memory_mb(), cpu_seconds(web), time.monotonic()
    took = asyncio.run(measure(web, requests, runs, every_seconds=1.0, rounds=ROUNDS))
    cpu = (cpu_seconds(web) - before[1]) / (time.monotonic() - before[2])
    bare = asyncio.run(floor_of_many())
    name = f"{SUBSCRIBERS:,} {request.node.callspec.id}, 1 event/s each"
    table(
        f"{name}; {cpu:.0%} CPU, {web.memory_mb() - before[0]:.0f} MB more",
        [("floor: bare sockets", bare), ("written → read", took)],
        capsys,
    )
    assert quantiles(took)[1] - quantiles(bare)[1] <= 500
