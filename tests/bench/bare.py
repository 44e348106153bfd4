"""The smallest ASGI application there is, for the same servers: what their answers cost whatever is behind them."""

from __future__ import annotations

from typing import Any

BODY = b'{"status": "ok"}'
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())],
}
REST = {"type": "http.response.body", "body": BODY}


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send(START)
        await send(REST)
