"""Small applications with and without a private hook, for Daphne to serve side by side."""

from __future__ import annotations

import asyncio
import os
from contextlib import nullcontext
from typing import Any

import django
from django.core.handlers.asgi import ASGIHandler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
django.setup(set_prefix=False)

from orchestrator_site.request_threads import InOneThread  # noqa: E402  the apps must be loaded
from runs.live.backpressure import Flow, TooSlow  # noqa: E402

PART = b"x" * 65_536
PARTS = 400
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}

in_one_thread = InOneThread()
as_django_does = ASGIHandler()


async def _answer(send: Any) -> None:
    await send(START)
    await send({"type": "http.response.body"})


def _pouring(*, with_flow: bool) -> Any:
    async def pour(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/health/live":
            return await _answer(send)
        await send(START)
        with Flow(send) if with_flow else nullcontext() as flow:
            for _ in range(PARTS):
                if flow is not None:
                    try:
                        await flow.ready(60)
                    except TooSlow:
                        return None
                await send({"type": "http.response.body", "body": PART, "more_body": True})
                await asyncio.sleep(0)
        return await send({"type": "http.response.body"})

    return pour


with_flow = _pouring(with_flow=True)
without_flow = _pouring(with_flow=False)
