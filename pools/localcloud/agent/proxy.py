"""`/proxy/{port}/…`: what a process of the sandbox answers on that port.

It is passed on as the images' agent does it, whose client reads whole bodies and unpacks what it can: the answer loses
its `content-encoding` and keeps the length of what was packed. So a body that was packed breaks off for whoever asked.
"""

from __future__ import annotations

import asyncio
import socket
import tempfile
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import IO, Any
from urllib.parse import quote, urlsplit

import h11
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pools.localcloud.agent.refusals import Refusal, Unforeseen
from pools.localcloud.agent.sandbox import Sandbox
from pools.localcloud.connections import Breakable, BrokenOff, Connections

TIMEOUT_SECONDS = 60.0
READ_BYTES = 256 * 1024
IN_MEMORY_BYTES = 1024**2  # of a body; the rest goes to the disk until it is whole
MOST_BYTES = 1024**3  # a container's memory, which the images' agent keeps bodies in
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]
HIGHEST_PORT = 65535
KEPT_BACK = {b"host", b"authorization", b"content-length", b"connection", b"transfer-encoding"}
DROPPED = {b"transfer-encoding", b"content-encoding", b"connection"}
BODILESS = {204, 304}
CLIENTS_OWN = {b"accept": b"*/*", b"accept-encoding": b"gzip, deflate", b"user-agent": b"python-httpx"}
PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
NOT_IN_PATH, NOT_IN_QUERY = ' "#<>?`{}', ' "#<>'
Headers = list[tuple[bytes, bytes]]


class NobodyAnswers(Exception):
    """Nothing listens there."""


@dataclass(slots=True)
class Asked:
    """A request that is passed on; its body is read while it is sent."""

    method: bytes
    target: bytes
    headers: Headers
    request: Request


@dataclass(slots=True)
class Answer:
    """An answer on its way."""

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
                raise Unforeseen

    async def send(self, event: h11.Event) -> None:
        self.writer.write(self.connection.send(event) or b"")
        await self.writer.drain()

    async def next_event(self) -> object:
        """The next one. Raises TimeoutError: what counts is each wait, not the whole."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while (happened := self.connection.next_event()) is h11.NEED_DATA:
                self.connection.receive_data(await self.reader.read(READ_BYTES))
        return happened

    async def body(self) -> AsyncIterator[bytes]:
        """The body, piece by piece. Raises Unforeseen for one that breaks off."""
        while not isinstance(happened := await self.next_event(), h11.EndOfMessage):
            if not isinstance(happened, h11.Data):
                raise Unforeseen
            yield bytes(happened.data)


@dataclass(slots=True)
class Kept:
    """A body that has come in whole, as the client unpacked it, and the length that was said of it."""

    said: int | None
    size: int = 0
    file: IO[bytes] = field(default_factory=partial(tempfile.SpooledTemporaryFile, IN_MEMORY_BYTES))

    def add(self, piece: bytes) -> None:
        self.size += self.file.write(piece)
        if self.size > MOST_BYTES:
            raise Unforeseen

    async def pieces(self) -> AsyncIterator[bytes]:
        """What a server sends of it that was told another length: nothing beyond that, and no proper end."""
        with self.file:
            if self.said is not None and self.size > self.said:
                raise BrokenOff
            while piece := self.file.read(READ_BYTES):
                yield piece
            if self.said is not None and self.size < self.said:
                raise BrokenOff


class Proxy:
    def __init__(self, sandbox: Sandbox, connections: Connections) -> None:
        self.sandbox, self.connections = sandbox, connections

    async def pass_on(self, request: Request) -> Response:
        given = request.path_params["port"]
        if not given.isdecimal() or int(given) > HIGHEST_PORT:
            raise Refusal.of_field("port", "must be a port's number", where="path")
        port = int(given)
        target = target_of(request.path_params["path"], request.scope["query_string"].decode("latin-1"))
        asked = Asked(request.method.encode(), target.encode(), forwarded(request.headers.raw), request)
        try:
            answer = await self.ask(port, asked)
            async with proper_http(answer.writer):
                kept = await keep(answer)
        except NobodyAnswers:
            raise Refusal(502, f"Cannot connect to port {port}") from None
        except TimeoutError:
            raise Refusal(504, f"Timeout connecting to port {port}") from None
        headers = joined(answer.headers)
        if request.method == "HEAD" or answer.status in BODILESS:
            passing = Response(status_code=answer.status)
        else:
            passing = Breakable(self.connections, kept.pieces(), answer.status)
            headers.setdefault(b"content-length", b"%d" % kept.size)
        passing.raw_headers = list(headers.items())
        return passing

    async def ask(self, port: int, asked: Asked) -> Answer:
        """Ask the port that stands for it; else that very port, if a process of this sandbox listens there."""
        if port in self.sandbox.ports:
            with suppress(ConnectionRefusedError):
                return await ask(self.sandbox.ports[port], asked)
        if not await asyncio.to_thread(self.sandbox.listens_itself, port):
            raise NobodyAnswers
        try:
            return await ask(port, asked)
        except ConnectionRefusedError:
            raise NobodyAnswers from None

    def routes(self) -> list[Route]:
        return [Route("/proxy/{port}/{path:path}", self.pass_on, methods=METHODS)]


def target_of(path: str, query: str) -> str:
    """Return what the game is asked for: the decoded path, read as a URL once more. So a `%3F` in it begins a query,
    which comes twice, and a `%23` ends it all."""
    read = urlsplit(f"http://localhost/{path}{'?' if query else ''}{query}").query
    url = f"/{path}{'?' if read else ''}{read}"
    if any(character.isascii() and not character.isprintable() for character in url):
        raise Unforeseen
    plain, mark, asked = url.partition("#")[0].partition("?")
    return escaped(without_dots(plain), NOT_IN_PATH) + mark + escaped(asked, NOT_IN_QUERY)


def without_dots(path: str) -> str:
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == ".." and segments not in ([], [""]):
            segments.pop()
        elif segment not in (".", ".."):
            segments.append(segment)
    return "/".join(segments) if segments != [""] else "/"


def escaped(text: str, unsafe: str) -> str:
    """What spells a character already stays as it is: `%2561` is decoded twice on its way."""
    safe = "".join(character for character in PRINTABLE if character not in unsafe)
    return quote(text, safe=safe)


def forwarded(given: Headers) -> Headers:
    """A request's headers as the client sends them: of two with one name the last, and its own where there is none."""
    kept = {name.lower(): value for name, value in given if name.lower() not in KEPT_BACK}
    return list((CLIENTS_OWN | kept).items())


