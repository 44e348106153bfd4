"""What is reached into in other people's code is still where it was. Why each is: docs/private-hooks.md.

Each test goes through the library itself, so that it fails when an upgrade moves what is reached into, and names it.
"""

from __future__ import annotations

import asyncio
import inspect
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import Mock

import dj_database_url
import psycopg
import pytest
import uvicorn
from asgiref.testing import ApplicationCommunicator
from daphne.http_protocol import HTTPFactory
from daphne.server import Server
from daphne.ws_protocol import WebSocketProtocol
from django.db.utils import ConnectionHandler
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path
from django_q.cluster import Sentinel
from django_q.status import Stat
from twisted.internet.interfaces import IListeningPort
from twisted.internet.testing import StringTransport
from uvicorn import Config as UvicornConfig
from uvicorn.server import Server as UvicornServer
from uvicorn.server import ServerState

from orchestrator_site import daphne_http
from orchestrator_site.asgi import InOneThread
from orchestrator_site.cluster.broker import WakingBroker
from orchestrator_site.cluster.watchdog import Guard
from orchestrator_site.models import Beat
from orchestrator_site.watching import watch
from pools.localcloud.connections import Connections
from pools.localcloud.main import Server as LocalCloudServer
from runs.live.backpressure import Flow, TooSlow
from tests.fixtures.waiting import until

PATIENCE_SECONDS = 20


