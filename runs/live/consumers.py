"""Events over WebSocket: the same lines as everywhere, one JSON text a message."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import Any

from django.utils import timezone

from pools.problems import Problem
from runs import events
from runs.live.backpressure import Flow
from runs.live.database import read
from runs.live.hub import FLEET, Topic, follow, standing
from runs.live.streams import FLEET_LINES, HEARTBEAT_SECONDS, STALL_SECONDS, while_there
from runs.live.wire import Receive, Scope, Send, header, number, query_of
from runs.origins import is_allowed_host, is_own_origin

# 4000 and the HTTP status of the same mistake.
BAD_REQUEST, FORBIDDEN, UNKNOWN = 4400, 4403, 4404
OVER = 1000


class Refused(Exception):
    """The socket is closed with `code`; a message before that says why."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code


async def nothing_here(receive: Receive, send: Send) -> None:
    """At any other address."""
    await _accept(receive, send)
    await _refuse(send, Refused(UNKNOWN, "There is nothing at this address."))


async def event_socket(scope: Scope, receive: Receive, send: Send, topic: Topic) -> None:
    """`/ws/runs/{run_id}/?after=N` and `/ws/orchestrator/?after=N`: all lines beyond N, until the run's end."""
    # A browser sees a close code only after the socket was accepted.
    await _accept(receive, send)
    try:
        _require_own_page(scope)
        cursor = await _cursor(scope, topic)
    except Refused as refused:
        await _refuse(send, refused)
        return
    await while_there(_write(send, topic, cursor), receive)
    await send({"type": "websocket.close", "code": OVER})


async def _accept(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})


async def _refuse(send: Send, refused: Refused) -> None:
    text = json.dumps({"kind": "error", "status": refused.code - 4000, "detail": str(refused)})
    await send({"type": "websocket.send", "text": text})
    await send({"type": "websocket.close", "code": refused.code, "reason": str(refused)})


def _require_own_page(scope: Scope) -> None:
    """Scripts of other sites, and of games, do not read along. A program sends no Origin."""
    origin, host = header(scope, b"origin"), header(scope, b"host")
    if not is_allowed_host(host) or (origin and not is_own_origin(origin, host)):
        raise Refused(FORBIDDEN, "Sockets are opened by this site's own pages, or by programs that send no Origin.")


async def _cursor(scope: Scope, topic: Topic) -> int:
    now = await read(standing, topic)
    if now is None:
        raise Refused(UNKNOWN, "There is no such run.")
    beginning = max(0, now.last_seq - FLEET_LINES) if topic is FLEET else 0
    try:
        return number(query_of(scope).get("after"), "after", beginning)
    except Problem as problem:
        raise Refused(BAD_REQUEST, problem.detail) from None


async def _write(send: Send, topic: Topic, cursor: int) -> None:
    is_first = True
    with Flow(send) as flow:
        async with aclosing(follow(topic, cursor, heartbeat_seconds=HEARTBEAT_SECONDS)) as batches:
            async for lines in batches:
                for line in lines:
                    await flow.ready(STALL_SECONDS)
                    await send({"type": "websocket.send", "text": line.json})
                if not lines and not is_first:
                    await flow.ready(STALL_SECONDS)
                    await send({"type": "websocket.send", "text": _heartbeat()})
                is_first = False


def _heartbeat() -> str:
    beat: dict[str, Any] = {"kind": "heartbeat", "at": events.moment(timezone.now())}
    return json.dumps(beat)
