"""Each request has an id, its client's or a new one, that its answer brings along (`pools.request_ids`). It may come
with a trace of the client's (`pools.traces`)."""

from __future__ import annotations

from functools import wraps
from typing import Any

from pools import request_ids, traces

NAME = request_ids.HEADER.lower().encode()
TRACEPARENT = traces.HEADER.encode()
STARTS = ("http.response.start", "websocket.accept")


class WithRequestId:
    """The ASGI application, whose answers say which request they are for."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.application(scope, receive, send)
            return
        said = next((value for name, value in scope["headers"] if name == NAME), b"")
        request_id = request_ids.taken(said.decode("latin-1"))

        @wraps(send)  # what lies behind it stays in sight
        async def sent(message: Any) -> None:
            if message["type"] in STARTS:
                others = [header for header in message.get("headers", ()) if header[0].lower() != NAME]
                message = {**message, "headers": [*others, (NAME, request_id.encode())]}
            await send(message)

        traceparent = next((value for name, value in scope["headers"] if name == TRACEPARENT), b"")
        with request_ids.answering(request_id), traces.called_by(traceparent.decode("latin-1")):
            await self.application(scope, receive, sent)