def where(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(threading.current_thread().name)


urlpatterns = [path("where/", where)]


# Django.


@pytest.mark.django_db(transaction=True)
@override_settings(ROOT_URLCONF=__name__)
async def test_django_answers_a_request_in_a_thread_of_ours():
    """`BaseHandler._middleware_chain`."""
    scope = {
        "type": "http", "method": "GET", "path": "/where/", "raw_path": b"/where/", "query_string": b"", "headers": [],
        "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    asked = ApplicationCommunicator(InOneThread(), scope)
    asked.input_queue.put_nowait({"type": "http.request", "body": b""})
    assert (await asked.receive_output(PATIENCE_SECONDS))["status"] == 200
    assert (await asked.receive_output(PATIENCE_SECONDS))["body"].startswith(b"request_")
    await asked.wait(PATIENCE_SECONDS)


def test_django_says_what_psycopg_is_to_be_given(postgres_url: str):
    """`DatabaseWrapper.get_connection_params`: without what is Django's own in it, psycopg takes it."""
    handler = ConnectionHandler({"default": dj_database_url.parse(postgres_url)})
    parameters = handler["default"].get_connection_params()
    for of_django in ("cursor_factory", "context"):
        del parameters[of_django]
    with psycopg.connect(**parameters, autocommit=True) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


# Daphne and Twisted.


class Daphne:
    """Daphne, with an application that only keeps the `send` it was given."""

    def __init__(self) -> None:
        self.sends: list[Any] = []
        self.server = Server(self.application, endpoints=["tcp:port=0"])
        self.server.connections = {}

    async def application(self, scope: Any, receive: Any, send: Any) -> None:
        self.sends.append(send)

    async def send(self) -> Any:
        await wait_for(lambda: bool(self.sends))
        return self.sends[0]


async def test_behind_daphnes_send_is_the_connection_of_a_stream():
    """`send.args[0]` is the request, a consumer of Twisted's; `channel.transport` can be cut."""
    daphne, transport = Daphne(), StringTransport()
    connection = HTTPFactory(daphne.server).buildProtocol(None)
    connection.makeConnection(transport)
    connection.dataReceived(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with Flow(await daphne.send()) as flow:
        (request,) = daphne.server.connections
        assert request.producer is flow
        request.producer.pauseProducing()
        with pytest.raises(TooSlow):
            await flow.ready(0.01)
    assert transport.disconnected
    assert request.producer is None


async def test_behind_daphnes_send_is_the_connection_of_a_socket():
    """`send.args[0]` is the protocol, known by `sendMessage`; its `transport` is the consumer."""
    assert callable(WebSocketProtocol.sendMessage)
    daphne, protocol, transport = Daphne(), WebSocketProtocol(), StringTransport()
    protocol.transport = transport
    daphne.server.connections[protocol] = {}
    daphne.server.create_application(protocol, {"type": "websocket"})
    with Flow(await daphne.send()) as flow:
        assert transport.producer is flow
        flow.cut()
    assert transport.disconnected
    assert transport.producer is None


async def test_daphne_begins_at_the_head():
    """`WebRequest.gotLength` when the head is complete, `handleContentChunk`, `requestReceived`; `server.connections`;
    the channel's request line, and its producer, which can be paused."""
    received: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        received.append(scope)
        while (message := await receive())["more_body"]:
            received.append(message["body"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    server = Server(application, endpoints=["tcp:port=0"])
    server.connections = {}
    connection, transport = daphne_http.Factory(server).buildProtocol(None), StringTransport()
    connection.makeConnection(transport)
    connection.dataReceived(b"POST /a?b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n")
    await wait_for(lambda: bool(received))
    assert (received[0]["method"], received[0]["raw_path"], received[0]["query_string"]) == ("POST", b"/a", b"b")
    connection.dataReceived(b"x" * 100_000)
    assert transport.producerState == "paused"
    await wait_for(lambda: transport.producerState == "producing")
    connection.dataReceived(b"x" * 100_000)
    await wait_for(lambda: transport.value().startswith(b"HTTP/1.1 200 OK"))
    assert b"".join(received[1:]) == b"x" * 200_000


async def test_daphne_goes_on_looking_after_requests_when_an_answer_breaks_off():
    """`handle_exception`, called by `application_checker`, which calls itself again at its end."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a part", "more_body": True})
        raise RuntimeError("it broke off")

    server = Server(application, endpoints=["tcp:port=0"])
    server.connections = {}
    connection, transport = daphne_http.Factory(server).buildProtocol(None), StringTransport()
    connection.makeConnection(transport)
    connection.dataReceived(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    (request,) = server.connections
    await wait_for(server.connections[request]["application_instance"].done)
    server.application_checker()
    assert transport.disconnected
    assert b"a part" in transport.value()
    assert b"0\r\n\r\n" not in transport.value(), "nobody takes it for the whole"


async def test_daphne_ends_its_applications_beside_a_request_whose_head_is_not_complete():
    """`kill_all_applications` takes an application of each request for granted."""
    has_ended = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            has_ended.set()

    server = Server(application, endpoints=["tcp:port=0"])
    server.connections = {}
    factory = daphne_http.Factory(server)
    for head in (b"GET / HTTP/1.1\r\nHost: loc", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        connection = factory.buildProtocol(None)
        connection.makeConnection(StringTransport())
        connection.dataReceived(head)
    assert len(server.connections) == 2
    await asyncio.sleep(0.01)
    daphne_http.end_applications(server, partial(Server.kill_all_applications, server))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await has_ended.wait()


def test_daphne_ends_its_applications_by_what_a_factory_puts_in_place():
    """`kill_all_applications` is looked up when the server runs, after its factory was made; Twisted waits for it."""
    server = Server(None, endpoints=["tcp:port=0"])
    daphne_http.Factory(server)
    assert server.kill_all_applications.func is daphne_http.end_politely  # type: ignore[attr-defined]
    assert "self.kill_all_applications" in inspect.getsource(Server.run).partition("HTTPFactory(self)")[2]


def test_twisted_tells_a_factory_when_its_server_begins_to_listen(monkeypatch: pytest.MonkeyPatch):
    """`startFactory`: a process that serves watches, and one that only makes a factory does not."""
    from twisted.internet import reactor

    begun = Mock()
    monkeypatch.setattr(watch, "begin", begun)
    factory = daphne_http.Factory(Server(None, endpoints=["tcp:port=0"]))
    begun.assert_not_called()
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    begun.assert_called_once_with()
    port.stopListening()


def test_twisteds_reactor_tells_of_its_ports_and_of_what_is_not_sent():
    """`getReaders` and `getWriters`; `doRead` of a listening port takes in who is at the door."""
    from twisted.internet import reactor
    from twisted.internet.protocol import Factory, Protocol

    assert list(reactor.getWriters()) == []
    port = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
    assert port in reactor.getReaders()
    assert IListeningPort.providedBy(port)
    with socket.create_connection(("127.0.0.1", port.getHost().port)):
        before = len(reactor.getReaders())
        port.doRead()
        assert len(reactor.getReaders()) == before + 1
    port.stopListening()


async def test_uvicorns_signals_go_to_its_server_while_the_application_starts():
    """`capture_signals` sets `Server.handle_exit`, and then tells the application that it starts."""
    assert inspect.ismethod(UvicornServer(UvicornConfig(None)).handle_exit)  # type: ignore[arg-type]
    source = inspect.getsource(UvicornServer)
    assert "signal.signal(sig, self.handle_exit)" in source
    assert source.index("self.capture_signals()") < source.index("self.lifespan.startup()")


# Django-Q.


@pytest.mark.django_db(transaction=True)
def test_django_qs_guard_tells_of_its_workers_and_queues():
    """`Broker.set_stat` called by `Stat.save` in the guard; a worker's `timer`; `task_q_size` and `done_q_size`."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    started = multiprocessing.Event()
    started.set()
    guard = Sentinel(multiprocessing.Event(), started, "cluster", broker=WakingBroker("hooks"), start=False)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    try:
        guard.spawn_worker()
        Stat(guard).save()
        beat = Beat.objects.get(pid=os.getppid())
        assert (beat.workers, beat.idle_workers, beat.waiting, beat.stuck) == (1, 1, 0, "")

        guard.pool[0].timer.value = 60  # seconds left for a task, as a worker at work has it
        sample = Guard()._sample(Stat(guard))
        assert (sample.workers, sample.idle_workers) == (1, 0)
        guard.result_queue.put("a result")
        until(lambda: Guard()._sample(Stat(guard)).results == 1, "the results that wait are counted")
    finally:
        for process in guard.pool:
            process.kill()
            process.join()


# uvicorn, in the embedded cloud.


async def test_uvicorn_tells_its_protocol_of_each_connection():
    """`H11Protocol.connection_made` and `connection_lost`."""
    book = Connections()
    config = uvicorn.Config(lambda *_: None, http=book.protocol(), lifespan="off", log_level="critical")
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    make = partial(config.http_protocol_class, config=config, server_state=state, app_state={})
    server = await loop.create_server(make, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as sock:
        await wait_for(lambda: list(book.open) == [sock.getsockname()])
    await wait_for(lambda: not book.open)
    server.close()


def test_uvicorn_leaves_the_signals_to_us():
    """`Server.capture_signals`."""
    before = signal.getsignal(signal.SIGTERM)
    entered = []

    class Told(LocalCloudServer):
        def capture_signals(self) -> Any:
            entered.append(True)
            return super().capture_signals()

    async def application(scope: Any, receive: Any, send: Any) -> None: ...

    async def serve() -> None:
        server = Told(uvicorn.Config(application, port=0, lifespan="off", log_level="critical"))
        serving = asyncio.create_task(server.serve())
        await wait_for(lambda: server.started)
        assert signal.getsignal(signal.SIGTERM) is before
        server.stop()
        await serving

    asyncio.run(serve())
    assert entered, "uvicorn takes the signals some other way"


async def wait_for(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not claim():
            await asyncio.sleep(0.01)
