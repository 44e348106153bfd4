"""Commands: run to their end, line by line, or in the background.

They share the agent's process group, as in the images: whoever signals a process signals that one alone, and what it
has started lives on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pools.localcloud.agent.bodies import Body
from pools.localcloud.agent.refusals import Refusal, Unforeseen
from pools.localcloud.agent.sandbox import Sandbox
from pools.localcloud.connections import Breakable, BrokenOff, Connections
from pools.localcloud.mortality import die_with_parent

DEFAULT_TIMEOUT_SECONDS = 120
LONGEST_LINE_BYTES = 64 * 1024
FOLLOWED_LINES = 10  # of a log's end, before what is added to it
LOG_LOOK_SECONDS = 0.05
BURIAL_SECONDS = 0.05


@dataclass(slots=True)
class Command:
    command: str
    cwd: str
    env: dict[str, str]
    timeout_seconds: int

    @classmethod
    async def of(cls, request: Request) -> Command:
        """Read the request. Raises Refusal with the fields that are wrong."""
        body = await Body.of(request)
        command, cwd = body.text("command"), body.text("cwd", "/workspace")
        env, timeout = body.texts("env"), body.whole_number("timeout", DEFAULT_TIMEOUT_SECONDS)
        body.check()
        return cls(command, cwd, env, timeout)


@dataclass(slots=True)
class Background:
    """A process that stays."""

    process: asyncio.subprocess.Process
    command: str
    log: Path
    log_file: str
    started_at: float

    @property
    def has_ended(self) -> bool:
        return self.process.returncode is not None

    def as_json(self) -> dict[str, Any]:
        return {
            "pid": self.process.pid,
            "command": self.command,
            "status": "stopped" if self.has_ended else "running",
            "log_file": self.log_file,
            "started_at": self.started_at,
        }


class Commands:
    def __init__(self, sandbox: Sandbox, connections: Connections) -> None:
        self.sandbox, self.connections = sandbox, connections
        self.background: dict[int, Background] = {}
        self.own: dict[int, asyncio.subprocess.Process] = {}
        self.spawning = 0

    async def spawn(self, command: Command, shell: str = "/bin/sh", **streams: Any) -> asyncio.subprocess.Process:
        """Start it. Raises Unforeseen where its folder does not exist, or the system can't start it."""
        self.spawning += 1
        try:
            process = await asyncio.create_subprocess_exec(
                *(shell, "-c", self.sandbox.translated(command.command)),
                cwd=self.sandbox.folder(command.cwd),
                env=self.sandbox.environment_for(command.env),
                stdin=asyncio.subprocess.DEVNULL,
                preexec_fn=die_with_parent(os.getpid()),
                **streams,
            )
            self.own[process.pid] = process
        except (OSError, ValueError):
            raise Unforeseen from None
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
            kill(process)
            raise Refusal(408, "Command timed out") from None
        return JSONResponse({"stdout": text(out), "stderr": text(err), "exit_code": process.returncode or 0})

    async def stream(self, request: Request) -> Response:
        return Breakable(self.connections, self.events(await Command.of(request)), media_type="text/event-stream")

    async def events(self, command: Command) -> AsyncIterator[str]:
        """Every line as an event, then the exit. The command's time is the longest silence, not the whole. It lives on
        when nobody reads it any more."""
        began = time.monotonic()
        try:
            process = await self.spawn(
                command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=LONGEST_LINE_BYTES
            )
        except Unforeseen:
            raise BrokenOff from None
        streams = {"stdout": process.stdout, "stderr": process.stderr}
        reading = {
            asyncio.ensure_future(stream.readline()): (name, stream)
            for name, stream in streams.items()
            if stream is not None
        }
        try:
            while reading:
                done, _ = await asyncio.wait(
                    reading, timeout=command.timeout_seconds, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    kill(process)
                    yield event("error", {"message": "Command timed out", "code": "TIMEOUT"})
                    return
                for one in done:
                    name, stream = reading.pop(one)
                    if line := one.result():
                        yield event(name, {"line": text(line).rstrip("\n"), "timestamp": time.time()})
                        reading[asyncio.ensure_future(stream.readline())] = (name, stream)
        except ValueError:  # a line without an end in sight
            raise BrokenOff from None
        finally:
            for one in reading:
                one.cancel()
        code = await process.wait()
        duration_ms = int((time.monotonic() - began) * 1000)
        yield event("exit", {"code": code, "duration_ms": duration_ms, "timestamp": time.time()})

    async def start(self, request: Request) -> Response:
        command = await Command.of(request)
        log_file = f"/tmp/proc_{secrets.token_hex(4)}.log"  # noqa: S108  a path in the sandbox
        log = self.sandbox.real(log_file)
        with log.open("wb") as output:
            process = await self.spawn(command, "/bin/bash", stdout=output, stderr=asyncio.subprocess.STDOUT)
        self.background[process.pid] = Background(process, command.command, log, log_file, time.time())
        return JSONResponse({"pid": process.pid, "log_file": log_file})

    def known(self, request: Request) -> Background:
        pid = request.path_params["pid"]
        if not pid.isdecimal():
            raise Refusal.of_field("pid", "must be a whole number", where="path")
        found = self.background.get(int(pid))
        if found is None:
            raise Refusal(404, f"Process {pid} is not tracked")
        return found

    async def processes(self, request: Request) -> Response:
        return JSONResponse([process.as_json() for process in self.background.values()])

    async def process(self, request: Request) -> Response:
        return JSONResponse(self.known(request).as_json())

    async def logs(self, request: Request) -> Response:
        """The whole log, which must be text, or its last lines, which need not be."""
        log = self.known(request).log
        tail = request.query_params.get("tail", "0")
        if not tail.isdecimal():
            raise Refusal.of_field("tail", "must be a whole number", where="query")
        try:
            data = log.read_bytes()
            logs = "".join(text(data).splitlines(keepends=True)[-int(tail) :]) if int(tail) else data.decode()
        except FileNotFoundError:
            logs = ""
        except UnicodeDecodeError:
            raise Unforeseen from None
        return JSONResponse({"logs": logs})

    async def stream_logs(self, request: Request) -> Response:
        return StreamingResponse(log_events(self.known(request).log), media_type="text/event-stream")

    async def kill(self, request: Request) -> Response:
        """Signal the process, and nothing else: what it has started is not its group."""
        known = self.known(request)
        body = await Body.of(request, may_be_empty=True)
        number = body.whole_number("signal", int(signal.SIGTERM))
        body.check()
        try:
            if known.has_ended:
                raise ProcessLookupError("No such process")
            os.kill(known.process.pid, number)
        except (OSError, OverflowError) as error:
            raise Refusal(400, f"Failed to kill process: {error}") from None
        return JSONResponse({"success": True})

    def routes(self) -> list[Route]:
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


async def log_events(path: Path) -> AsyncIterator[str]:
    """The log's last lines, and what is added to it, for as long as somebody listens: it may outlive its process."""
    with path.open("rb") as log:
        begun = b"".join(log.readlines()[-FOLLOWED_LINES:])
        while True:
            *lines, begun = (begun + log.read()).split(b"\n")
            for line in lines:
                yield event("", {"line": text(line), "timestamp": time.time()})
            await asyncio.sleep(LOG_LOOK_SECONDS)


def event(name: str, data: dict[str, Any]) -> str:
    return (f"event: {name}\n" if name else "") + f"data: {json.dumps(data)}\n\n"


def text(data: bytes) -> str:
    return data.decode(errors="replace")


def kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
