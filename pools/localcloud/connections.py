"""Connections that can be broken from inside an ASGI app, as networks break them."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

KEEP_ALIVE_SECONDS = 100  # as the edge in front of App Platform has it
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds


class Connections:
    """The open connections of one server, by the address of their other end."""

    def __init__(self) -> None:
        self.open: dict[Any, asyncio.BaseTransport] = {}

    def protocol(self) -> type[asyncio.Protocol]:
        """uvicorn's protocol, which also keeps this book."""
        book = self.open

        class Protocol(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
                book[transport.get_extra_info("peername")] = transport
                super().connection_made(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                book.pop(self.transport.get_extra_info("peername"), None)
                super().connection_lost(exc)

        return Protocol

    async def breaks(self, scope: Scope, receive: Receive, *, reset: bool) -> None:
        """Close the connection of this request; with `reset` its other end gets a reset instead of an end."""
        transport = self.open.get(tuple(scope.get("client") or ()))
        if isinstance(transport, asyncio.Transport):
            if reset:
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                transport.abort()
            else:
                transport.close()
        await gone(receive)


class BrokenOff(Exception):
    """The answer ends here, in the middle, and its connection with it."""


class Breakable(StreamingResponse):
    """An answer whose source may raise BrokenOff: its client gets the head, what came before, and no proper end."""

    def __init__(self, connections: Connections, content: AsyncIterator[str | bytes], *given: Any, **more: Any) -> None:
        super().__init__(content, *given, **more)
        self.connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except BrokenOff:
            await self.connections.breaks(scope, receive, reset=False)


async def gone(receive: Receive, within_seconds: float | None = None) -> None:
    """Return when the client is gone, or that many seconds are over."""

    async def listen() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(listen(), within_seconds)
    except TimeoutError:
        return
