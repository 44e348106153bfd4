"""Persistent shells: each an interactive bash on a terminal of its own, which keeps its folder and variables.

What comes back is what the terminal shows after the command's echo, up to and with the next prompt.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import select
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pools.localcloud.agent.bodies import Body
from pools.localcloud.agent.commands import DEFAULT_TIMEOUT_SECONDS
from pools.localcloud.agent.refusals import Refusal, Unforeseen
from pools.localcloud.agent.sandbox import Sandbox
from pools.localcloud.mortality import die_with_parent

PROMPT = "SANDBOX_PROMPT$ "
FIRST_PROMPT_SECONDS = 30
LOOK_SECONDS = 0.1
READ_BYTES = 4096
SHELL = ("/bin/bash", "--norc", "--noprofile", "-i")


@dataclass(slots=True)
class Session:
    """One shell, and our end of its terminal."""

    name: str
    process: subprocess.Popen[bytes]
    terminal: int
    env: dict[str, str]
    cwd: str
    created_at: float = field(default_factory=time.time)

    def as_json(self) -> dict[str, Any]:
        return {
            "session_id": self.name,
            "pid": self.process.pid,
            "cwd": self.cwd,
            "env": self.env,
            "status": "running" if self.process.poll() is None else "stopped",
            "created_at": self.created_at,
        }

    def until_prompt(self, seconds: float) -> str:
        """Return what the terminal shows until a prompt comes, or the time is over."""
        shown = ""
        deadline = time.monotonic() + seconds
        while PROMPT not in shown and time.monotonic() < deadline:
            if select.select([self.terminal], [], [], LOOK_SECONDS)[0]:
                try:
                    shown += os.read(self.terminal, READ_BYTES).decode(errors="replace")
                except OSError:  # its other end was closed
                    break
        return shown

    def said(self, command: str, seconds: float) -> str:
        """Have a command run, and return what it wrote. One that takes longer goes on, and its rest comes later."""
        try:
            os.write(self.terminal, f"{command}\n".encode())
        except OSError:
            raise Unforeseen from None
        lines = self.until_prompt(seconds).split("\n")
        return "\n".join(lines[1:] if command in lines[0] else lines).strip()

    def close(self) -> None:
        """End the shell. What it has started in the background lives on."""
        with contextlib.suppress(OSError):
            os.close(self.terminal)
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Sessions:
    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.open: dict[str, Session] = {}

    async def create(self, request: Request) -> Response:
        body = await Body.of(request)
        name, env, cwd = body.text("session_id"), body.texts("env"), body.text("cwd", "/workspace")
        body.check()
        if name in self.open:
            raise Refusal(400, f"Session {name} already exists")
        process, terminal = self.shell(self.sandbox.folder(cwd), self.sandbox.environment_for(env))
        session = self.open[name] = Session(name, process, terminal, env, cwd)
        await asyncio.to_thread(session.until_prompt, FIRST_PROMPT_SECONDS)
        return JSONResponse({"session_id": name, "pid": process.pid})

    def shell(self, folder: Path, environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], int]:
        """Start one; it, and our end of its terminal. Raises Unforeseen."""
        ours, theirs = pty.openpty()
        try:
            process = subprocess.Popen(
                SHELL,
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                cwd=folder,
                env=environment | {"PS1": PROMPT},
                start_new_session=True,
                preexec_fn=die_with_parent(os.getpid()),
            )
        except (OSError, ValueError):
            os.close(ours)
            raise Unforeseen from None
        finally:
            os.close(theirs)
        return process, ours

    async def index(self, request: Request) -> Response:
        return JSONResponse([session.as_json() for session in self.open.values()])

    async def show(self, request: Request) -> Response:
        return JSONResponse(self.known(request).as_json())

    async def run(self, request: Request) -> Response:
        body = await Body.of(request)
        command, seconds = body.text("command"), body.whole_number("timeout", DEFAULT_TIMEOUT_SECONDS)
        body.check()
        return JSONResponse({"output": await asyncio.to_thread(self.known(request).said, command, seconds)})

    async def close(self, request: Request) -> Response:
        session = self.known(request)
        del self.open[session.name]
        session.close()
        return JSONResponse({"success": True})

    def known(self, request: Request) -> Session:
        name = request.path_params["name"]
        if name not in self.open:
            raise Refusal(404, f"Session {name} not found")
        return self.open[name]

    def routes(self) -> list[Route]:
        return [
            Route("/api/sessions", self.create, methods=["POST"]),
            Route("/api/sessions", self.index),
            Route("/api/sessions/{name}", self.show),
            Route("/api/sessions/{name}", self.close, methods=["DELETE"]),
            Route("/api/sessions/{name}/exec", self.run, methods=["POST"]),
        ]
