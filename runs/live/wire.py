"""What the ASGI applications beside Django share: reading a request, answering it, noticing that its client left."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from pools.fleet_log import HIGHEST_CURSOR
from pools.problems import CONTENT_TYPE, Problem
from runs.origins import is_allowed_host

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


def header(scope: Scope, name: bytes) -> str:
    """A request header's value; empty when it is absent."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name), "")


def query_of(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))


def number(text: str | None, field: str, default: int, *, least: int = 0, most: int = HIGHEST_CURSOR) -> int:
    """A whole number of the query. Raises Problem that names the field."""
    if text is None:
        return default
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
    if value is None or not least <= value <= most:
        upper = f" to {most}" if most < HIGHEST_CURSOR else " or more"
        raise Problem.field(field, f"It is {text[:40]!r}; it must be a whole number, {least}{upper}.")
    return value


def require_host(scope: Scope) -> None:
    """As Django does: the site does not answer to names that are not its own. Raises Problem."""
    if not is_allowed_host(header(scope, b"host")):
        raise Problem(400, "The site does not answer to this host name (ALLOWED_HOSTS).")


async def answer(
    send: Send, status: int, body: bytes, content_type: str, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """A whole answer at once."""
    start: Headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


async def answer_json(send: Send, data: Mapping[str, Any]) -> None:
    await answer(send, 200, json.dumps(data).encode(), "application/json", [(b"cache-control", b"no-store")])


async def answer_problem(send: Send, problem: Problem) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in problem.headers().items()]
    await answer(send, problem.status, json.dumps(problem.as_json()).encode(), CONTENT_TYPE, headers)


async def until_gone(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
        pass
