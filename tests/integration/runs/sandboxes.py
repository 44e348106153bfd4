"""A server in the place of a sandbox: it keeps every byte that reaches it, and answers whatever a test says."""

from __future__ import annotations

import socketserver
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from socket import socket
from threading import Thread
from typing import Any
from uuid import uuid4

from django.utils import timezone

from pools.models import Origin, Sandbox, State

Answer = bytes | Callable[[socket], None]


def http(body: bytes = b"", *headers: str, status: str = "200 OK") -> bytes:
    """A whole answer."""
    head = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(head).encode("latin-1") + body


A_GAME = http(b"a game", "Content-Type: text/html")


@dataclass
class Asked:
    """One request as it came."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each == name]


@dataclass
class FakeSandbox:
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    answer: Answer = A_GAME

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Handler(socketserver.StreamRequestHandler):
    server: Any

    def handle(self) -> None:
        sandbox: FakeSandbox = self.server.sandbox
        line = self.rfile.readline().decode("latin-1")
        if not line:
            return
        method, target, _ = line.split(" ")
        headers = []
        while (line := self.rfile.readline().decode("latin-1")) not in ("\r\n", ""):
            name, _, value = line.partition(":")
            headers.append((name.lower(), value.strip()))
        body = self.body(dict(headers))
        if body is None:
            return
        sandbox.asked.append(Asked(method, target, headers, body))
        if callable(sandbox.answer):
            sandbox.answer(self.connection)
        else:
            self.wfile.write(sandbox.answer)

    def body(self, headers: dict[str, str]) -> bytes | None:
        """The whole body, as the agent passes it on; None when it broke off."""
        if headers.get("transfer-encoding") != "chunked":
            length = int(headers.get("content-length", "0"))
            body = self.rfile.read(length)
            return body if len(body) == length else None
        parts = []
        while size := int(self.rfile.readline() or b"-1", 16):
            if size < 0:
                return None
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    sandbox: FakeSandbox

    def handle_error(self, *_: object) -> None:
        """The other side has left: some tests have it so."""


@contextmanager
def fake_sandbox() -> Iterator[FakeSandbox]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.sandbox = FakeSandbox(server.server_address[1])
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.sandbox
        server.shutdown()
        thread.join()


def row(url: str) -> Sandbox:
    """The row of a sandbox in use at that address."""
    now = timezone.now()
    name = f"sandbox-{uuid4().hex[:8]}"
    return Sandbox.objects.create(
        name=name, app_id=name, runtime="python", image="a/b:c", region="syd", size="s", url=url, state=State.IN_USE,
        origin=Origin.COLD, create_code="cold", create_reason="a test", requested_at=now,
        accepted_at=now, acquired_at=now,
    )  # fmt: skip
