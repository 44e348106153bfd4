"""Who asks for a game: their body as it comes, and that they have left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, TypeVar

from runs.live.backpressure import TooSlow
from runs.play.notices import TOO_SLOW, Notice, Refused

T = TypeVar("T")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LARGEST_BODY_BYTES = 10_000_000  # the agent holds whole bodies in memory
STALL_SECONDS = 30.0
BODY_SECONDS = 120.0  # for all of it: it keeps one of the game's turns
TOO_LARGE = Notice(413, "Too much at once", f"A request may hold {LARGEST_BODY_BYTES // 1_000_000} MB.")


def header(scope: Scope, name: bytes) -> str:
    """A request header's value; empty when it is absent."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name), "")


class Client:
    """One request's: a part of its body is kept at a time."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        """Raises Refused for a body that says it is too large."""
        length = header(scope, b"content-length")
        if length.isdigit() and int(length) > LARGEST_BODY_BYTES:
            raise Refused(TOO_LARGE)
        self._receive = receive
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)
        self._is_read = True

    async def body(self) -> AsyncIterator[bytes]:
        """Raises Refused when it is too large, or does not come."""
        count, is_due = 0, asyncio.get_running_loop().time() + BODY_SECONDS
        while (part := await self._next_part(is_due)) is not None:
            count += len(part)
            if count > LARGEST_BODY_BYTES:
                raise Refused(TOO_LARGE)
            if part:
                yield part

    async def _next_part(self, is_due: float) -> bytes | None:
        try:
            async with asyncio.timeout_at(min(is_due, asyncio.get_running_loop().time() + STALL_SECONDS)):
                return await self._parts.get()
        except TimeoutError:
            raise Refused(TOO_SLOW) from None

    def drop_the_rest(self) -> None:
        """The game has answered: nobody reads on, and whether the client leaves must still be heard."""
        self._is_read = False
        while not self._parts.empty():
            self._parts.get_nowait()

    async def while_there(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Do it, and stop when the client has left, or takes nothing: None."""
        working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(self._until_gone())
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
        except TooSlow:
            pass
        finally:
            for task in (working, leaving):
                task.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)
        return None

    async def _until_gone(self) -> None:
        is_complete = False
        while (message := await self._receive())["type"] != "http.disconnect":
            if is_complete:
                continue
            await self._put(message.get("body", b""))
            if not message.get("more_body"):
                is_complete = True
                await self._put(None)

    async def _put(self, part: bytes | None) -> None:
        if self._is_read:
            await self._parts.put(part)
