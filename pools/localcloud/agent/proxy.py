"""`/proxy/{port}/…`: what a process of the sandbox answers on that port."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import h11
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from pools.localcloud.agent.sandbox import Sandbox

TIMEOUT_SECONDS = 60.0
READ_BYTES = 256 * 1024
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
RAW = re.compile(rb"/proxy/[^/?]*([^?]*)")
KEPT_BACK = {  # between us and our client only, or ours to say
    b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"te", b"trailer", b"upgrade", b"expect",
    b"proxy-authorization", b"proxy-authenticate", b"authorization", b"host", b"content-length",
}  # fmt: skip
HOP_BY_HOP = KEPT_BACK - {b"content-length"}
Headers = list[tuple[bytes, bytes]]


class NobodyAnswers(Exception):
    """Nothing listens there, or it hung up in the middle, or it does not speak HTTP."""


@dataclass(slots=True)
class Asked:
    """A request that is passed on; its body is read while it is sent."""

    method: bytes
    target: bytes
    headers: Headers
    request: Request


@dataclass(slots=True)
class Answer:
    """An answer on its way: nothing of it is kept but the piece that is passed on now."""

    connection: h11.Connection
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int = 0
    headers: Headers = field(default_factory=list)

    async def request(self, port: int, asked: Asked) -> None:
        """Send the request, and read the answer's head."""
        own: Headers = [(b"host", b"localhost:%d" % port), (b"connection", b"close")]
        given = asked.request.headers
        if "content-length" in given:
            own.append((b"content-length", given["content-length"].encode()))
        elif "transfer-encoding" in given:
            own.append((b"transfer-encoding", b"chunked"))
        elif asked.method in (b"POST", b"PUT", b"PATCH"):
            own.append((b"content-length", b"0"))
        await self.send(h11.Request(method=asked.method, target=asked.target, headers=own + asked.headers))
        async for piece in asked.request.stream():
            if piece:
                await self.send(h11.Data(data=piece))
        await self.send(h11.EndOfMessage())
        while True:
            happened = await self.next_event()
            if isinstance(happened, h11.Response):
                self.status, self.headers = happened.status_code, list(happened.headers)
                return
            if not isinstance(happened, h11.InformationalResponse):
                raise NobodyAnswers("the connection ended before the answer did")

    async def send(self, event: h11.Event) -> None:
        self.writer.write(self.connection.send(event) or b"")
        await self.writer.drain()

    async def next_event(self) -> object:
        while (happened := self.connection.next_event()) is h11.NEED_DATA:
            self.connection.receive_data(await self.reader.read(READ_BYTES))
        return happened

    async def body(self) -> AsyncIterator[bytes]:
        """The body, piece by piece. One that breaks off, or pauses for too long, ends what is passed on, too."""
        try:
            async with proper_http():
                while True:
                    async with asyncio.timeout(TIMEOUT_SECONDS):
                        happened = await self.next_event()
                    if isinstance(happened, h11.EndOfMessage):
                        return
                    if not isinstance(happened, h11.Data):
                        raise NobodyAnswers("the connection ended before the answer did")
                    yield bytes(happened.data)
        finally:
            self.writer.close()


class Proxy:
    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    async def pass_on(self, request: Request) -> Response:
        port = request.path_params["port"]
        raw = RAW.match(request.scope["raw_path"])  # as it was sent: decoding is the process's business
        target = (raw[1] if raw else b"") or b"/"
        if request.scope["query_string"]:
            target += b"?" + request.scope["query_string"]
        headers = [(name, value) for name, value in request.headers.raw if name.lower() not in KEPT_BACK]
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answer = await self.ask(port, Asked(request.method.encode(), target, headers, request))
        except NobodyAnswers as error:
            raise HTTPException(502, f"Port {port}: {error}") from None
        except TimeoutError:
            raise HTTPException(504, f"Port {port} did not answer within {TIMEOUT_SECONDS:g} seconds") from None
        passing = StreamingResponse(answer.body(), answer.status)
        passing.raw_headers = [(name, value) for name, value in answer.headers if name not in HOP_BY_HOP]
        return passing

    async def ask(self, port: int, asked: Asked) -> Answer:
        """Ask the port that stands for it; else that very port, if a process of this sandbox listens there."""
        if port in self.sandbox.ports:
            with suppress(ConnectionRefusedError):
                return await ask(self.sandbox.ports[port], asked)
        if not await asyncio.to_thread(self.sandbox.listens_itself, port):
            raise NobodyAnswers("nothing listens there")
        try:
            return await ask(port, asked)
        except ConnectionRefusedError:
            raise NobodyAnswers("nothing listens there") from None

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/proxy/{port:int}", self.pass_on, methods=METHODS),
            Route("/proxy/{port:int}/{path:path}", self.pass_on, methods=METHODS),
        ]


async def ask(port: int, asked: Asked) -> Answer:
    """One request on a connection of its own, and the head of the answer; its body is read while it is passed on.
    Raises NobodyAnswers, ConnectionRefusedError."""
    reader, writer = await connect(port)
    answer = Answer(h11.Connection(h11.CLIENT, max_incomplete_event_size=READ_BYTES), reader, writer)
    try:
        async with proper_http():
            await answer.request(port, asked)
            return answer
    except BaseException:
        writer.close()
        raise


@asynccontextmanager
async def proper_http() -> AsyncIterator[None]:
    """What goes wrong with a connection is NobodyAnswers."""
    try:
        yield
    except h11.ProtocolError as error:
        raise NobodyAnswers(f"no proper HTTP: {error}") from None
    except OSError as error:
        raise NobodyAnswers(f"the connection broke: {error.strerror}") from None


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to whoever listens on the loopback. Raises ConnectionRefusedError."""
    for host in ("127.0.0.1", "::1"):  # some servers take `localhost` to mean the second
        try:
            reader, writer = await asyncio.open_connection(host, port)
        except OSError:
            continue
        plain = writer.get_extra_info("socket")
        if plain is not None and hasattr(socket, "TCP_QUICKACK"):
            # A server that sends head and body apart would wait 40 ms for our acknowledgement of the head.
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return reader, writer
    raise ConnectionRefusedError
