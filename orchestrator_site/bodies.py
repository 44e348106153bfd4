"""How large a request may be, by its address: what is larger is refused at its head, or after so many bytes.

Nothing on this site takes a large body but games, whose proxy has a limit of its own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from functools import wraps
from typing import Any

from pools.problems import CONTENT_TYPE, Problem

Message = MutableMapping[str, Any]

LARGEST_BODY_BYTES = 64_000
# A list's form with hundreds of rows chosen.
LARGEST_ADMIN_BODY_BYTES = 256_000
BODY_SECONDS = 60  # for all of it
GAMES, ADMIN, API = ("/play/", "/api/game/"), "/admin/", "/api/"


class BodyRefused(Exception):
    """413 or 408."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


def largest_body_bytes(path: str) -> int:
    return LARGEST_ADMIN_BODY_BYTES if path.startswith(ADMIN) else LARGEST_BODY_BYTES


class LimitedBodies:
    """The ASGI application, which receives no more than its address takes."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"].startswith(GAMES):
            await self.application(scope, receive, send)
            return
        has_begun = False

        @wraps(send)  # what lies behind it stays in sight
        async def sent(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self.application(scope, self._limited(scope, receive), sent)
        except* BodyRefused as refused:
            if has_begun:  # a stream, which has heard enough
                await send({"type": "http.response.body", "body": b""})
            else:
                await _refuse(scope, send, _first(refused))

    def _limited(self, scope: Any, receive: Any) -> Any:
        most = largest_body_bytes(scope["path"])
        said = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        too_large = BodyRefused(413, f"A request to this address may hold {most // 1000} kB.")
        if said.isdigit() and int(said) > most:
            raise too_large
        came, is_complete, is_due = 0, False, asyncio.get_running_loop().time() + BODY_SECONDS

        async def limited() -> Message:
            nonlocal came, is_complete
            if is_complete:
                return await receive()  # type: ignore[no-any-return]
            try:
                async with asyncio.timeout_at(is_due):
                    message: Message = await receive()
            except TimeoutError:
                raise BodyRefused(408, "The request did not come in time.") from None
            came += len(message.get("body", b""))
            if came > most:
                raise too_large
            is_complete = not message.get("more_body", False)
            return message

        return limited


def _first(error: BaseException) -> BodyRefused:
    """A consumer's tasks fail in groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, BodyRefused)  # noqa: S101  all of the group are
    return error


async def _refuse(scope: Any, send: Any, refused: BodyRefused) -> None:
    if scope["path"].startswith(API):
        body, content_type = json.dumps(Problem(refused.status, refused.detail).as_json()), CONTENT_TYPE
    else:
        body, content_type = refused.detail, "text/plain; charset=utf-8"
    headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body.encode())).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})
