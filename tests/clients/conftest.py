"""A server that answers as a test has written down, over real sockets; and both clients, used in the same way."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from arcade_client import Arcade, AsyncArcade, AsyncPlan, AsyncPool, AsyncRun, AsyncSandbox, AsyncWebhook

RUN = {
    "run_id": "5d0e5d4c-9d2a-4f0b-8c0e-7f2b1a3c4d5e",
    "state": "running",
    "status": "running",
    "game": "snake",
    "mode": "warm",
    "created_at": "2026-11-27T10:00:00Z",
    "timings": {"acquire_ms": 5, "total_ms": 40},
}


@dataclass(frozen=True)
class Reply:
    """One answer. `is_cut`: the connection is closed after what there is of it, which may be nothing, and after
    `held_seconds`. `each_seconds`: so long it takes from one byte to the next."""

    status: int = 0
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    is_cut: bool = False
    held_seconds: float = 0
    each_seconds: float = 0


def reply(body: Any, status: int = 200, **headers: str) -> Reply:
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json"} | said)


def problem(status: int, code: str = "", **fields: Any) -> Reply:
    body = {"status": status, "code": code, "detail": "It can't be done.", "remedy": "Do something else."} | fields
    after = fields.get("retry_after_seconds")
    return reply(body, status, **({} if after is None else {"Retry-After": str(after)}), X_Request_ID="order-7")


def cut() -> Reply:
    """No answer: the connection is closed."""
    return Reply(is_cut=True)


def stream(*lines: str, is_cut: bool = False) -> Reply:
    return Reply(200, "".join(f"{line}\n" for line in lines).encode(), {"Content-Type": "text/event-stream"}, is_cut)


def line(seq: int, kind: str = "log", **data: Any) -> str:
    """A run's event in a stream."""
    event = {"seq": seq, "kind": kind, "level": "info", "message": f"line {seq}", "data": data, "at": RUN["created_at"]}
    return f"id: {seq}\nevent: {kind}\ndata: {json.dumps(event)}\n"


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Script:
    """Answers with the replies that it was given, one after the other, and the last one again and again."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.asked: list[Asked] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.is_over = threading.Event()
        self._lock = threading.Lock()

    def says(self, *replies: Reply) -> None:
        self.replies = list(replies)

    def next_for(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                given = script.next_for(Asked(self.command, self.path, headers, body))
                self.close_connection = True
                if not given.status:
                    script.is_over.wait(given.held_seconds)
                    return
                self.send_response(given.status)
                for name, value in given.headers.items():
                    self.send_header(name, value)
                # A body that is shorter than was said is how a cut shows.
                self.send_header("Content-Length", str(len(given.body) + given.is_cut))
                self.send_header("Connection", "close")
                self.end_headers()
                if given.each_seconds:
                    with suppress(OSError):  # the client has had enough
                        for byte in given.body:
                            self.wfile.write(bytes([byte]))
                            script.is_over.wait(given.each_seconds)
                else:
                    self.wfile.write(given.body)
                script.is_over.wait(given.held_seconds)

            do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815  as http.server wants them

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@pytest.fixture
def script() -> Iterator[Script]:
    """`script.says(reply(…), cut(), …)`; `script.asked` is what it was asked."""
    script = Script()
    thread = threading.Thread(target=script.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield script
    script.is_over.set()
    script.server.shutdown()
    script.server.server_close()
    thread.join()


DRESSED = (AsyncRun, AsyncPool, AsyncPlan, AsyncWebhook, AsyncSandbox)


class Blocking:
    """The asyncio client, used as the other one: each call is run to its end."""

    def __init__(self, target: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._target, self._loop = target, loop

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        return self._blocking(value) if inspect.ismethod(value) else value

    def _blocking(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            result = method(*arguments, **named)
            if inspect.isasyncgen(result):
                return self._each(result)
            return self._dressed(self._loop.run_until_complete(result))

        return call

    def _each(self, found: Any) -> Iterator[Any]:
        try:
            while True:
                yield self._dressed(self._loop.run_until_complete(anext(found)))
        except StopAsyncIteration:
            return
        finally:
            self._loop.run_until_complete(found.aclose())

    def _dressed(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._dressed(each) for each in value]
        return Blocking(value, self._loop) if isinstance(value, DRESSED) else value


MakeClient = Callable[..., Any]


@pytest.fixture(params=["threads", "asyncio"])
def client_of(request: pytest.FixtureRequest) -> Iterator[MakeClient]:
    """`client_of(url, key=…)`: either client, which does not pause between tries unless it is told to by the server."""
    made: list[Any] = []
    loop = asyncio.new_event_loop()

    def make(url: str, key: str | None = None, timeout: float = 20, chance: float = 0.0) -> Any:
        client: Any = Arcade(url, key, timeout)
        if request.param == "asyncio":
            client.close()
            client = AsyncArcade(url, key, timeout)
        client.site = replace(client.site, chance=lambda: chance)
        made.append(client if isinstance(client, Arcade) else Blocking(client, loop))
        return made[-1]

    yield make
    for client in made:
        client.close()
    loop.close()


@pytest.fixture
def client(client_of: MakeClient, script: Script) -> Any:
    """Either client of the scripted server."""
    return client_of(script.url)
