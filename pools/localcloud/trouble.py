"""Trouble on demand: which requests it meets, and what becomes of their answers. `FAULTS` says what there is."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pools.localcloud.connections import Connections, gone

FAULTS = """A fault is a JSON object. Several that meet one request add up; later ones win where they disagree.

What it meets:

    operation     create, list, get, update, delete, propose, deploy, restart, deployments, deployment, cancel, logs,
                  regions, sizes; or * (default) for all of these. The agents' own: agent.health, agent.exec,
                  agent.stream, agent.background, agent.processes, agent.files, agent.proxy; or agent.* for all of these
    method, path  GET; a regular expression on the path
    name          a regular expression on the app's name (for create, the name asked for)
    page          of a listing
    skip, times   how many it lets pass first, and how many it meets then before it is used up (default: no end)
    probability   with `seed`: only some, the same ones each time

What it does to any request:

    latency_seconds  wait first
    after            true: the request has its effect first, and only its answer is lost or late
    status           answer this; with `retry_after` and `message`
    body             html, empty, truncated or odd, with `status` (default 200)
    json, headers    answer exactly this JSON; answer with these headers, too
    raw              answer exactly this text, as if it were JSON: "\\ud800" and its like can't be said in `json`
    bomb             answer so many MiB of blanks, packed as gzip whatever was asked for
    trickle          a byte of the answer each so many seconds
    hang             hold the connection without an answer, for `seconds` (default 3600), then end it
    reset, close     break the connection without an answer: as a reset, or as an end
    cut              break it in the middle of the answer

To a listing:

    stale_seconds    as it was then: apps appear and vanish late
    omit, add        apps whose name matches are missing; specs of apps that do not exist are in it
    empty            nothing is; with `page`, nothing on that page
    shift            that many apps slipped from each page to the one before, and are missed; negative: so many came in
                     before each page, and are seen twice
    total, links     another total; links: false, no link to the next page

To what is shown of apps (list, get, create):

    marks            encrypted, or absent: so is the environment of each app, as where it is secret
    shown_name       each app is shown under that name

To a new app, or to a new deployment of one:

    stuck, error     it stays in that phase; it ends in ERROR for that reason
    deploy_seconds   it takes that long
    url_late_seconds it is active so long before its address is shown (new apps only)
    quota            how many apps the account may have, with `quota_status` (default 403)
    agent            {"silent": connections are taken and never answered; "refuses": not even taken; "hangs": from its
                     first answer on; "wrong_token"; "dies_after_seconds", and "stays_dead"}

To a deletion: linger_seconds (the app is still there for so long); name_taken_seconds (its name is free that much
later).

To any answer about apps: skew_seconds (its dates are that far ahead; negative: behind).
"""
EFFECTS = {
    "latency_seconds", "after", "status", "retry_after", "message", "body", "json", "headers", "hang", "seconds",
    "reset", "close", "cut", "raw", "bomb", "trickle", "stale_seconds", "omit", "add", "empty", "page", "shift",
    "total", "links", "stuck", "marks", "shown_name",
    "error", "deploy_seconds", "url_late_seconds", "quota", "quota_status", "agent", "linger_seconds",
    "name_taken_seconds", "skew_seconds",
}  # fmt: skip
MATCHES = {"operation", "method", "path", "name", "times", "skip", "probability", "seed"}
SPOILS = {"status", "body", "json", "hang", "reset", "close", "cut", "raw", "bomb", "trickle"}
BODIES = {"html", "empty", "truncated", "odd"}
AGENT = "agent."
HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
KINDS = {
    400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 409: "conflict",
    422: "unprocessable_entity", 429: "too_many_requests",
}  # fmt: skip
_ids = itertools.count(1)


class UnknownFault(ValueError):
    """The fault has a field that means nothing, or a value that can't be."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request, as faults see it."""

    operation: str
    method: str
    path: str
    name: str = ""
    page: int | None = None


