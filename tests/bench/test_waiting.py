"""From the moment a run is over until who waits for that has the answer, with a thousand that wait."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.bench.test_streams import quantiles
from tests.fixtures.databases import Database, own_database
from tests.fixtures.web import ROOT, Web

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]
WAITERS, ENDED, EVERY_SECONDS = 1_000, 60, 0.1
ARRIVAL_SECONDS = 8  # for all of them to be waiting; they wait for 30 s
MOST_MS = 50


class Waiter(asyncio.Protocol):
    """As cheap as a client can be."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.answered_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        address = f"/api/runs/{self.run_id}?wait_for=settled&timeout=30"
        transport.write(f"GET {address} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self.answered_ns = self.answered_ns or time.monotonic_ns()


async def measured(web: Web, ender: subprocess.Popen[str], ids: list[str]) -> list[float]:
    loop = asyncio.get_running_loop()
    waiters = {run_id: Waiter(run_id) for run_id in ids}
    connections = [
        await loop.create_connection(lambda waiter=waiter: waiter, "127.0.0.1", web.port) for waiter in waiters.values()
    ]
    await asyncio.sleep(ARRIVAL_SECONDS)
    assert not [waiter for waiter in waiters.values() if waiter.answered_ns]
    threads = psutil.Process(web.process.pid).num_threads()
    assert threads < 60, f"{threads} threads"
    told, _ = await asyncio.to_thread(ender.communicate, "go\n")
    await asyncio.sleep(1)
    for transport, _ in connections:
        transport.abort()
    ended = dict(line.split() for line in told.splitlines())
    assert len(ended) == ENDED
    return [(waiters[run_id].answered_ns - int(at)) / 1e6 for run_id, at in ended.items()]


@pytest.mark.parametrize("on", ["sqlite", "postgresql"])
def test_an_answer_that_was_waited_for_comes_at_once(request: pytest.FixtureRequest, tmp_path: Path, on: str):
    database: Database
    if on == "sqlite":
        database = request.getfixturevalue("migrated_database")
    else:
        database = own_database(request.getfixturevalue("postgres"), tmp_path / "var")
    web = Web(tmp_path / "web.log", **database.environment).start()
    try:
        command = [sys.executable, "-m", "tests.bench.ender", str(WAITERS), str(ENDED), str(EVERY_SECONDS)]
        ender = subprocess.Popen(
            command, cwd=ROOT, env=web.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        ids = ender.stdout.readline().split()
        assert web.get(f"/api/runs/{ids[0]}").status_code == 200  # the first request loads what all need
        took_ms = asyncio.run(measured(web, ender, ids))
    finally:
        web.stop()
    p50, p99 = quantiles(took_ms)
    print(f"{WAITERS:,} wait, on {on}: answered {p50:.1f} ms (p50), {p99:.1f} ms (p99) after the change")
    print(*(round(ms) for ms in took_ms))
    assert min(took_ms) > -MOST_MS, "all were answered"
    assert p99 < MOST_MS
