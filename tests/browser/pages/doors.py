"""A log behind three doors as the product has them, each of which can be broken; and a page that reads it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.fixtures.waiting import until

STATIC = Path(__file__).parents[3] / "static"
PAGE = """<!doctype html><meta charset="utf-8"><title>Reader</title>
<ol id="log"></ol><p id="way"></p><script type="module" src="/reader.js"></script>"""
READER = """
import { follow } from "/static/js/events.js";
const after = Number(new URLSearchParams(location.search).get("after") ?? 0);
window.ways = [];
follow({
  urls: { socket: "/socket", stream: "/stream", poll: "/poll" },
  after,
  onEvent(event) {
    const line = document.createElement("li");
    line.textContent = event.seq;
    document.getElementById("log").append(line);
  },
  onState(name, isLive) {
    if (isLive && window.ways.at(-1) !== name) window.ways.push(name);
    document.getElementById("way").textContent = `${name} ${isLive ? "live" : "waiting"}`;
  },
});
"""


class Doors:
    """`lines` were written. A door that is not `open` refuses; with `cut_after` it drops a reader after so many."""

    def __init__(self) -> None:
        self.lines: list[dict[str, object]] = []
        self.open = {"socket", "stream", "poll"}
        self.cut_after: int | None = None
        self.repeats = False  # each connection also repeats the line before the cursor
        self.streams = self.most_streams = 0  # that are open now, and at any time were
        self.holds_back = False  # the stream opens, but nothing of what it says gets through
        self.url = ""

    def write(self, count: int, kind: str = "log") -> None:
        for _ in range(count):
            seq = len(self.lines) + 1
            self.lines.append(
                {
                    "seq": seq,
                    "kind": kind,
                    "level": "info",
                    "message": f"line {seq}",
                    "data": {},
                    "at": "2026-03-01T12:00:00Z",
                }
            )

    async def after(self, cursor: int, door: str) -> AsyncIterator[dict[str, object]]:
        """The lines from a cursor on, until the door is closed or its patience ends."""
        sent = 0
        cursor = max(0, cursor - 1) if self.repeats else cursor
        while door in self.open and (self.cut_after is None or sent < self.cut_after):
            if cursor < len(self.lines):
                yield self.lines[cursor]
                cursor, sent = cursor + 1, sent + 1
            else:
                await asyncio.sleep(0.01)

    async def socket(self, socket: WebSocket) -> None:
        if "socket" not in self.open:
            await socket.close()
            return
        await socket.accept()
        try:
            async for line in self.after(int(socket.query_params["after"]), "socket"):
                await socket.send_text(json.dumps(line))
            await socket.close(1011)
        except WebSocketDisconnect:
            pass

    async def stream(self, request: Request) -> Response:
        if "stream" not in self.open:
            return PlainTextResponse("closed", 503)

        async def events() -> AsyncIterator[str]:
            while self.holds_back:
                await asyncio.sleep(0.01)
            yield 'event: heartbeat\ndata: {"kind":"heartbeat"}\n\n'
            self.streams += 1
            self.most_streams = max(self.most_streams, self.streams)
            try:
                async for line in self.after(int(request.query_params["after"]), "stream"):
                    yield f"id: {line['seq']}\nevent: {line['kind']}\ndata: {json.dumps(line)}\n\n"
            finally:
                self.streams -= 1

        return StreamingResponse(events(), media_type="text/event-stream")

    async def poll(self, request: Request) -> Response:
        if "poll" not in self.open:
            return PlainTextResponse("closed", 503)
        cursor = int(request.query_params["after"])
        for _ in range(min(int(request.query_params["wait"]), 1) * 50):
            if len(self.lines) > cursor or "poll" not in self.open:
                break
            await asyncio.sleep(0.02)
        return JSONResponse({"events": self.lines[max(0, cursor - self.repeats) :][: self.cut_after]})

    @property
    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/", lambda request: HTMLResponse(PAGE)),
                Route("/reader.js", lambda request: Response(READER, media_type="text/javascript")),
                Mount("/static", StaticFiles(directory=STATIC)),
                WebSocketRoute("/socket", self.socket),
                Route("/stream", self.stream),
                Route("/poll", self.poll),
            ]
        )


@contextmanager
def served() -> Iterator[Doors]:
    """Doors behind a real server on a free port, in a thread of its own."""
    doors = Doors()
    server = uvicorn.Server(uvicorn.Config(doors.application, port=0, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, "the doors are open")
    doors.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield doors
    doors.open.clear()
    server.should_exit = True
    thread.join(20)
