"""Commands: run to their end, line by line, or in the background."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from pools.localcloud.agent.sandbox import Sandbox
from pools.localcloud.mortality import die_with_parent

DEFAULT_TIMEOUT_SECONDS = 120.0
LOG_TAIL_BYTES = 1_000_000
WAITING_LINES = 1000
LOG_LOOK_SECONDS = 0.05
BURIAL_SECONDS = 0.05
SIGNALS = {int(known) for known in signal.Signals}


@dataclass(slots=True)
class Command:
    command: str
    cwd: str
    env: dict[str, Any]
    timeout_seconds: float

    @classmethod
    async def of(cls, request: Request) -> Command:
        """Read the request. Raises 422 with the field's name."""
        body = await read_json(request)
        command, cwd = body.get("command"), body.get("cwd") or "/workspace"
        env, timeout = body.get("env") or {}, body.get("timeout") or DEFAULT_TIMEOUT_SECONDS
        if not isinstance(command, str) or not command.strip() or "\0" in command:
            raise HTTPException(422, "command is required")
        if not isinstance(cwd, str):
            raise HTTPException(422, "cwd must be a string")
        if not isinstance(env, dict) or any("=" in name or "\0" in f"{name}{value}" for name, value in env.items()):
            raise HTTPException(422, "env must be an object of strings")
        if not isinstance(timeout, int | float) or timeout <= 0:
            raise HTTPException(422, "timeout must be a number of seconds")
        return cls(command, cwd, env, float(timeout))


@dataclass(slots=True)
class Background:
    """A process that stays."""

    process: asyncio.subprocess.Process
    command: str
    log: Path
    log_file: str
    started_at: float

    def as_json(self) -> dict[str, Any]:
        return {
            "pid": self.process.pid,
            "command": self.command,
            "status": "running" if self.process.returncode is None else "stopped",
            "log_file": self.log_file,
            "started_at": self.started_at,
        }


