"""The processes behind the apps: one agent each, started, watched, restarted and ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pools.localcloud.agents import COMMAND, AgentStart, listen
from pools.localcloud.apps import AGENT_STARTS_AT, App
from pools.localcloud.mortality import APP_MARK, FOLDER_MARK, end, end_strays, marked
from pools.localcloud.programs import make_programs
from pools.localcloud.specs import runtime_of, variables_of

RESTART_SECONDS = 1.0
SECRETS = {"SANDBOX_API_TOKEN"}


class Containers:
    """Runs the agents of one local cloud. `changed` is told of an app whose port or health is another now."""

    def __init__(self, folder: Path, changed: Callable[[App], None]) -> None:
        self.folder, self.changed = folder, changed
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self.watchers: dict[str, asyncio.Task[None]] = {}
        self.mutes: dict[str, socket.socket] = {}
        self.faults: list[dict[str, Any]] = []
        self.births = asyncio.Lock()  # a child that is not in `processes` yet would be taken for a stray

    def prepare(self, app_ids: Iterable[str]) -> None:
        """Before anything runs: end and remove what a killed predecessor left."""
        end(lambda: marked(FOLDER_MARK, {str(self.folder)}))
        known = set(app_ids)
        (self.folder / "apps").mkdir(exist_ok=True)
        for left in (self.folder / "apps").iterdir():
            if left.name not in known:
                shutil.rmtree(left, ignore_errors=True)
        make_programs(self.folder)

    def run(self, app: App) -> None:
        """Have the app's agent run, when its deployment has come that far, until the app is stopped."""
        if app.id not in self.watchers and app.should_run:
            self.watchers[app.id] = asyncio.create_task(self._run(app))

    async def replace(self, app: App) -> None:
        """A new deployment: the old agent serves until the new one's turn has come."""
        if app.should_run:
            delay_seconds = app.newest.began_at + AGENT_STARTS_AT * app.newest.seconds - time.time()
            if app.id in self.processes and delay_seconds > 0:
                await asyncio.sleep(delay_seconds)
            await self.stop(app, keep_files=True)
            self.run(app)

    async def _run(self, app: App) -> None:
        if app.active is None:
            await asyncio.sleep(app.newest.began_at + AGENT_STARTS_AT * app.newest.seconds - time.time())
        if app.agent.keys() & {"silent", "refuses"}:
            self._mute(app)
            return
        while app.should_run:
            process = await self._start(app)
            await process.wait()
            app.answers = False
            await self._end_strays({app.id})
            await asyncio.sleep(RESTART_SECONDS)

    def _mute(self, app: App) -> None:
        """Connections are taken and never answered, or refused."""
        listener = listen(app.port)
        app.port = listener.getsockname()[1]
        self.changed(app)
        if app.agent.get("silent"):
            self.mutes[app.id] = listener
        else:
            listener.close()

    async def _start(self, app: App) -> asyncio.subprocess.Process:
        """Start an agent on the app's port (a new one if that is taken by now) and wait until it answers."""
        root = self.folder / "apps" / app.id
        root.mkdir(parents=True, exist_ok=True)
        listener = listen(app.port)
        app.port = listener.getsockname()[1]
        self.changed(app)
        start = AgentStart(
            self.folder,
            root,
            app_id=app.id,
            name=app.name,
            token="another token" if app.agent.get("wrong_token") else app.token,
            runtime=runtime_of(app.spec) or "python",
            variables={name: value for name, value in variables_of(app.spec).items() if name not in SECRETS},
            marks={FOLDER_MARK: str(self.folder)},
        )
        try:
            async with self.births:
                process = await asyncio.create_subprocess_exec(*COMMAND, **start.options(listener))
                self.processes[app.id] = process
            first_line = start.first_line(listener, self.faults)
        finally:
            listener.close()
        await tell(process, first_line)
        while process.returncode is None:
            if await answers(app.port):
                app.answers = True
                self.changed(app)
                break
            await asyncio.sleep(0.02)
        if app.agent.get("hangs"):
            self.hang(app)
        return process

    async def tell_all(self, faults: list[dict[str, Any]]) -> None:
        """Put these faults in force in every agent, and in those to come."""
        self.faults = faults
        for process in self.processes.values():
            await tell(process, json.dumps({"faults": faults}).encode() + b"\n")

    async def stop(self, app: App, *, keep_files: bool = False) -> None:
        """End the app's processes and forget its files."""
        if (watcher := self.watchers.pop(app.id, None)) is not None:
            watcher.cancel()
        if (mute := self.mutes.pop(app.id, None)) is not None:
            mute.close()
        if app.paper:
            return
        if (process := self.processes.get(app.id)) is not None:
            await kill(process)
            if self.processes.get(app.id) is process:
                del self.processes[app.id]
            await self._end_strays({app.id})
        app.answers = False
        if not keep_files:
            await asyncio.to_thread(shutil.rmtree, self.folder / "apps" / app.id, True)

    async def stop_all(self) -> None:
        for watcher in self.watchers.values():
            watcher.cancel()
        await asyncio.gather(*(kill(process) for process in self.processes.values()))
        if self.processes:
            self.processes.clear()
            await self._end_strays(set())
            await asyncio.to_thread(end, lambda: marked(FOLDER_MARK, {str(self.folder)}))

    async def _end_strays(self, app_ids: set[str]) -> None:
        """End what agents have left behind when they ended, and what carries the mark of these apps."""
        async with self.births:
            known = {process.pid for process in self.processes.values() if process.returncode is None}
            await asyncio.to_thread(end_strays, known)
        if app_ids:
            await asyncio.to_thread(end, lambda: marked(APP_MARK, app_ids))

    def kill_agent(self, app: App) -> None:
        """The agent dies, as a container does."""
        self._signal(app, signal.SIGKILL)

    def hang(self, app: App) -> None:
        """The agent takes connections and does not answer, until it is resumed."""
        self._signal(app, signal.SIGSTOP)

    def resume(self, app: App) -> None:
        self._signal(app, signal.SIGCONT)

    def _signal(self, app: App, number: signal.Signals) -> None:
        process = self.processes.get(app.id)
        if process is not None and process.returncode is None:
            process.send_signal(number)


async def kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def tell(process: asyncio.subprocess.Process, line: bytes) -> None:
    """A line for an agent; one that is gone does not hear it."""
    if process.stdin is not None and process.returncode is None:
        with contextlib.suppress(ConnectionError):
            process.stdin.write(line)
            await process.stdin.drain()


async def answers(port: int) -> bool:
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 1)
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        line = await asyncio.wait_for(reader.readline(), 1)
        writer.close()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in line
