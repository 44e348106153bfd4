"""The agent inside a local sandbox: a process that serves the API of the sandbox images.

`/workspace`, `/home/sandbox` and `/tmp` stand for folders in the sandbox's private one. A port that a command is given
as PORT is a container port: the process gets a free loopback port instead, and `/proxy/<container port>/` reaches it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pools.localcloud.mortality import MARK, die_with_parent
from pools.localcloud.upstream import UpstreamDown, UpstreamSlow, fetch

PROXY_TIMEOUT_SECONDS = 60.0
LOG_TAIL_BYTES = 1_000_000
PASSED_ON = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "PIP_",
    "npm_config_",
    "UV_",
)
PROXIES = (
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
)
HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "proxy-authorization",
    "proxy-authenticate",
}


class Folders:
    """The sandbox's three folders, as paths inside and outside."""

    def __init__(self, root: Path) -> None:
        self.outside = {"/workspace": root / "workspace", "/home/sandbox": root / "home", "/tmp": root / "tmp"}  # noqa: S108
        for folder in self.outside.values():
            folder.mkdir(parents=True, exist_ok=True)

    def real(self, path: str) -> Path:
        """The real path of one inside. Raises 403 for what lies (or leads) outside of the three."""
        if not path.startswith("/"):
            path = f"/workspace/{path}"
        for inside, outside in self.outside.items():
            if path == inside or path.startswith(inside + "/"):
                real = (outside / path[len(inside) :].lstrip("/")).resolve()
                if real == outside.resolve() or outside.resolve() in real.parents:
                    return real
        raise HTTPException(403, "Access denied: the path is outside of the sandbox's folders")

    def inside(self, real: Path) -> str:
        for inside, outside in self.outside.items():
            if real == outside.resolve() or outside.resolve() in real.parents:
                return f"{inside}/{real.relative_to(outside.resolve())}".removesuffix("/.")
        return str(real)


