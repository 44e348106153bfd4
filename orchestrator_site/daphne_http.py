"""Daphne's side of HTTP: nothing of a request is read or kept before somebody wants it.

Daphne begins with an application when a body is complete: in memory or on disk, whatever its size, and parsed as a form
in the event loop. Here the application begins at the headers; the body comes to it in parts while it reads, and an
answer does not wait for the rest. Limits on bodies are therefore the application's (`orchestrator_site.bodies`).

Other servers stream by themselves: nothing outside this module knows of it. See docs/private-hooks.md.
"""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import threading
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from io import BytesIO
from typing import Any
from urllib.parse import unquote

import daphne.http_protocol
import daphne.server
import daphne.ws_protocol
from daphne.utils import HEADER_NAME_RE, INVALID_HEADER_VALUE_BYTES
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.web.http import HTTPChannel

from orchestrator_site.draining import SPREAD_SECONDS, drain
from orchestrator_site.unavailable import TRY_AGAIN_LATER
from orchestrator_site.watching import watch
from pools import clock, request_ids, stopping
from pools.problems import CONTENT_TYPE, Problem
from runs.live.closing import SERVICE_RESTART

LONGEST_LINE_BYTES = 16_384  # of a request's head: browsers and proxies send such cookies
LONGEST_LENGTH_LINE_BYTES = 64
LARGEST_HEAD_BYTES = 32_768
KEEP_ALIVE_SECONDS = 130  # more than proxies keep a connection (60 to 120 s): they close it, or a request would be lost
HEAD_SECONDS = 20  # from a request's first byte to the last of its head
UNREAD_BYTES = 65_536  # of a body, before its sender is stopped
# A client that still sends when its answer is there must be listened to for a while, or it never sees the answer.
LINGER_SECONDS = 2
LINGER_BYTES = 2_000_000
MOST_DESCRIPTORS = 65_536
LARGEST_MESSAGE_BYTES = 4_096  # of a socket: nobody reads what they send
GOODBYE_SECONDS = 2.0  # for a socket's client to answer that it closes

API = b"/api/"

Message = MutableMapping[str, Any]


def error_of(status: int, detail: str, path: bytes, said: str = "") -> tuple[list[tuple[str, str]], bytes]:
    """Headers and body of an answer that no application gives: for programs a problem, as the application's own.
    `said`: the id that the request brought."""
    if path.startswith(API):
        content_type, body = CONTENT_TYPE, json.dumps(Problem(status, detail).as_json()).encode()
    else:
        content_type, body = "text/plain; charset=utf-8", detail.encode() + b"\n"
    headers = [
        ("Content-Type", content_type),
        ("Content-Length", str(len(body))),
        ("X-Content-Type-Options", "nosniff"),
        (request_ids.HEADER, request_ids.taken(said)),
    ]
    return headers, body


