"""Not to write faster than a client reads.

Daphne takes whatever it is given and keeps it in memory until the client reads it. Twisted, below it, tells when its
buffer is full (64 KiB) and when it has room again; this listens there. Other servers block in `send`, and need none.
"""

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from typing import Any

# autobahn's own patience is 1 s: a client that is slower to answer a close would be cut off, and lose the last lines.
CLOSE_SECONDS = 20.0


class TooSlow(Exception):
    """The client has read nothing for too long; its connection was cut."""


class Flow:
    """What the connection behind an ASGI `send` can take. Use it as a context manager around all that is sent."""

    def __init__(self, send: Any) -> None:
        # Daphne's `send` is partial(handle_reply, protocol); there may be wrappers around it.
        protocol: Any = next(iter(getattr(inspect.unwrap(send), "args", ())), None)
        self._is_socket = is_socket = hasattr(protocol, "sendMessage")
        if is_socket:
            protocol.closeHandshakeTimeout = CLOSE_SECONDS
        self._consumer: Any = getattr(protocol, "transport", None) if is_socket else protocol
        self._transport: Any = getattr(getattr(protocol, "channel", protocol), "transport", None)
        self._has_room = asyncio.Event()
        self._has_room.set()

    def __enter__(self) -> Flow:
        if hasattr(self._consumer, "registerProducer"):
            # A socket that was HTTP before still reports to what served that.
            with suppress(Exception):
                self._consumer.unregisterProducer()
            with suppress(RuntimeError):  # it is closed already
                self._consumer.registerProducer(self, True)
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self._consumer, "unregisterProducer"):
            with suppress(Exception):
                self._consumer.unregisterProducer()
        self._hear()

    async def ready(self, seconds: float) -> None:
        """Wait until there is room for more. Raises TooSlow, and cuts the connection, when none comes in time."""
        if self._has_room.is_set():
            return
        try:
            async with asyncio.timeout(seconds):
                await self._has_room.wait()
        except TimeoutError:
            self.cut()
            raise TooSlow from None

    def cut(self) -> None:
        """End the connection at once, with what was written and not read."""
        if self._transport is not None:
            self._transport.abortConnection()

    # What Twisted calls.

    def pauseProducing(self) -> None:  # noqa: N802
        self._has_room.clear()
        if self._is_socket and self._transport is not None:  # pings that were read now would be answered on top
            self._transport.pauseProducing()

    def resumeProducing(self) -> None:  # noqa: N802
        self._has_room.set()
        self._hear()

    def _hear(self) -> None:
        if self._is_socket and self._transport is not None:
            with suppress(Exception):
                self._transport.resumeProducing()

    def stopProducing(self) -> None:  # noqa: N802
        self._has_room.set()