class Commands:
    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.background: dict[int, Background] = {}
        self.own: dict[int, asyncio.subprocess.Process] = {}
        self.spawning = 0

    async def spawn(self, command: Command, **streams: Any) -> asyncio.subprocess.Process:
        """Start it in a session of its own. Raises 400 when its folder does not exist."""
        cwd = self.sandbox.real(command.cwd)
        if not cwd.is_dir():
            raise HTTPException(400, f"The folder {command.cwd} does not exist")
        self.spawning += 1
        try:
            process = await asyncio.create_subprocess_exec(
                *("/bin/sh", "-c", self.sandbox.translated(command.command)),
                cwd=cwd,
                env=self.sandbox.environment_for(command.env),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=die_with_parent(os.getpid()),
                **streams,
            )
            self.own[process.pid] = process
        finally:
            self.spawning -= 1
        return process

    def bury_orphans(self) -> None:
        """Wait for the dead whose parents died before them, as a container's first process does; for SIGCHLD.

        The event loop waits for our own children, so those must be left to it.
        """
        self.own = {pid: process for pid, process in self.own.items() if process.returncode is None}
        try:
            while dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if self.spawning or dead.si_pid in self.own:
                    asyncio.get_running_loop().call_later(BURIAL_SECONDS, self.bury_orphans)
                    return
                os.waitpid(dead.si_pid, os.WNOHANG)
        except ChildProcessError:
            return

    async def run(self, request: Request) -> Response:
        command = await Command.of(request)
        process = await self.spawn(command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        try:
            out, err = await asyncio.wait_for(process.communicate(), command.timeout_seconds)
        except TimeoutError:
            raise HTTPException(408, f"Command timed out after {command.timeout_seconds:g} seconds") from None
        finally:
            if process.returncode is None:
                end_group(process.pid)
        code = process.returncode
        return JSONResponse({"stdout": text(out), "stderr": text(err), "exit_code": code})

    async def stream(self, request: Request) -> Response:
        command = await Command.of(request)
        process = await self.spawn(command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        return StreamingResponse(events_of(process, command.timeout_seconds), media_type="text/event-stream")

    async def start(self, request: Request) -> Response:
        command = await Command.of(request)
        log_file = f"/tmp/processes/{len(self.background) + 1}.log"  # noqa: S108  a path in the sandbox
        log = self.sandbox.real(log_file)
        log.parent.mkdir(exist_ok=True)
        with log.open("wb") as output:
            process = await self.spawn(command, stdout=output, stderr=asyncio.subprocess.STDOUT)
        self.background[process.pid] = Background(process, command.command, log, log_file, time.time())
        return JSONResponse({"pid": process.pid, "log_file": log_file})

    def known(self, request: Request) -> Background:
        pid = request.path_params["pid"]
        found = self.background.get(int(pid)) if pid.isdecimal() else None
        if found is None:
            raise HTTPException(404, "Process not found")
        return found

    async def processes(self, request: Request) -> Response:
        return JSONResponse([process.as_json() for process in self.background.values()])

    async def process(self, request: Request) -> Response:
        return JSONResponse(self.known(request).as_json())

    async def logs(self, request: Request) -> Response:
        lines = tail_of(self.known(request).log)
        tail = request.query_params.get("tail", "")
        if tail.isdecimal():
            lines = lines[-int(tail) :] if int(tail) else []
        return JSONResponse({"logs": "\n".join(lines)})

    async def stream_logs(self, request: Request) -> Response:
        return StreamingResponse(log_events(self.known(request)), media_type="text/event-stream")

    async def kill(self, request: Request) -> Response:
        known = self.known(request)
        number = (await read_json(request)).get("signal", int(signal.SIGTERM))
        if not isinstance(number, int) or number not in SIGNALS:
            raise HTTPException(400, "Invalid signal")
        try:
            os.killpg(known.process.pid, number)  # it may have left children behind
        except OSError:
            raise HTTPException(400, "The process has ended already") from None
        return JSONResponse({"success": True})

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/exec", self.run, methods=["POST"]),
            Route("/api/exec/stream", self.stream, methods=["POST"]),
            Route("/api/exec/background", self.start, methods=["POST"]),
            Route("/api/processes", self.processes),
            Route("/api/processes/{pid}", self.process),
            Route("/api/processes/{pid}/logs", self.logs),
            Route("/api/processes/{pid}/logs/stream", self.stream_logs),
            Route("/api/processes/{pid}/kill", self.kill, methods=["POST"]),
        ]


async def events_of(process: asyncio.subprocess.Process, timeout_seconds: float) -> AsyncIterator[str]:
    """Every line as an event, then the exit. The process ends with whoever listens."""
    began = time.monotonic()
    lines: asyncio.Queue[tuple[str, str] | None] = asyncio.Queue(WAITING_LINES)

    async def read(name: str, stream: asyncio.StreamReader) -> None:
        while line := await read_line(stream):
            await lines.put((name, text(line).rstrip("\r\n")))
        await lines.put(None)

    streams = {"stdout": process.stdout, "stderr": process.stderr}
    readers = [asyncio.create_task(read(name, stream)) for name, stream in streams.items() if stream is not None]
    try:
        open_streams = len(readers)
        while open_streams:
            left_seconds = timeout_seconds - (time.monotonic() - began)
            item = await asyncio.wait_for(lines.get(), max(0.0, left_seconds))
            if item is None:
                open_streams -= 1
            else:
                yield event(item[0], {"line": item[1], "timestamp": time.time()})
        left_seconds = timeout_seconds - (time.monotonic() - began)
        code = await asyncio.wait_for(process.wait(), max(0.0, left_seconds))
        duration_ms = int((time.monotonic() - began) * 1000)
        yield event("exit", {"code": code, "duration_ms": duration_ms, "timestamp": time.time()})
    except TimeoutError:
        message = f"Command timed out after {timeout_seconds:g} seconds"
        yield event("error", {"message": message, "code": "TIMEOUT", "timestamp": time.time()})
    finally:
        for reader in readers:
            reader.cancel()
        if process.returncode is None:
            end_group(process.pid)


async def log_events(background: Background) -> AsyncIterator[str]:
    """The log from its beginning, and what is added to it, until the process ends."""
    with background.log.open("rb") as log:
        begun = b""
        while True:
            ended = background.process.returncode is not None  # before reading, so that its last words are read
            while line := log.readline():
                begun += line
                if begun.endswith(b"\n") or ended:
                    yield event("", {"line": text(begun).rstrip("\r\n"), "timestamp": time.time()})
                    begun = b""
            if ended:
                return
            await asyncio.sleep(LOG_LOOK_SECONDS)


async def read_json(request: Request) -> dict[str, Any]:
    """The body's JSON object. Raises 422 when it is none."""
    try:
        body = json.loads(await request.body())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise HTTPException(422, "The body must be a JSON object")
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


def text(data: bytes) -> str:
    return data.decode(errors="replace")


def tail_of(log: Path) -> list[str]:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
        return text(file.read()).splitlines()


def end_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
