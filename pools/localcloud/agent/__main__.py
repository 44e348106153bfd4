"""The agent inside a local sandbox: a process that serves the API of the sandbox images.

`/workspace`, `/home/sandbox` and `/tmp` stand for folders in the sandbox's private one. A port that a command is given
as PORT is a container port: the process gets a free loopback port instead, and `/proxy/<container port>/` reaches it.

It serves on a socket that it inherits. What it is comes as a line of JSON on its standard input, and so do the faults
that shall befall its answers; when its input ends, its cloud is gone, and it ends everything that it started.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from pools.localcloud.agent.commands import Commands
from pools.localcloud.agent.files import Files
from pools.localcloud.agent.proxy import Proxy
from pools.localcloud.agent.refusals import Refusal, Unforeseen
from pools.localcloud.agent.sandbox import Sandbox
from pools.localcloud.agent.sessions import Sessions
from pools.localcloud.connections import KEEP_ALIVE_SECONDS, Connections
from pools.localcloud.mortality import adopt_orphans, descendants, end
from pools.localcloud.trouble import Call, Faults, Troubled, agent_operation


class Guard:
    """Lets only those in who hold the token. It stands behind the routes: what is no address needs none."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self.refusal(scope)
        await (answer or self.app)(scope, receive, send)

    def refusal(self, scope: Scope) -> Response | None:
        if not self.token:
            return JSONResponse({"detail": "Server not configured: SANDBOX_API_TOKEN is not set"}, 503)
        given = dict(scope["headers"]).get(b"authorization", b"")
        if not given.startswith(b"Bearer "):
            return JSONResponse({"detail": "Missing or invalid authorization header"}, 401)
        if not hmac.compare_digest(given.removeprefix(b"Bearer "), self.token.encode()):
            return JSONResponse({"detail": "Invalid token"}, 403)
        return None


async def health(request: Request) -> Response:
    return JSONResponse({"status": "healthy", "mode": "service", "timestamp": time.time()})


async def refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for this kind only
    return JSONResponse({"detail": error.detail}, error.status_code)


async def listen_to_cloud(faults: Faults, server: uvicorn.Server) -> None:
    """Take new faults from the standard input; at its end, serve no longer."""
    reader = asyncio.StreamReader(limit=2**24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        faults.put_in_force(json.loads(line)["faults"])
    server.should_exit = server.force_exit = True


async def serve(given: dict[str, Any]) -> None:
    root, app = Path(given["root"]), given["app"]
    listener = socket.socket(fileno=given["fd"])
    sandbox = Sandbox(Path(given["folder"]), root, app["id"], given["environment"], listener.getsockname()[1])
    faults, connections = Faults(), Connections()
    faults.put_in_force(given["faults"])
    commands = Commands(sandbox, connections)
    asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, commands.bury_orphans)
    routes = [Route("/health", health)]
    for part in (commands, Files(sandbox), Sessions(sandbox), Proxy(sandbox, connections)):
        for route in part.routes():
            route.app = Guard(route.app, given["token"])
            routes.append(route)

    def describe(scope: Scope, body: bytes) -> Call | None:
        path = scope["path"]
        return Call(agent_operation(path), scope["method"], path, app["name"])

    answers = {HTTPException: refuse, Refusal: Refusal.answer, Unforeseen: Unforeseen.answer}
    config = uvicorn.Config(
        Troubled(Starlette(routes=routes, exception_handlers=answers), faults, connections, describe),
        http=connections.protocol(),
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        server_header=False,
        date_header=False,
    )
    server = uvicorn.Server(config)
    listening = asyncio.create_task(listen_to_cloud(faults, server))
    await server.serve(sockets=[listener])
    listening.cancel()
    await asyncio.to_thread(end, lambda: descendants(os.getpid()))


def main() -> None:
    adopt_orphans()
    # A byte at a time: what comes after the first line is for the event loop.
    line = b""
    while not line.endswith(b"\n"):
        if not (byte := os.read(0, 1)):
            return
        line += byte
    asyncio.run(serve(json.loads(line)))


if __name__ == "__main__":
    main()
