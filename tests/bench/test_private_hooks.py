"""What each private hook buys: the same with it and without it. The figures are in docs/private-hooks.md."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import statistics
import time
from pathlib import Path

import httpx
import pytest
from django.db import connection, connections, transaction
from django_q.brokers.orm import ORM
from django_q.models import OrmQ

from orchestrator_site.cluster.broker import WakingBroker
from tests.fixtures.web import PLAIN, Web

pytestmark = [pytest.mark.bench, pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]
HANDLERS = "tests.bench.handlers"
CLIENTS = 8
SECONDS = 6.0
READERS = 10
STREAMS = 20
TASKS = 100


def serve(tmp_path: Path, application: str, **settings: str) -> Web:
    return Web(tmp_path / f"{application}.log", application=f"{HANDLERS}:{application}", **settings).start()


async def _requests(url: str, path: str, clients: int) -> list[float]:
    took_ms: list[float] = []
    until_seconds = time.monotonic() + SECONDS

    async def ask() -> None:
        async with httpx.AsyncClient(**PLAIN) as client:
            while time.monotonic() < until_seconds:
                began = time.monotonic()
                answer = await client.get(url + path)
                assert answer.status_code == 200, answer.status_code
                took_ms.append((time.monotonic() - began) * 1000)

    await asyncio.gather(*(ask() for _ in range(clients)))
    return took_ms


@pytest.mark.parametrize(("path", "clients"), [("/health/live", 1), ("/", 1), ("/", CLIENTS), ("/api/games", CLIENTS)])
@pytest.mark.parametrize("application", ["in_one_thread", "as_django_does"])
def test_requests(tmp_path: Path, application: str, path: str, clients: int) -> None:
    web = serve(tmp_path, application)
    try:
        asyncio.run(_requests(web.url, path, 1))  # what is made at the first
        took = sorted(asyncio.run(_requests(web.url, path, clients)))
    finally:
        web.kill()
    p50, p99 = statistics.median(took), took[round(0.99 * (len(took) - 1))]
    print(f"\n{application} {path}, {clients} at once: {len(took) / SECONDS:.0f}/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms")


@pytest.mark.parametrize("application", ["with_flow", "without_flow"])
def test_memory_for_readers_that_do_not_read(tmp_path: Path, application: str) -> None:
    web = serve(tmp_path, application)
    before = web.memory_mb()
    sockets = []
    try:
        for _ in range(READERS):
            sock = socket.create_connection(("127.0.0.1", web.port))
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            sockets.append(sock)
        most = 0.0
        for _ in range(30):
            time.sleep(0.1)
            most = max(most, web.memory_mb() - before)
    finally:
        web.kill()
        for sock in sockets:
            sock.close()
    print(f"\n{application}: {READERS} readers of 26 MB each that read nothing take {most:.0f} MB")


def _enqueue(asked: multiprocessing.Queue[float], number: int) -> None:
    connections.close_all()
    broker = WakingBroker("bench")
    time.sleep(0.5)
    for _ in range(number):
        time.sleep(0.05)
        with transaction.atomic():
            broker.enqueue("task")
        asked.put(time.monotonic())
    connections.close_all()


@pytest.mark.parametrize("kind", ["waking", "polling"])
def test_a_task_is_fetched(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its commit in another process until it is fetched; Django-Q's own broker looks every 0.2 s."""
    monkeypatch.setattr("django_q.conf.Conf.POLL", 0.2 if kind == "polling" else 0)
    broker = WakingBroker("bench") if kind == "waking" else ORM("bench")
    broker.dequeue()
    asked: multiprocessing.Queue[float] = multiprocessing.get_context("fork").Queue()
    connection.close()
    other = multiprocessing.get_context("fork").Process(target=_enqueue, args=(asked, TASKS))
    other.start()
    fetched: list[float] = []
    while len(fetched) < TASKS:
        tasks = broker.dequeue() or []
        fetched += [time.monotonic()] * len(tasks)
    other.join(20)
    began = [asked.get(timeout=5) for _ in range(TASKS)]
    took = sorted((done - at) * 1000 for at, done in zip(began, fetched, strict=True))
    OrmQ.objects.all().delete()
    print(f"\n{kind}: p50 {statistics.median(took):.1f} ms, p99 {took[round(0.99 * (TASKS - 1))]:.1f} ms")
