"""A receiver of webhooks on loopback, which behaves as a test says: well, badly, slowly, or not at all."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True)
class Got:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


def answers(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def closes(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def trickles(handler: BaseHTTPRequestHandler) -> None:
    """An answer whose head never ends."""
    for piece in range(200):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" if piece == 0 else b"X-More: 1\r\n")
        handler.wfile.flush()
        time.sleep(0.05)


def floods(handler: BaseHTTPRequestHandler) -> None:
    """An answer without an end."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 65536)


class Receiver:
    """`got` is what came; `then(behaviour, …)` is what it does with the next ones, and with all after the last."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.hangs = threading.Event()  # until it is set
        self._behaviours: list[Behaviour] = [answers(200)]
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.got.append(Got(self.path, headers, body))
                behaviours = receiver._behaviours
                behave = behaviours.pop(0) if len(behaviours) > 1 else behaviours[0]
                try:
                    behave(self)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def then(self, *behaviours: Behaviour) -> None:
        self._behaviours = list(behaviours)

    def hang(self, handler: BaseHTTPRequestHandler) -> None:
        self.hangs.wait(60)
        handler.close_connection = True

    def events(self) -> list[str]:
        return [got.event["type"] for got in self.got]

    def stop(self) -> None:
        self.hangs.set()
        self.server.shutdown()
        self.server.server_close()
