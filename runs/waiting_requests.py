"""Requests that wait for a run, in front of Django: they are answered by it, and hold none of its threads meanwhile.

`GET /api/runs/{run_id}?wait_for=running` waits and is then answered. A launch with `Prefer: wait=N` (RFC 7240) is
carried out, waits, and is answered with how the run stands then; so is the priming of a pool. Whatever does not wait,
or not as it should, is Django's to answer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from django.db import DatabaseError
from django.urls import Resolver404
from ninja.responses import NinjaJSONEncoder
from pydantic import ValidationError

from pools import clock
from pools.pool_schemas import PoolActedOut
from pools.pools_api import after_act
from pools.problems import Problem
from runs.api import find_run, launched_out
from runs.live.closing import Closing, until_closing
from runs.live.database import read
from runs.live.until import MOST_SECONDS, WaitFor, has_come, until
from runs.schemas import LaunchedOut, WaitAsked

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Application = Callable[[Any, Receive, Any], Awaitable[None]]

LAUNCHED = 201
FULL, FILLING = 200, 202  # of a pool that was primed
LOOK_SECONDS = 0.5  # few prime pools


def look_at_run(django: Application) -> Application:
    """The answer about a run, once it is what `wait_for` says or `timeout` is over."""

    async def answer(scope: Any, receive: Receive, send: Any) -> None:
        asked = _asked(scope)
        if asked is None or asked.wait_for is None:
            raise Resolver404
        client = Client(receive)
        run_id: UUID = scope["url_route"]["kwargs"]["run_id"]
        if await client.stays(until(run_id, asked.wait_for, asked.timeout)):
            await django(scope, client.receive, send)

    return answer


def launch(django: Application) -> Application:
    """The answer to a launch, once the run plays or is over, or the time is that its client wants to wait."""

    async def answer(scope: Any, receive: Receive, send: Any) -> None:
        seconds = _preferred_seconds(scope)
        if scope["method"] != "POST" or not seconds:
            raise Resolver404
        is_due = asyncio.get_running_loop().time() + seconds
        kept = Kept()
        await django(scope, receive, kept.send)
        if kept.status == LAUNCHED:
            kept.add_header(b"preference-applied", f"wait={seconds}".encode())
            run = json.loads(kept.body)
            if not has_come(run["state"], WaitFor.RUNNING):
                left_seconds = is_due - asyncio.get_running_loop().time()
                with suppress(DatabaseError):  # it is launched all the same: then this is how it stood
                    if not await Client(receive).stays(until(UUID(run["run_id"]), WaitFor.RUNNING, left_seconds)):
                        return
                    kept.replace_body(await read(_launched, UUID(run["run_id"])))
        await kept.pass_on(send)

    return answer


def prime(django: Application) -> Application:
    """The answer to the priming of a pool, once it is full, or the time is that its client wants to wait."""

    async def answer(scope: Any, receive: Receive, send: Any) -> None:
        seconds = _preferred_seconds(scope)
        if scope["method"] != "POST" or not seconds:
            raise Resolver404
        is_due = asyncio.get_running_loop().time() + seconds
        kept = Kept()
        await django(scope, receive, kept.send)
        if kept.status in (FULL, FILLING):
            kept.add_header(b"preference-applied", f"wait={seconds}".encode())
        if kept.status == FILLING:
            name, done = scope["url_route"]["kwargs"]["name"], json.loads(kept.body)["message"]
            with suppress(DatabaseError, Problem):  # it is primed all the same: then this is how it stood
                if not await Client(receive).stays(_until_full(name, done, is_due)):
                    return
                is_full, body = await read(_primed, name, done)
                kept.replace_body(body)
                if is_full:
                    kept.status = FULL
        await kept.pass_on(send)

    return answer


async def _until_full(name: str, done: str, is_due: float) -> None:
    with suppress(Closing):
        async with until_closing():
            while asyncio.get_running_loop().time() < is_due and not (await read(_primed, name, done))[0]:
                await asyncio.sleep(LOOK_SECONDS)


def _primed(name: str, done: str) -> tuple[bool, bytes]:
    is_full, answer = after_act(name, done)
    shape = PoolActedOut.model_validate(answer)
    return is_full, json.dumps(shape.model_dump(), cls=NinjaJSONEncoder).encode()


def _launched(run_id: UUID) -> bytes:
    answer = LaunchedOut.model_validate(launched_out(find_run(run_id), clock.now()))
    return json.dumps(answer.model_dump(), cls=NinjaJSONEncoder).encode()


def _asked(scope: Any) -> WaitAsked | None:
    if scope["method"] != "GET":
        return None
    try:
        return WaitAsked.model_validate(
            dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        )
    except ValidationError:
        return None


def _preferred_seconds(scope: Any) -> int:
    """How long a request prefers to wait; 0 for one that does not, or says it in no way that is known: preferences that
    can't be read are passed over."""
    said = ",".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"prefer")
    for preference in said.split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        value = value.strip().strip('"')
        if name.strip().lower() == "wait" and value.isascii() and value.isdigit():
            return min(int(value[:10]), MOST_SECONDS)
    return 0


class Client:
    """Who waits: hears when they leave, and keeps what they sent for whoever answers."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._heard: list[Message] = []

    async def stays(self, waiting: Awaitable[None]) -> bool:
        """Wait. False when the client has left before it was over, and nobody waits any more."""
        work, leaving = asyncio.ensure_future(waiting), asyncio.ensure_future(self._leave())
        try:
            done, _ = await asyncio.wait((work, leaving), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            return work in done
        finally:
            for task in (work, leaving):
                task.cancel()
            await asyncio.gather(work, leaving, return_exceptions=True)

    async def _leave(self) -> None:
        while (message := await self._receive())["type"] != "http.disconnect":
            self._heard.append(message)

    async def receive(self) -> Message:
        return self._heard.pop(0) if self._heard else await self._receive()


class Kept:
    """An answer that is not sent yet."""

    def __init__(self) -> None:
        self.status = 0  # none was given: the client has left
        self.body = b""
        self._start: Message = {}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start, self.status = message, message["status"]
        else:
            self.body += message.get("body", b"")

    def add_header(self, name: bytes, value: bytes) -> None:
        others = [header for header in self._start["headers"] if header[0].lower() != name]
        self._start["headers"] = [*others, (name, value)]

    def replace_body(self, body: bytes) -> None:
        self.body = body
        self.add_header(b"content-length", str(len(body)).encode())

    def _headers(self) -> list[tuple[bytes, bytes]]:
        """An answer that has come has nothing to ask again for."""
        is_there = self.status == FULL
        return [header for header in self._start["headers"] if not (is_there and header[0].lower() == b"retry-after")]

    async def pass_on(self, send: Any) -> None:
        if self.status:
            await send({**self._start, "status": self.status, "headers": self._headers()})
            await send({"type": "http.response.body", "body": self.body})
