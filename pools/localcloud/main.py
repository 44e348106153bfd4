"""Starts the local cloud: `python -m pools.localcloud --port 0 --dir var/localcloud`.

Whoever asks it for anything sends its token, which lies in the file `token` of its folder: `Authorization: Bearer …`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from pools.localcloud.agents import listen
from pools.localcloud.connections import KEEP_ALIVE_SECONDS, Connections
from pools.localcloud.control import Control
from pools.localcloud.mortality import adopt_orphans
from pools.localcloud.server import MISSING, FrontDoor, LocalCloud, Refusal
from pools.localcloud.tokens import kept_token
from pools.localcloud.trouble import Troubled

PREDECESSOR_SECONDS = 5.0  # one that was killed may take a moment to be gone


def add_arguments(parser: argparse.ArgumentParser, *, has_defaults: bool = False) -> None:
    """`has_defaults`: the caller knows the folder, so nobody has to name it."""
    parser.add_argument("--port", type=int, default=0, help="0 takes the port of the last start, or a free one")
    parser.add_argument("--bind", default="127.0.0.1", help="the address to listen on; sandboxes stay on the loopback")
    parser.add_argument("--dir", type=Path, required=not has_defaults, help="where apps and their files are kept")
    parser.add_argument(
        "--token",
        action="append",
        help="a token that is accepted; may be repeated. Others on this machine can read it here; without it, the one "
        "in the folder's file `token` counts, which is made if there is none",
    )
    parser.add_argument("--deploy-seconds", type=float, default=2.0, help="how long a deployment takes")
    parser.add_argument("--paper", action="store_true", help="apps without processes")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="localcloud", description=__doc__)
    add_arguments(parser)
    run(parser.parse_args(arguments))


def run(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT; then every process that an app started is ended."""
    folder: Path = options.dir.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with alone(folder), contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(folder, options))


async def serve(folder: Path, options: argparse.Namespace) -> None:
    adopt_orphans()
    port_file = folder / "port"
    cloud = LocalCloud(folder, options.token or [kept_token(folder)], options.deploy_seconds, paper=options.paper)
    cloud.containers.prepare(cloud.account.apps)
    kept = options.port
    with contextlib.suppress(OSError, ValueError):
        kept = options.port or int(port_file.read_text())
    try:
        listener = listen(kept, options.bind, or_any=not options.port)
    except OSError as error:
        sys.exit(f"The local cloud can't start: {error}.")
    port = listener.getsockname()[1]
    cloud.base = f"http://{options.bind}:{port}"
    connections = Connections()
    config = uvicorn.Config(
        application(cloud, connections),
        http=connections.protocol(),
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        server_header=False,
    )
    server = Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    for app in cloud.account.apps.values():
        cloud.run(app)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    fresh = port_file.with_suffix(".new")
    fresh.write_text(str(port))
    fresh.replace(port_file)
    print(f"Local cloud: {cloud.base}", flush=True)  # noqa: T201  whoever started it waits for this line
    await serving
    await cloud.containers.stop_all()


def application(cloud: LocalCloud, connections: Connections) -> FrontDoor:
    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)  # noqa: S101  registered for this kind only
        return error.answer()

    async def not_found(request: Request, error: Exception) -> Response:
        return Refusal(404, MISSING).answer()

    routes = [*cloud.routes(), *Control(cloud).routes()]
    api = Starlette(routes=routes, exception_handlers={Refusal: refused, 404: not_found, 405: not_found})
    return FrontDoor(Troubled(api, cloud.faults, connections, cloud.describe), cloud)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder; ends the process when another local cloud keeps holding it."""
    deadline = time.monotonic() + PREDECESSOR_SECONDS
    with (folder / "lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    sys.exit(f"Another local cloud works in {folder}; give this one another --dir.")
                time.sleep(0.05)
        yield


class Server(uvicorn.Server):
    """uvicorn, with the signals left to us."""

    def stop(self) -> None:
        self.should_exit = self.force_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
