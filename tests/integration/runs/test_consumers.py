"""Consumers whose work goes wrong, and whose clients leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest
from channels.routing import URLRouter
from channels.testing import ApplicationCommunicator, WebsocketCommunicator

from runs.live import consumers
from runs.live.hub import Line
from runs.routing import http_urlpatterns, websocket_urlpatterns

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE_SECONDS = 20


def poll() -> dict[str, Any]:
    return {
        "type": "http", "method": "GET", "path": "/api/orchestrator/logs", "raw_path": b"/api/orchestrator/logs",
        "query_string": b"wait=20", "headers": [(b"host", b"127.0.0.1")],
    }  # fmt: skip


async def breaks(*_: Any, **__: Any) -> AsyncGenerator[Sequence[Line], None]:
    raise RuntimeError("the hub is broken")
    yield ()


async def test_what_fails_in_a_consumers_work_fails_the_consumer(monkeypatch: pytest.MonkeyPatch):
    """The server hears of it, and ends the connection: nobody waits for lines that never come."""
    monkeypatch.setattr(consumers, "follow", breaks)
    socket = WebsocketCommunicator(URLRouter(websocket_urlpatterns), "/ws/orchestrator/")
    await socket.connect(PATIENCE_SECONDS)
    polling = ApplicationCommunicator(URLRouter(http_urlpatterns), poll())
    await polling.send_input({"type": "http.request", "body": b""})
    for asked in (socket, polling):
        with pytest.raises(ExceptionGroup) as failed:
            await asked.wait(PATIENCE_SECONDS)
        assert failed.group_contains(RuntimeError, match="the hub is broken")


async def test_a_client_that_leaves_ends_its_consumers_work(monkeypatch: pytest.MonkeyPatch):
    has_begun, has_ended = asyncio.Event(), asyncio.Event()

    async def waits(*_: Any, **__: Any) -> AsyncGenerator[Sequence[Line], None]:
        try:
            yield ()
            has_begun.set()
            await asyncio.sleep(PATIENCE_SECONDS * 10)
        finally:
            has_ended.set()

    monkeypatch.setattr(consumers, "follow", waits)
    polling = ApplicationCommunicator(URLRouter(http_urlpatterns), poll())
    await polling.send_input({"type": "http.request", "body": b"what nobody", "more_body": True})
    await asyncio.wait_for(has_begun.wait(), PATIENCE_SECONDS)
    await polling.send_input({"type": "http.request", "body": b"reads"})
    await polling.send_input({"type": "http.disconnect"})
    await polling.wait(PATIENCE_SECONDS)
    assert has_ended.is_set()
