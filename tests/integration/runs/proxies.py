"""What can be between a server and its readers: proxies that cut idle connections, and such that hold things back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from threading import Thread

READ_BYTES = 65_536
Passing = Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]]


def at_once(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    return parts


def in_blocks(size: int) -> Passing:
    """Only full blocks, and what is left when the server closes."""

    async def passing(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        held = b""
        async for part in parts:
            held += part
            full = len(held) // size * size
            if full:
                yield held[:full]
                held = held[full:]
        yield held

    return passing


class Proxy:
    """On `port`, before a server on another. What the server sends goes through `passing`. A connection on which the
    server says nothing for `idle_seconds`, or that is older than `age_seconds`, is cut."""

    def __init__(self, upstream: int, passing: Passing, idle_seconds: float, age_seconds: float) -> None:
        self.upstream, self.passing = upstream, passing
        self.idle_seconds, self.age_seconds = idle_seconds, age_seconds
        self.port = 0
        self.cuts = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            writer.transport.abort()
            return
        work = [
            asyncio.ensure_future(pass_on(parts(reader, None), to_server)),
            asyncio.ensure_future(pass_on(self.passing(parts(from_server, self.idle_seconds)), writer)),
        ]
        done, _ = await asyncio.wait(work, timeout=self.age_seconds, return_when=asyncio.FIRST_COMPLETED)
        if not done or any(isinstance(task.exception(), TimeoutError) for task in done):
            self.cuts += 1
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        to_server.transport.abort()
        writer.close()


async def parts(reader: asyncio.StreamReader, idle_seconds: float | None) -> AsyncIterator[bytes]:
    """What comes. Raises TimeoutError when nothing does."""
    while True:
        async with asyncio.timeout(idle_seconds):
            part = await reader.read(READ_BYTES)
        if not part:
            return
        yield part


async def pass_on(parts: AsyncIterator[bytes], writer: asyncio.StreamWriter) -> None:
    async for part in parts:
        writer.write(part)
        await writer.drain()


@contextmanager
def proxied(
    upstream: int, *, passing: Passing = at_once, idle_seconds: float = 60, age_seconds: float = 60
) -> Iterator[Proxy]:
    """A running proxy, in a thread of its own."""
    proxy = Proxy(upstream, passing, idle_seconds, age_seconds)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(proxy.serve, "127.0.0.1", 0))
    proxy.port = server.sockets[0].getsockname()[1]
    thread = Thread(target=loop.run_forever)
    thread.start()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