@dataclass
class Fault:
    operation: str = "*"
    method: str = ""
    path: str = ""
    name: str = ""
    times: int | None = None
    skip: int = 0
    probability: float = 1.0
    seed: int = 0
    effects: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: f"fault-{next(_ids)}")
    met: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311  repeatable on purpose

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Fault:
        """Raises UnknownFault."""
        if unknown := sorted(data.keys() - EFFECTS - MATCHES):
            raise UnknownFault(f"unknown field {unknown[0]!r}")
        if data.get("body", "html") not in BODIES:
            raise UnknownFault(f"body must be one of {', '.join(sorted(BODIES))}")
        for pattern in ("path", "name", "omit"):
            try:
                re.compile(str(data.get(pattern, "")))
            except re.error as error:
                raise UnknownFault(f"{pattern} is not a regular expression: {error}") from None
        for number in (
            "latency_seconds",
            "seconds",
            "stale_seconds",
            "deploy_seconds",
            "linger_seconds",
            "name_taken_seconds",
            "skew_seconds",
            "status",
            "bomb",
            "trickle",
        ):
            if not isinstance(data.get(number, 0), int | float):
                raise UnknownFault(f"{number} must be a number")
        effects = {key: value for key, value in data.items() if key in EFFECTS}
        return cls(**{key: value for key, value in data.items() if key in MATCHES}, effects=effects)

    @property
    def is_the_agents(self) -> bool:
        return self.operation.startswith(AGENT)

    def meets(self, call: Call) -> bool:
        """Whether it meets this request; counts it."""
        of_agent = call.operation.startswith(AGENT)
        if self.operation not in (f"{AGENT}*" if of_agent else "*", call.operation):
            return False
        if (self.method and self.method != call.method) or not re.search(self.path, call.path):
            return False
        if self.name and not re.search(self.name, call.name):
            return False
        if "page" in self.effects and call.page != self.effects["page"]:
            return False
        if self.times is not None and self.met >= self.times + self.skip:
            return False
        if self.chance.random() >= self.probability:
            return False
        self.met += 1
        return self.met > self.skip

    def as_json(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in ("id", "met", *sorted(MATCHES))} | self.effects


class Faults:
    """The faults in force, in the order in which they were asked for."""

    def __init__(self) -> None:
        self.active: dict[str, Fault] = {}

    def add(self, data: Mapping[str, Any]) -> Fault:
        fault = Fault.read(data)
        self.active[fault.id] = fault
        return fault

    def put_in_force(self, wanted: Sequence[Mapping[str, Any]]) -> None:
        """Exactly these; those that were there before keep the count of what they have met."""
        known = dict(self.active)
        self.active.clear()
        for data in wanted:
            fault = known.get(data["id"]) or Fault.read({key: data[key] for key in data.keys() & (EFFECTS | MATCHES)})
            fault.id = data["id"]
            self.active[fault.id] = fault

    def befalling(self, call: Call) -> dict[str, Any]:
        """Return what befalls this request, all its faults taken together."""
        merged: dict[str, Any] = {}
        for fault in self.active.values():
            if fault.meets(call):
                merged |= fault.effects
        return merged


