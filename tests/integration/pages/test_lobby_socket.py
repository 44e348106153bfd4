"""Open lobbies: what has changed is looked up once for all of them, and sent to each."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.db import OperationalError
from websockets.sync.client import connect

from orchestrator_site.daphne_http import LARGEST_MESSAGE_BYTES
from pools import journal, shared
from pools.models import Fleet
from runs.pages import lobby, lobby_socket
from runs.routing import websocket_urlpatterns

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE_SECONDS = 20


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[lobby.Live]:
    """What was looked up, as often as it was; kept for a tenth of a second."""
    monkeypatch.setattr(shared, "KEPT_SECONDS", 0.1)
    found: list[lobby.Live] = []

    def look() -> lobby.Live:
        found.append(lobby._live())
        return found[-1]

    monkeypatch.setattr(lobby_socket, "LIVE", shared.Shared(look))
    return found


async def opened(seen: str = "") -> WebsocketCommunicator:
    socket = WebsocketCommunicator(URLRouter(websocket_urlpatterns), f"/ws/lobby/?seen={seen}")
    assert (await socket.connect(PATIENCE_SECONDS))[0]
    return socket


async def parts(socket: WebsocketCommunicator) -> dict[str, Any]:
    """The next parts, heartbeats aside."""
    while True:
        told = json.loads(await socket.receive_from(PATIENCE_SECONDS))
        if told["kind"] == "parts":
            return told


@sync_to_async
def close_the_house() -> None:
    Fleet.get()
    Fleet.objects.update(maintenance=True)
    journal.record("create", "something happened")


@pytest.mark.parametrize("server", ["web", "uvicorn_web"])
def test_parts_and_lines_that_are_larger_than_what_clients_may_send_pass(server, request, snake, make_run):
    """The limit of what a socket takes was one of what it was sent, too: such a socket broke at its first message."""
    served = request.getfixturevalue(server)
    for _ in range(20):
        make_run(visitor="somebody else")
    line = journal.record("create", "x" * 5_000)
    with connect(f"{served.address}/ws/lobby/", max_size=None) as socket:
        told = socket.recv(PATIENCE_SECONDS)
        assert len(told) > LARGEST_MESSAGE_BYTES
        assert json.loads(told)["html"].count("run-running") == lobby.RUNS_SHOWN
    with connect(f"{served.address}/ws/orchestrator/?after={line.seq - 1}") as socket:
        assert json.loads(socket.recv(PATIENCE_SECONDS))["message"] == line.message


async def test_all_open_lobbies_are_told_of_a_change_that_was_looked_up_once(looks, snake):
    sockets = [await opened() for _ in range(50)]
    first = [await parts(socket) for socket in sockets]
    assert {each["version"] for each in first} == {looks[0].version}
    count = len(looks)
    await close_the_house()
    for socket in sockets:
        assert "closed for maintenance" in (await parts(socket))["html"]
    assert len(looks) <= count + 2
    for socket in sockets:
        await socket.disconnect(timeout=PATIENCE_SECONDS)


async def test_a_page_that_is_up_to_date_is_not_sent_what_it_has(looks, snake):
    version = (await sync_to_async(lobby._live)()).version
    socket = await opened(version)
    assert json.loads(await socket.receive_from(PATIENCE_SECONDS))["kind"] == "heartbeat"
    await close_the_house()
    assert (await parts(socket))["version"] != version
    await socket.disconnect(timeout=PATIENCE_SECONDS)


async def test_with_the_last_lobby_the_looking_ends(looks, snake):
    socket = await opened()
    await parts(socket)
    looking = lobby_socket.audience()._looking
    await socket.disconnect(timeout=PATIENCE_SECONDS)
    await asyncio.wait([looking], timeout=PATIENCE_SECONDS)
    assert looking.cancelled()
    assert lobby_socket.audience()._looking is None


async def test_it_goes_on_when_the_database_is_back(looks, snake, monkeypatch):
    monkeypatch.setattr(lobby_socket, "AGAIN_SECONDS", 0.1)
    working = lobby_socket.LIVE.get

    def away() -> lobby.Live:
        raise OperationalError("the server is away")

    monkeypatch.setattr(lobby_socket.LIVE, "get", away)
    socket = await opened()
    await asyncio.sleep(0.3)
    monkeypatch.setattr(lobby_socket.LIVE, "get", working)
    assert "html" in await parts(socket)
    await socket.disconnect(timeout=PATIENCE_SECONDS)