class Agent:
    def __init__(self, root: Path, token: str, app_id: str, environment: dict[str, str]) -> None:
        self.root, self.token, self.app_id = root, token, app_id
        self.folders = Folders(root)
        self.environment = environment
        self.ports: dict[int, int] = {}
        self.processes: dict[int, dict[str, Any]] = {}
        (root / "logs").mkdir(exist_ok=True)

    # Commands.

    def environment_for(self, extra: dict[str, str] | None) -> dict[str, str]:
        environment = self.environment | {key: str(value) for key, value in (extra or {}).items()}
        environment |= {"HOME": str(self.folders.outside["/home/sandbox"]), MARK: self.app_id}
        environment |= {"TMPDIR": str(self.folders.outside["/tmp"])}  # noqa: S108
        if environment.get("PORT", "").isdigit():
            environment["PORT"] = str(self.port_of(int(environment["PORT"])))
        return environment

    def port_of(self, container_port: int) -> int:
        """The loopback port that stands for a container port; chosen when it is first given to a command."""
        if container_port not in self.ports:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.ports[container_port] = probe.getsockname()[1]
        return self.ports[container_port]

    async def spawn(self, body: dict[str, Any], **streams: Any) -> asyncio.subprocess.Process:
        cwd = self.folders.real(body.get("cwd") or "/workspace")
        if not cwd.is_dir():
            raise HTTPException(400, f"The folder {body.get('cwd')} does not exist")
        return await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            body["command"],
            cwd=cwd,
            env=self.environment_for(body.get("env")),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent(os.getpid()),
            **streams,
        )

    async def exec(self, request: Request) -> Response:
        body = await read_command(request)
        process = await self.spawn(body, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        try:
            out, err = await asyncio.wait_for(process.communicate(), body["timeout"])
        except TimeoutError:
            end_group(process.pid)
            raise HTTPException(408, f"Command timed out after {body['timeout']} seconds") from None
        except asyncio.CancelledError:
            end_group(process.pid)
            raise
        return JSONResponse(
            {
                "stdout": out.decode(errors="replace"),
                "stderr": err.decode(errors="replace"),
                "exit_code": process.returncode,
            }
        )

    async def exec_stream(self, request: Request) -> Response:
        body = await read_command(request)
        process = await self.spawn(body, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        return StreamingResponse(self.lines_of(process, body["timeout"]), media_type="text/event-stream")

    async def lines_of(self, process: asyncio.subprocess.Process, timeout_seconds: float) -> AsyncIterator[str]:
        began = time.monotonic()
        lines: asyncio.Queue[tuple[str, str] | None] = asyncio.Queue(1000)

        async def read(name: str, stream: asyncio.StreamReader) -> None:
            while chunk := await read_line(stream):
                await lines.put((name, chunk.decode(errors="replace").rstrip("\r\n")))
            await lines.put(None)

        readers = [
            asyncio.ensure_future(read(name, stream))
            for name, stream in (("stdout", process.stdout), ("stderr", process.stderr))
            if stream is not None
        ]
        try:
            open_streams = len(readers)
            while open_streams:
                left = timeout_seconds - (time.monotonic() - began)
                item = await asyncio.wait_for(lines.get(), max(0.0, left))
                if item is None:
                    open_streams -= 1
                else:
                    yield event(item[0], {"line": item[1], "timestamp": time.time()})
            code = await process.wait()
            duration_ms = int((time.monotonic() - began) * 1000)
            yield event("exit", {"code": code, "duration_ms": duration_ms, "timestamp": time.time()})
        except TimeoutError:
            message = f"Command timed out after {timeout_seconds:g} seconds"
            yield event("error", {"message": message, "code": "TIMEOUT"})
        finally:
            for reader in readers:
                reader.cancel()
            if process.returncode is None:
                end_group(process.pid)

    # Processes that stay.

    async def start(self, request: Request) -> Response:
        body = await read_command(request)
        number = len(self.processes) + 1
        log = self.root / "logs" / f"{number}.log"
        with log.open("wb") as output:
            process = await self.spawn(body, stdout=output, stderr=asyncio.subprocess.STDOUT)
        inside = f"/tmp/processes/{number}.log"  # noqa: S108
        self.processes[process.pid] = {
            "process": process,
            "log": log,
            "entry": {"pid": process.pid, "command": body["command"], "log_file": inside, "started_at": time.time()},
        }
        return JSONResponse({"pid": process.pid, "log_file": inside})

    def entry(self, pid: int) -> dict[str, Any]:
        known = self.processes[pid]
        status = "running" if known["process"].returncode is None else "stopped"
        return {**known["entry"], "status": status}

    def known(self, request: Request) -> int:
        try:
            pid = int(request.path_params["pid"])
        except ValueError:
            raise HTTPException(404, "Process not found") from None
        if pid not in self.processes:
            raise HTTPException(404, "Process not found")
        return pid

    async def list_processes(self, request: Request) -> Response:
        return JSONResponse([self.entry(pid) for pid in self.processes])

    async def one_process(self, request: Request) -> Response:
        return JSONResponse(self.entry(self.known(request)))

    async def process_logs(self, request: Request) -> Response:
        lines = tail_of(self.processes[self.known(request)]["log"])
        tail = request.query_params.get("tail", "")
        if tail.isdigit():
            lines = lines[-int(tail) :] if int(tail) else []
        return JSONResponse({"logs": "\n".join(lines)})

    async def stream_logs(self, request: Request) -> Response:
        pid = self.known(request)

        async def follow() -> AsyncIterator[str]:
            with self.processes[pid]["log"].open("rb") as log:
                while True:
                    line = log.readline()
                    if line:
                        yield event("", {"line": line.decode(errors="replace").rstrip("\n"), "timestamp": time.time()})
                    elif self.processes[pid]["process"].returncode is not None:
                        return
                    else:
                        await asyncio.sleep(0.05)

        return StreamingResponse(follow(), media_type="text/event-stream")

    async def kill(self, request: Request) -> Response:
        pid = self.known(request)
        body = await read_json(request)
        if self.processes[pid]["process"].returncode is not None:
            raise HTTPException(400, "The process has ended already")
        try:
            os.killpg(pid, int(body.get("signal", signal.SIGTERM)))
        except (ProcessLookupError, ValueError, OSError) as error:
            raise HTTPException(400, str(error)) from None
        return JSONResponse({"success": True})

    # Files.

    async def files(self, request: Request) -> Response:
        folder = self.folders.real(request.query_params.get("path", "/workspace"))
        if not folder.is_dir():
            raise HTTPException(404, "Directory not found")
        entries = []
        for path in sorted(folder.iterdir()):
            info = path.lstat()
            inside = self.folders.inside(folder) + "/" + path.name
            entries.append(
                {
                    "name": path.name,
                    "path": inside,
                    "is_dir": path.is_dir(),
                    "size": info.st_size,
                    "permissions": f"{info.st_mode & 0o777:o}",
                }
            )
        return JSONResponse({"files": entries})

    async def read_file(self, request: Request) -> Response:
        path = request.query_params.get("path", "")
        data = self.existing(path).read_bytes()
        try:
            return JSONResponse({"content": data.decode(), "path": path})
        except UnicodeDecodeError:
            return JSONResponse({"content": base64.b64encode(data).decode(), "path": path, "encoding": "base64"})

    async def write_file(self, request: Request) -> Response:
        body = await read_json(request)
        path, content = body.get("path"), body.get("content")
        if not isinstance(path, str) or not isinstance(content, str):
            raise HTTPException(422, "path and content are required")
        real = self.folders.real(path)
        real.parent.mkdir(parents=True, exist_ok=True)
        try:
            data = base64.b64decode(content, validate=True) if body.get("encoding") == "base64" else content.encode()
        except ValueError:
            raise HTTPException(400, "content is not base64") from None
        real.write_bytes(data)
        return JSONResponse({"success": True, "path": path})

    async def download(self, request: Request) -> Response:
        return FileResponse(self.existing(request.query_params.get("path", "")))

    def existing(self, path: str) -> Path:
        real = self.folders.real(path)
        if not real.is_file():
            raise HTTPException(404, "File not found")
        return real

    # The way in.

    async def proxy(self, request: Request) -> Response:
        port = int(request.path_params["port"])
        if port not in self.ports:
            raise HTTPException(502, f"Nothing listens on port {port}")
        raw = request.scope["raw_path"].decode("latin-1").split("?")[0]
        path = raw.split(f"/proxy/{port}", 1)[1] or "/"
        target = path + (f"?{request.url.query}" if request.url.query else "")
        headers = [
            (name, value)
            for name, value in request.headers.items()
            if name not in HOP_BY_HOP and name not in ("host", "authorization", "content-length")
        ]
        try:
            status, answer_headers, body = await asyncio.wait_for(
                fetch(self.ports[port], request.method, target, headers, await request.body()), PROXY_TIMEOUT_SECONDS
            )
        except UpstreamDown:
            raise HTTPException(502, f"Nothing listens on port {port}") from None
        except (TimeoutError, UpstreamSlow):
            raise HTTPException(504, f"Port {port} did not answer in time") from None
        response = Response(body, status)
        response.raw_headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in answer_headers
            if name.lower() not in HOP_BY_HOP and name.lower() != "content-length"
        ]
        length = dict(answer_headers).get("content-length") if request.method == "HEAD" else str(len(body))
        response.headers["content-length"] = length or "0"
        return response

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "healthy", "mode": "service", "timestamp": time.time()})

    def app(self) -> Starlette:
        routes = [
            Route("/health", self.health),
            Route("/api/exec", self.exec, methods=["POST"]),
            Route("/api/exec/stream", self.exec_stream, methods=["POST"]),
            Route("/api/exec/background", self.start, methods=["POST"]),
            Route("/api/processes", self.list_processes),
            Route("/api/processes/{pid}", self.one_process),
            Route("/api/processes/{pid}/logs", self.process_logs),
            Route("/api/processes/{pid}/logs/stream", self.stream_logs),
            Route("/api/processes/{pid}/kill", self.kill, methods=["POST"]),
            Route("/api/files", self.files),
            Route("/api/files/content", self.read_file, methods=["GET"]),
            Route("/api/files/content", self.write_file, methods=["POST"]),
            Route("/api/files/download", self.download),
            Route("/proxy/{port:int}", self.proxy, methods=METHODS),
            Route("/proxy/{port:int}/{path:path}", self.proxy, methods=METHODS),
        ]
        app = Starlette(routes=routes, exception_handlers={HTTPException: refuse})
        return Guard(app, self.token)  # type: ignore[return-value]  # an ASGI app around the app


METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Guard:
    """Lets only those in who hold the token; /health is open."""

    def __init__(self, app: Any, token: str) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] != "/health" and (answer := self.refusal(scope)):
            await answer(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def refusal(self, scope: dict[str, Any]) -> Response | None:
        if not self.token:
            return JSONResponse({"detail": "The sandbox has no API token"}, 503)
        given = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        kind, _, token = given.partition(" ")
        if kind.lower() != "bearer" or not token:
            return JSONResponse({"detail": "Missing or malformed Authorization header"}, 401)
        if not hmac.compare_digest(token.strip().encode(), self.token.encode()):
            return JSONResponse({"detail": "Invalid API token"}, 403)
        return None


async def refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for this kind only
    return JSONResponse({"detail": error.detail}, error.status_code)


async def read_json(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        body = None
    if not isinstance(body, dict):
        raise HTTPException(422, "The body must be a JSON object")
    return body


async def read_command(request: Request) -> dict[str, Any]:
    body = await read_json(request)
    if not isinstance(body.get("command"), str) or not body["command"].strip():
        raise HTTPException(422, "command is required")
    timeout = body.get("timeout")
    body["timeout"] = float(timeout) if isinstance(timeout, int | float) and timeout > 0 else 120.0
    if not isinstance(body.get("env") or {}, dict):
        raise HTTPException(422, "env must be an object")
    return body


async def read_line(stream: asyncio.StreamReader) -> bytes:
    """A line, or a piece of one that is longer than the reader's limit; empty at the end."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await stream.readexactly(error.consumed or 1)


def event(name: str, data: dict[str, Any]) -> str:
    return (f"event: {name}\n" if name else "") + f"data: {json.dumps(data)}\n\n"


def tail_of(log: Path) -> list[str]:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
        return file.read().decode(errors="replace").splitlines()


def end_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def clean_environment(outer: dict[str, str]) -> dict[str, str]:
    """What a command may know of the machine: how to reach packages, and no secret of the orchestrator."""
    return {key: value for key, value in outer.items() if key.startswith(PASSED_ON) or key in PROXIES}


def main() -> None:
    """Serve on the socket that was inherited as file descriptor 3; configuration comes as JSON on standard input."""
    import uvicorn

    given = json.loads(sys.stdin.readline())
    root = Path(given["root"])
    for name in ("workspace", "home", "tmp", "logs"):
        shutil.rmtree(root / name, ignore_errors=True)
    environment = clean_environment(dict(os.environ)) | given["environment"]
    agent = Agent(root, given["token"], given["app_id"], environment)
    config = uvicorn.Config(
        agent.app(),
        fd=given["fd"],
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        loop="asyncio",
        server_header=False,
        date_header=False,
    )
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
