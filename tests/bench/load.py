"""The load, in a process of its own: clicks that become a game's page, and plain requests, over kept connections.

It reads one order as a line of JSON and answers with one: `{"kind": "burst", "ports": [...], "count": 100}`.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

PATIENCE_SECONDS = 60.0
AGAIN_SECONDS = 0.02
BODY = b'{"game":"snake"}'
LOBBY_PATIENCE_SECONDS = 5.0  # for what was launched last
LEAST_HEARD_SECONDS = 3.0  # once a second at the most
PARTS = b'"kind": "parts"'


class Refused(Exception):
    """The answer was not the one that was hoped for."""


class Wire(asyncio.Protocol):
    """One kept connection: a request at a time."""

    def __init__(self) -> None:
        self.came = bytearray()
        self.waiting: asyncio.Future[tuple[int, bytes]] | None = None
        self.is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(Refused("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        self.came += data
        found = parsed(self.came)
        if found is not None and self.waiting is not None and not self.waiting.done():
            self.came.clear()
            self.waiting.set_result(found)

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.waiting


def parsed(came: bytearray) -> tuple[int, bytes] | None:
    """Status and body of a whole answer; None while something is missing."""
    end = came.find(b"\r\n\r\n")
    if end < 0:
        return None
    status, head = int(came[9:12]), bytes(came[:end]).lower()
    if (at := head.find(b"content-length:")) >= 0:
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        body = came[end + 4 :]
        return (status, bytes(body)) if len(body) >= length else None
    if b"transfer-encoding: chunked" in head:
        return (status, bytes(came[end + 4 :])) if came.endswith(b"0\r\n\r\n") else None
    return status, b""


class Site:
    """The web processes, taken in turn as a balancer does."""

    def __init__(self, ports: list[int]) -> None:
        self.ports, self.turn = ports, 0
        self.idle: dict[int, list[Wire]] = {port: [] for port in ports}

    async def ask(self, method: str, path: str, body: bytes = b"", headers: str = "") -> tuple[int, bytes]:
        self.turn += 1
        port = self.ports[self.turn % len(self.ports)]
        idle = self.idle[port]
        wire = None
        while idle and wire is None:
            wire = idle.pop()
            wire = wire if wire.is_open else None
        if wire is None:
            _, wire = await asyncio.get_running_loop().create_connection(Wire, "127.0.0.1", port)
        kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{kind}{headers}\r\n"
        found = await wire.ask(head.encode() + body)
        idle.append(wire)
        return found

    def close(self) -> None:
        for wires in self.idle.values():
            for wire in wires:
                wire.transport.abort()


async def launch(site: Site) -> float:
    """Seconds from the click until the game's page is there. Raises Refused."""
    began = time.perf_counter()
    status, body = await site.ask("POST", "/api/launch/warm", BODY)
    if status != 201:
        raise Refused(f"launch: {status} {body[:200].decode(errors='replace')}")
    run = json.loads(body[body.find(b"{") : body.rfind(b"}") + 1])
    if run["served_by"] == "cold_fallback":
        raise Refused("nothing was ready: this launch is not warm")
    run_id = run["run_id"]
    while True:
        status, _ = await site.ask("GET", f"/play/{run_id}/")
        took = time.perf_counter() - began
        if status == 200:
            return took
        if took > PATIENCE_SECONDS or status not in (404, 409, 425, 503):
            raise Refused(f"page: {status}")
        await asyncio.sleep(AGAIN_SECONDS)


class Tally:
    """What became of the clicks."""

    def __init__(self) -> None:
        self.took_ms: list[float] = []
        self.came_at: list[float] = []
        self.refusals: list[str] = []

    async def note(self, work: Coroutine[Any, Any, float], at: float = 0.0) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                self.took_ms.append(1000 * await work)
                self.came_at.append(at)
        except (Refused, OSError, TimeoutError, ValueError) as error:
            self.refusals.append(f"{type(error).__name__}: {error}")


async def alone(site: Site, tally: Tally, count: int) -> None:
    for _ in range(count):
        await tally.note(launch(site))


async def burst(site: Site, tally: Tally, count: int) -> None:
    await asyncio.gather(*(tally.note(launch(site)) for _ in range(count)))


async def poisson(site: Site, tally: Tally, rate: float, seconds: float, seed: int = 1) -> None:
    """An open loop: clicks come when they come, however long the others take."""
    chance, began, due, clicks = random.Random(seed), time.perf_counter(), 0.0, []
    while (due := due + chance.expovariate(rate)) < seconds:
        await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
        clicks.append(asyncio.create_task(tally.note(launch(site), due)))
    await asyncio.gather(*clicks)


async def pages(
    site: Site,
    tally: Tally,
    path: str,
    count: int,
    at_once: int = 1,
    seconds: float = PATIENCE_SECONDS,
    apart: float = 0.0,
    headers: str = "",
) -> None:
    """The same page so many times, or for that long. What is no success is refused."""
    until = time.perf_counter() + seconds

    async def reader() -> None:
        for _ in range(count // at_once):
            await tally.note(look(site, path, headers))
            if time.perf_counter() > until:
                return
            await asyncio.sleep(apart)

    await asyncio.gather(*(reader() for _ in range(at_once)))


async def look(site: Site, path: str, headers: str = "") -> float:
    """Seconds that a page takes. Raises Refused."""
    began = time.perf_counter()
    status, _ = await site.ask("GET", path, headers=headers)
    if not 200 <= status < 300:
        raise Refused(f"{path}: {status}")
    return time.perf_counter() - began


class OpenLobby(asyncio.Protocol):
    """A lobby that stands open: the server sends its parts when they have changed."""

    def __init__(self, port: int) -> None:
        self.port, self.parts = port, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(
            f"GET /ws/lobby/?seen= HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self.parts += data.count(PARTS)


async def lobbies(site: Site, tally: Tally, count: int, rate: float, seconds: float) -> None:
    """So many open lobbies while games are launched. The launches are tallied; lobbies that hear little are refused."""
    loop, readers = asyncio.get_running_loop(), []
    for number in range(count):
        port = site.ports[number % len(site.ports)]
        _, reader = await loop.create_connection(lambda port=port: OpenLobby(port), "127.0.0.1", port)
        readers.append(reader)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds + LOBBY_PATIENCE_SECONDS):
            await poisson(site, tally, rate, seconds)
    for reader in readers:
        reader.transport.abort()
    deaf = sum(reader.parts < seconds / LEAST_HEARD_SECONDS for reader in readers)
    if deaf:
        tally.refusals.append(f"{deaf} of {count} lobbies heard less than once in {LEAST_HEARD_SECONDS:g} s")


async def obey(order: dict[str, Any]) -> dict[str, Any]:
    kinds = {"alone": alone, "burst": burst, "poisson": poisson, "pages": pages, "lobbies": lobbies}
    site, tally = Site(order.pop("ports")), Tally()
    kind = order.pop("kind")
    began, processor = time.perf_counter(), time.process_time()
    await kinds[kind](site, tally, **order)
    seconds = time.perf_counter() - began
    site.close()
    return {
        "took_ms": tally.took_ms,
        "came_at": tally.came_at,
        "refusals": tally.refusals,
        "seconds": seconds,
        "processor_seconds": time.process_time() - processor,
    }


async def main() -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await obey(json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