class BodyQueue(asyncio.Queue[Message]):
    """What the application receives; its request is told what was read. Of the body, all that came meanwhile is one
    message: a body in chunks of a byte would otherwise cost more than its size, in memory and in the event loop."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.request = request
        self._came = bytearray()

    def add(self, data: bytes) -> None:
        if not self._came:
            self.put_nowait({"type": "http.request", "more_body": True})
        self._came += data

    async def get(self) -> Message:
        self.request.is_wanted()
        message = await super().get()
        if message.get("more_body"):
            message["body"] = bytes(self._came)
            self._came.clear()
            self.request.was_read(len(message["body"]))
        return message

    def forget(self) -> None:
        while not self.empty():
            self.get_nowait()
        self._came.clear()


class Request(daphne.http_protocol.WebRequest):  # type: ignore[misc]
    """A request whose application begins at its headers."""

    channel: Channel

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.is_complete = False
        self.expects_to_be_asked = False
        self._unread_bytes = 0
        self._is_paused = False
        super().__init__(*arguments, **named)

    def gotLength(self, length: int | None) -> None:  # noqa: N802  Twisted's names, here and below
        """The head is complete. `length` is None for a body in chunks."""
        self.content = BytesIO()  # stays empty
        if length != 0:
            self._begin(*self.channel.request_line())

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        if self.application_queue is None or self.finished:
            return
        self._unread_bytes += len(data)
        self.application_queue.add(data)
        if self._unread_bytes > UNREAD_BYTES and not self._is_paused:
            self._is_paused = True
            self.channel.hold_back()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802
        """The body is complete. Forms in it are not parsed, as Twisted would do."""
        self.is_complete = True
        if self.path is None:
            self._begin(command, path, version)
        if self.application_queue is not None and not self.finished:
            self.application_queue.put_nowait({"type": "http.request", "body": b"", "more_body": False})

    def is_wanted(self) -> None:
        """The application reads: whoever asked whether to send may send."""
        if self.expects_to_be_asked and not self._response_started and not self._disconnected:
            self.expects_to_be_asked = False
            self.channel.ask_for_the_body()

    def was_read(self, count: int) -> None:
        self._unread_bytes -= count
        if self._is_paused and self._unread_bytes <= UNREAD_BYTES // 2:
            self._is_paused = False
            if not self._disconnected and not self.finished:
                self.channel.go_on()

    def _begin(self, command: bytes, path: bytes, version: bytes) -> None:
        self.method, self.uri, self.clientproto = command, path, version
        self.path, _, self.query_string = path.partition(b"?")
        if wrong := self._wrong():
            self.basic_error(400, b"Bad Request", wrong)
        elif self.requestHeaders.getRawHeaders(b"Upgrade", [b""])[0].lower() == b"websocket":
            if self.is_complete:
                super().process()
            else:
                self.basic_error(400, b"Bad Request", "A WebSocket begins without a body")
        else:
            self.process()

    def _wrong(self) -> str:
        """What of the head can't be passed on; empty when all is well."""
        for name, values in self.requestHeaders.getAllRawHeaders():
            if not HEADER_NAME_RE.fullmatch(name):
                return "Invalid header name"
            if any(INVALID_HEADER_VALUE_BYTES.intersection(value) for value in values):
                return "Invalid header value"
        if not self.method.isascii():
            return "Invalid method"
        return "" if self.uri.isascii() else "Invalid characters in the address"

    def process(self) -> None:
        """Start the application, as Daphne's `process` and `create_application` do with a body that is complete."""
        host, client = self.channel.getHost(), self.channel.getPeer()
        has_address = hasattr(client, "port")
        self.client_addr = [str(client.host), client.port] if has_address else None
        self.server_addr = [str(host.host), host.port] if has_address else None
        headers = [
            (name.lower(), value)
            for name, values in self.requestHeaders.getAllRawHeaders()
            if b"_" not in name  # CVE-2015-0219
            for value in values
        ]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": self.clientproto.split(b"/")[-1].decode("ascii"),
            "method": self.method.decode("ascii"),
            "path": unquote(self.path.decode("ascii")),
            "raw_path": self.path,
            "root_path": "",
            "scheme": "https" if self.isSecure() else "http",
            "query_string": self.query_string,
            "headers": headers,
            "client": self.client_addr,
            "server": self.server_addr,
        }
        self.application_queue = BodyQueue(self)
        application = self.server.application(
            scope=scope, receive=self.application_queue.get, send=partial(self.server.handle_reply, self)
        )
        self.server.connections[self]["application_instance"] = asyncio.ensure_future(application)

    def finish(self) -> None:
        self._forget_the_body()
        super().finish()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        if not self.is_complete:  # else it was asked for, though its sender did not wait for the answer
            self._forget_the_body()
        super().connectionLost(reason)

    def _forget_the_body(self) -> None:
        """Daphne keeps a request for a second or two after its end."""
        if self.application_queue is not None:
            self.application_queue.forget()

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:
        """As Daphne's own, in our shape."""
        said = self.requestHeaders.getRawHeaders(request_ids.HEADER, [""])[0]
        headers, sent = error_of(status, f"{body.rstrip('.')}.", self.uri, said)
        as_bytes = [(name.encode(), value.encode()) for name, value in headers]
        self.handle_reply({"type": "http.response.start", "status": status, "headers": as_bytes})
        self.handle_reply({"type": "http.response.body", "body": sent})

    def handle_exception(self, exception: BaseException) -> None:
        """An answer that broke off is cut: nobody takes it for the whole. Daphne would begin a second one, fail, and
        never again look after requests that are over."""
        if not self._response_started:
            super().handle_exception(exception)
        elif self.channel is not None:
            self.channel.forceAbortClient()

    def handle_reply(self, message: Message) -> None:
        is_last = not self.is_complete or stopping.is_announced()
        if message["type"] == "http.response.start" and is_last and not self._disconnected:
            # The rest of the body may never be read, and what follows it can't be told from it; or who asks next is to
            # find another process.
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            self.channel.persistent = False
        if message["type"] == "http.response.body" and self.method == b"HEAD":
            message = {**message, "body": b""}  # Twisted leaves out the first part only, as Daphne calls it
        super().handle_reply(message)