class Troubled:
    """An ASGI app whose requests meet the faults in force. It finds its own in `request.state.effects`."""

    def __init__(
        self, app: ASGIApp, faults: Faults, connections: Connections, describe: Callable[[Scope, bytes], Call | None]
    ) -> None:
        self.app, self.faults, self.connections, self.describe = app, faults, connections, describe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        effects: dict[str, Any] = {}
        scope.setdefault("state", {})["effects"] = effects
        if self.faults.active:
            body = await whole_body(receive)
            receive = replayed(body, receive)
            if (call := self.describe(scope, body)) is not None:
                effects |= self.faults.befalling(call)
        if not effects:
            await self.app(scope, receive, send)
            return
        wait_seconds, after = float(effects.get("latency_seconds", 0)), bool(effects.get("after"))
        spoiled = bool(effects.keys() & SPOILS)
        if not after:
            await asyncio.sleep(wait_seconds)
        answer = Response(b"{}", media_type="application/json")
        if not spoiled and not after:
            await self.app(scope, receive, with_headers(send, effects.get("headers", {})))
            return
        if after or scope["method"] in ("GET", "HEAD"):
            answer = await answer_of(self.app, scope, receive)
        if after:
            await asyncio.sleep(wait_seconds)
        if effects.get("hang"):
            await gone(receive, float(effects.get("seconds", 3600)))
        if effects.keys() & {"hang", "reset", "close"}:
            await self.connections.breaks(scope, receive, reset=bool(effects.get("reset")))
            return
        answer = spoil(answer, effects)
        if "trickle" in effects:
            await trickle(answer, send, float(effects["trickle"]))
            return
        if effects.get("cut"):
            await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
            half = bytes(answer.body)[: len(answer.body) // 2]
            await send({"type": "http.response.body", "body": half, "more_body": True})
            await self.connections.breaks(scope, receive, reset=False)
            return
        await answer(scope, receive, send)


def spoil(answer: Response, effects: dict[str, Any]) -> Response:
    """Return what the client gets instead of that answer."""
    if not effects.keys() & SPOILS:
        answer.headers.update(text_headers(effects.get("headers", {})))
        return answer
    headers = text_headers(effects.get("headers", {}))
    if "retry_after" in effects:
        headers["retry-after"] = str(effects["retry_after"])
    status, body = int(effects.get("status", 200)), effects.get("body")
    if effects.keys() & {"cut", "trickle"} and not effects.keys() & (SPOILS - {"cut", "trickle"}):
        return Response(bytes(answer.body), answer.status_code, headers, media_type="application/json")
    if body == "html":
        return Response(HTML, status, headers, media_type="text/html")
    if body == "empty":
        return Response(b"", status, headers)
    if body == "truncated":
        half = bytes(answer.body)[: max(1, len(answer.body) // 2)]
        return Response(half, status, headers, media_type="application/json")
    if body == "odd":
        return JSONResponse(["something", "else"], status, headers)
    if "json" in effects:
        return JSONResponse(effects["json"], status, headers)
    if "raw" in effects:
        return Response(str(effects["raw"]), status, headers, media_type="application/json")
    if "bomb" in effects:
        packed = headers | {"content-encoding": "gzip"}
        return Response(bomb(int(effects["bomb"])), status, packed, media_type="application/json")
    kind = KINDS.get(status, "server_error")
    return JSONResponse({"id": kind, "message": effects.get("message", "Something went wrong.")}, status, headers)


def bomb(mebibytes: int) -> bytes:
    """So many MiB of nothing, packed a thousandfold."""
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    blank = b" " * 1024**2
    return b"".join(packer.compress(blank) for _ in range(mebibytes)) + packer.flush()


async def trickle(answer: Response, send: Send, seconds_a_byte: float) -> None:
    """The answer in time for every wait of its reader, and too late for the reader."""
    await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
    for byte in bytes(answer.body):
        await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
        await asyncio.sleep(seconds_a_byte)
    await send({"type": "http.response.body", "body": b""})


def text_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in headers.items()}


def with_headers(send: Send, headers: Mapping[str, Any]) -> Send:
    async def send_more(message: Message) -> None:
        if message["type"] == "http.response.start" and headers:
            more = [(name.lower().encode(), str(value).encode()) for name, value in headers.items()]
            message["headers"] = [*message["headers"], *more]
        await send(message)

    return send_more


async def whole_body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while (message := await receive())["type"] == "http.request":
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    return b"".join(parts)


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once more, and then what comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def answer_of(app: ASGIApp, scope: Scope, receive: Receive) -> Response:
    """The app's whole answer, kept back."""
    answer = Response()
    parts: list[bytes] = []

    async def keep(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status_code, answer.raw_headers = message["status"], list(message["headers"])
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await app(scope, receive, keep)
    answer.body = b"".join(parts)
    return answer


def agent_operation(path: str) -> str:
    """The operation of an agent's path: `agent.exec` of /api/exec, `agent.stream` of /api/exec/stream."""
    parts = [*path.removeprefix("/api").strip("/").split("/"), ""]
    return AGENT + (parts[1] if parts[0] == "exec" and parts[1] else parts[0])


def json_in(body: bytes) -> Any:
    """The JSON in a request's body; None when it is none."""
    try:
        return json.loads(body)
    except ValueError:
        return None
