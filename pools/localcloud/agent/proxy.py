"""`/proxy/{port}/…`: what a process of the sandbox answers on that port."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import suppress

import h11
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
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
Headers = list[tuple[bytes, bytes]]


class NobodyAnswers(Exception):
    """Nothing listens there, or it hung up in the middle, or it does not speak HTTP."""


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
        body = await request.body()
        try:
            status, answered, content = await asyncio.wait_for(
                self.fetch(port, request.method.encode(), target, headers, body), TIMEOUT_SECONDS
            )
        except NobodyAnswers as error:
            raise HTTPException(502, f"Port {port}: {error}") from None
        except TimeoutError:
            raise HTTPException(504, f"Port {port} did not answer within {TIMEOUT_SECONDS:g} seconds") from None
        answer = Response(content, status)
        length = next((value for name, value in answered if name == b"content-length"), b"")
        answer.raw_headers = [(name, value) for name, value in answered if name not in KEPT_BACK]
        if request.method != "HEAD" and status not in (204, 304):
            length = b"%d" % len(content)
        if length:
            answer.raw_headers.append((b"content-length", length))
        return answer

    async def fetch(
        self, port: int, method: bytes, target: bytes, headers: Headers, body: bytes
    ) -> tuple[int, Headers, bytes]:
        """Ask the port that stands for it; else that very port, if a process of this sandbox listens there."""
        if port in self.sandbox.ports:
            with suppress(ConnectionRefusedError):
                return await fetch(self.sandbox.ports[port], method, target, headers, body)
        if not await asyncio.to_thread(self.sandbox.listens_itself, port):
            raise NobodyAnswers("nothing listens there")
        try:
            return await fetch(port, method, target, headers, body)
        except ConnectionRefusedError:
            raise NobodyAnswers("nothing listens there") from None

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/proxy/{port:int}", self.pass_on, methods=METHODS),
            Route("/proxy/{port:int}/{path:path}", self.pass_on, methods=METHODS),
        ]


async def fetch(port: int, method: bytes, target: bytes, headers: Headers, body: bytes) -> tuple[int, Headers, bytes]:
    """One request on a connection of its own; the whole answer. Raises NobodyAnswers, ConnectionRefusedError."""
    reader, writer = await connect(port)
    try:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=READ_BYTES)
        own: Headers = [(b"host", b"localhost:%d" % port), (b"connection", b"close")]
        if body or method in (b"POST", b"PUT", b"PATCH"):
            own.append((b"content-length", b"%d" % len(body)))
        sent = connection.send(h11.Request(method=method, target=target, headers=own + headers)) or b""
        sent += (connection.send(h11.Data(data=body)) if body else b"") or b""
        writer.write(sent + (connection.send(h11.EndOfMessage()) or b""))
        answer: h11.Response | None = None
        parts: list[bytes] = []
        while True:
            happened = connection.next_event()
            if happened is h11.NEED_DATA:
                connection.receive_data(await reader.read(READ_BYTES))
            elif isinstance(happened, h11.Response):
                answer = happened
            elif isinstance(happened, h11.Data):
                parts.append(bytes(happened.data))
            elif isinstance(happened, h11.EndOfMessage) and answer is not None:
                return answer.status_code, list(answer.headers), b"".join(parts)
            elif not isinstance(happened, h11.InformationalResponse):
                raise NobodyAnswers("the connection ended before the answer did")
    except h11.ProtocolError as error:
        raise NobodyAnswers(f"no proper HTTP: {error}") from None
    except OSError as error:
        raise NobodyAnswers(f"the connection broke: {error.strerror}") from None
    finally:
        writer.close()


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