def joined(given: Headers) -> dict[bytes, bytes]:
    """An answer's headers by their names: two of one name become one with a comma, cookies too."""
    found: dict[bytes, bytes] = {}
    for name, value in given:
        if name not in DROPPED:
            found[name] = found[name] + b", " + value if name in found else value
    return found


async def keep(answer: Answer) -> Kept:
    """Read the whole body, and unpack what can be unpacked. Raises Unforeseen."""
    named = dict(answer.headers)
    unpackers = [UNPACKERS[name]() for name in encodings(named) if name in UNPACKERS]
    said = named.get(b"content-length")
    kept = Kept(int(said) if said is not None else None)
    try:
        async for piece in answer.body():
            kept.add(reduce(lambda packed, unpacker: unpacker.decompress(packed), unpackers, piece))
    except BaseException as error:
        kept.file.close()
        if isinstance(error, zlib.error):
            raise Unforeseen from None
        raise
    kept.file.seek(0)
    return kept


def encodings(headers: dict[bytes, bytes]) -> list[str]:
    """How the body was packed, the last packing first."""
    given = headers.get(b"content-encoding", b"").decode("latin-1")
    return [name.strip().lower() for name in reversed(given.split(","))]


class Inflated:
    """Unpacks `deflate`, which servers send with the zlib wrapping or without it."""

    def __init__(self) -> None:
        self.unpacker = zlib.decompressobj()
        self.is_first = True

    def decompress(self, piece: bytes) -> bytes:
        is_first, self.is_first = self.is_first, False
        try:
            return self.unpacker.decompress(piece)
        except zlib.error:
            if not is_first:
                raise
            self.unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
            return self.unpacker.decompress(piece)


UNPACKERS: dict[str, Any] = {"gzip": lambda: zlib.decompressobj(zlib.MAX_WBITS | 16), "deflate": Inflated}


async def ask(port: int, asked: Asked) -> Answer:
    """One request on a connection of its own, and the head of the answer. Raises ConnectionRefusedError, Unforeseen."""
    reader, writer = await connect(port)
    answer = Answer(h11.Connection(h11.CLIENT, max_incomplete_event_size=READ_BYTES), reader, writer)
    async with proper_http(writer, closes=False):
        await answer.request(port, asked)
    return answer


@asynccontextmanager
async def proper_http(writer: asyncio.StreamWriter, *, closes: bool = True) -> AsyncIterator[None]:
    """What goes wrong with a connection once there is one is Unforeseen. It is closed at the end, or if not `closes`
    only then."""
    is_well = False
    try:
        yield
        is_well = True
    except (h11.ProtocolError, OSError) as error:
        if isinstance(error, TimeoutError):
            raise
        raise Unforeseen from None
    finally:
        if closes or not is_well:
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
