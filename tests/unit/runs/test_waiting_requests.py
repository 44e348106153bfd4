"""A launch that waits keeps its answer, whatever becomes of the wait."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from django.db import OperationalError

from runs import waiting_requests

ANSWER = {"run_id": "5d0e5d4c-9d2a-4f0b-8c0e-7f2b1a3c4d5e", "state": "acquiring", "token": "run_0f8e"}
SCOPE = {"type": "http", "method": "POST", "headers": [(b"prefer", b"wait=5")]}


async def django(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 201, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(ANSWER).encode()})


async def test_a_database_that_is_away_meanwhile_takes_nobody_the_answer(monkeypatch):
    """The launch was made, and its token is told nowhere else."""

    async def away(*_: Any) -> None:
        raise OperationalError("the connection is closed")

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()  # the client stays
        return {}

    monkeypatch.setattr(waiting_requests, "until", away)
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await waiting_requests.launch(django)(SCOPE, receive, send)
    start, body = sent
    assert (start["status"], json.loads(body["body"])) == (201, ANSWER)
