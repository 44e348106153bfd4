"""A small HTTP server that says what a test tells it to, well or badly. Loopback, a free port, one thread a request."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """A request as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    content: bytes
    client_port: int

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass(frozen=True)
class Reply:
    """What to answer: `body` as JSON, or as it is when it is bytes, or in pieces when it is an iterable of bytes."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_short_by: int = 0  # announce that many bytes more than are sent, then hang up
    hang_up: bool = False  # close the connection without a word
    silent: bool = False  # say nothing until the test is over
    raw: Iterable[bytes] | None = None  # these pieces are the whole answer, head and all, then hang up


Script = Reply | Callable[[Request], Reply]


class StubServer:
    """Answers from its script; keeps every request. Paths are regular expressions; the latest rule that fits wins."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.over = threading.Event()
        self._rules: list[tuple[str, re.Pattern[str], list[Script]]] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # readers that leave are expected
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def on(self, method: str, path: str, *script: Script) -> None:
        """Answer `method path` with each of `script` in turn, and with the last for ever."""
        with self._lock:
            self._rules.append((method, re.compile(path), list(script)))

    def count(self, method: str, path: str = ".*") -> int:
        return sum(r.method == method and re.fullmatch(path, r.path) is not None for r in self.requests)

    def stop(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(20)

    def _reply_to(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            for method, path, script in reversed(self._rules):
                if method == request.method and path.fullmatch(request.path):
                    step = script.pop(0) if len(script) > 1 else script[0]
                    break
            else:
                return Reply(404, {"id": "not_found", "message": f"no rule for {request.method} {request.path}"})
        return step(request) if callable(step) else step

    def _handler(stub) -> type[BaseHTTPRequestHandler]:  # noqa: N805  `self` is the handler inside
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                content = self.rfile.read(length)
                request = Request(self.command, self.path, headers, content, self.client_address[1])
                reply = stub._reply_to(request)
                if reply.silent:
                    stub.over.wait(60)
                if reply.hang_up or reply.silent:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                if reply.raw is not None:
                    self.close_connection = True
                    self._write(reply.raw)
                    return
                self._send(reply)

            def _send(self, reply: Reply) -> None:
                pieces, length = _pieces(reply.body)
                self.send_response(reply.status)
                if not isinstance(reply.body, (bytes, type(None))):
                    self.send_header("Content-Type", reply.headers.get("Content-Type", "application/json"))
                for name, value in reply.headers.items():
                    if name != "Content-Type" or isinstance(reply.body, (bytes, type(None))):
                        self.send_header(name, value)
                if length is None or reply.cut_short_by:
                    self.close_connection = True
                if length is not None:
                    self.send_header("Content-Length", str(length + reply.cut_short_by))
                self.end_headers()
                self._write(pieces)

            def _write(self, pieces: Iterable[bytes]) -> None:
                try:
                    for piece in pieces:
                        self.wfile.write(piece)
                        self.wfile.flush()
                except ConnectionError:
                    self.close_connection = True
                finally:
                    if isinstance(pieces, Generator):
                        pieces.close()  # a script's `finally` tells that the reader has left

            do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815  the base class looks for these

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class names it so
                pass

        return Handler


def _pieces(body: Any) -> tuple[Iterable[bytes], int | None]:
    if body is None:
        return [], 0
    if isinstance(body, bytes):
        return [body], len(body)
    if isinstance(body, (dict, list, str, int)):
        content = json.dumps(body).encode()
        return [content], len(content)
    return body, None