class Channel(HTTPChannel):  # type: ignore[misc]
    """A client's connection, with limits that are answered instead of cut."""

    MAX_LENGTH = LONGEST_LINE_BYTES
    totalHeadersSize = LARGEST_HEAD_BYTES  # noqa: N815

    def __init__(self) -> None:
        super().__init__()
        self._head_is_due: Any = None
        self._lingers = False
        self._unheard_bytes = 0
        self._unsent: Any = None

    def request_line(self) -> tuple[bytes, bytes, bytes]:
        """Method, address and version of the request whose head is complete."""
        return self._command, self._path, self._version

    def hold_back(self) -> None:
        self._networkProducer.pauseProducing()
        # It is not the client who is slow. Twisted itself sets the time again where the body ends meanwhile.
        self._savedTimeOut = self.setTimeout(None)

    def go_on(self) -> None:
        if not self._handlingRequest:
            self.setTimeout(self._savedTimeOut)
        if not self._waitingForTransport:
            self._networkProducer.resumeProducing()

    def ask_for_the_body(self) -> None:
        self._send100Continue()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        if self.line_mode and self._head_is_due is None:
            self._head_is_due = self.callLater(HEAD_SECONDS, self._refuse, HTTPStatus.REQUEST_TIMEOUT)
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> Any:  # noqa: N802
        if not line and not self.requests:  # some send an empty line behind a body
            self._head_is_complete()
        if self._receivedHeaderSize + len(line) > self.totalHeadersSize:
            return self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if len(line) > LONGEST_LENGTH_LINE_BYTES and line[:15].lower() == b"content-length:":
            return self._refuse(HTTPStatus.BAD_REQUEST)  # Twisted would hang up on who sends a number of so many digits
        return super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> Any:  # noqa: N802
        is_address = not self.requests and not self._receivedHeaderSize
        if is_address:
            self._path = [*line.split(b" ", 2), b""][1]
            return self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG)
        return self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def allHeadersReceived(self) -> None:  # noqa: N802
        """As Twisted's, but who asks whether to send a body is told so when somebody wants it."""
        self._head_is_complete()
        request = self.requests[-1]
        self.persistent = self.checkPersistence(request, self._version)
        expects = request.requestHeaders.getRawHeaders(b"Expect", [b""])[0].lower()
        request.expects_to_be_asked = expects == b"100-continue" and self._version == b"HTTP/1.1"
        request.gotLength(self.length)

    def _head_is_complete(self) -> None:
        if self._head_is_due is not None and self._head_is_due.active():
            self._head_is_due.cancel()
        self._head_is_due = None

    def rawDataReceived(self, data: bytes) -> None:  # noqa: N802
        if not self._lingers:
            super().rawDataReceived(data)
            return
        self._unheard_bytes += len(data)
        if self._unheard_bytes > LINGER_BYTES:
            self.transport.abortConnection()

    def requestDone(self, request: Request) -> None:  # noqa: N802
        if request is not self.requests[0] or (request.is_complete and not self._waits_to_send()):
            super().requestDone(request)
            return
        del self.requests[0]
        if request.is_complete:
            self._unsent = request
            self.setTimeout(self._savedTimeOut)
        else:
            self._linger()

    def _waits_to_send(self) -> bool:
        """Whether its client has yet to read, before its next request begins: many small ones may have come at once."""
        return bool(self.persistent and self._waitingForTransport)

    def resumeProducing(self) -> None:  # noqa: N802
        """All that was written is sent."""
        super().resumeProducing()
        if self._unsent is not None:
            done, self._unsent = self._unsent, None
            self.requests.append(done)
            super().requestDone(done)

    def _linger(self) -> None:
        """Send what was written and no more; listen a while to who still sends."""
        self._lingers = True
        self.setRawMode()
        self.setTimeout(None)
        self._abortingCall = self.callLater(LINGER_SECONDS, self.forceAbortClient)
        self._networkProducer.resumeProducing()
        with suppress(AttributeError):  # not every transport has halves
            self.transport.loseWriteConnection()

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer for a request that is not understood, unless something else was answered already."""
        self._head_is_complete()
        if self._lingers:
            return
        if self.requests and self.requests[0].startedWriting:
            self.transport.abortConnection()
            return
        path = getattr(self, "_path", b"")  # Twisted forgets it when a request is complete
        headers, body = error_of(status, f"{status.phrase}. {status.description}".strip(), path)
        head = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            *(f"{name}: {value}" for name, value in headers),
            "Connection: close",
        ]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self.persistent = False
        self._linger()

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802
        has_too_many = self._receivedHeaderCount > self.maxHeaders
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if has_too_many else HTTPStatus.BAD_REQUEST)

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        self._head_is_complete()
        super().connectionLost(reason)


def end_politely(server: Any, end: Callable[[], Any]) -> Deferred[Any]:
    """Called when the server is to stop, which Twisted then does when this is through."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C waits for nothing
    draining = asyncio.ensure_future(drain(stop_listening, IsBusy(server)))
    return Deferred.fromFuture(draining).addCallback(lambda _: end_applications(server, end))


def stop_listening() -> None:
    """Take in who is at the door, and nobody else."""
    from twisted.internet import reactor

    for port in reactor.getReaders():
        if IListeningPort.providedBy(port):
            port.doRead()
            port.stopListening()


class IsBusy:
    """Whether something is still answered, or not sent yet. Sockets are told to close, and waited for a moment."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self._asked_at_seconds = 0.0

    def __call__(self) -> bool:
        from twisted.internet import reactor

        now_seconds = clock.monotonic()
        self._asked_at_seconds = self._asked_at_seconds or now_seconds
        waits_for_sockets = now_seconds - self._asked_at_seconds < SPREAD_SECONDS + GOODBYE_SECONDS
        return bool(reactor.getWriters()) or any(
            not details["application_instance"].done()
            for protocol, details in self.server.connections.items()
            if "application_instance" in details and (waits_for_sockets or isinstance(protocol, Request))
        )


def end_applications(server: Any, end: Callable[[], Any]) -> Any:
    """End what still runs. Daphne's own fails at a request that has no application yet, whose head is not complete, and
    then cuts all others off."""
    for request, details in list(server.connections.items()):
        if "application_instance" not in details:
            del server.connections[request]
    return end()


class Socket(daphne.ws_protocol.WebSocketProtocol):  # type: ignore[misc]
    """A WebSocket whose limit is for what clients send: autobahn would keep what we send to it as well."""

    maxMessagePayloadSize: int  # noqa: N815

    def sendClose(self, code: int | None = None, reason: str | None = None) -> None:  # noqa: N802
        """autobahn sends no code that says of a server how it fares."""
        if code in (SERVICE_RESTART, TRY_AGAIN_LATER):
            self.sendCloseFrame(code=code)
        else:
            super().sendClose(code, reason)

    def sendMessage(self, *arguments: Any, **named: Any) -> None:  # noqa: N802
        limit, self.maxMessagePayloadSize = self.maxMessagePayloadSize, 0
        try:
            super().sendMessage(*arguments, **named)
        finally:
            self.maxMessagePayloadSize = limit


class Factory(daphne.http_protocol.HTTPFactory):  # type: ignore[misc]
    protocol = Channel

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self.timeOut = KEEP_ALIVE_SECONDS
        # Read when Daphne makes its factory of sockets, which is next.
        server.websocket_max_message_size = server.websocket_max_frame_size = LARGEST_MESSAGE_BYTES
        server.kill_all_applications = partial(end_politely, server, server.kill_all_applications)

    def startFactory(self) -> None:  # noqa: N802
        """Twisted calls it when the server begins to listen."""
        super().startFactory()
        watch.begin()

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        return protocol


def install() -> None:
    """Before Daphne listens: have it use these, and as many connections as the machine allows."""
    daphne.server.HTTPFactory = Factory
    daphne.ws_protocol.WebSocketFactory.protocol = Socket
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, MOST_DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[0]), most))
