"""Starts the local cloud: `python -m pools.localcloud --port 0 --dir var/localcloud --token …`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from pools.localcloud.containers import listen
from pools.localcloud.control import Control
from pools.localcloud.mortality import end_marked
from pools.localcloud.server import LocalCloud, application


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=0, help="0 takes the port of the last start, or a free one")
    parser.add_argument("--dir", type=Path, required=True, help="where apps and their files are kept")
    parser.add_argument("--token", action="append", default=[], help="a token that is accepted; may be repeated")
    parser.add_argument("--deploy-seconds", type=float, default=2.0, help="how long a deployment takes")
    parser.add_argument("--paper", action="store_true", help="apps without processes")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="localcloud", description=__doc__)
    add_arguments(parser)
    options = parser.parse_args(arguments)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(options))


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT; then every process that an app started is ended."""
    folder: Path = options.dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    port_file = folder / "port"
    cloud = LocalCloud(folder, set(options.token), options.deploy_seconds, paper=options.paper)
    end_marked(set(cloud.account.apps))  # what a killed predecessor may have left
    with contextlib.suppress(OSError, ValueError):
        options.port = options.port or int(port_file.read_text())
    listener = listen(options.port)
    port = listener.getsockname()[1]
    cloud.base = f"http://127.0.0.1:{port}"
    config = uvicorn.Config(
        application(cloud, Control(cloud).routes()), log_level="warning", access_log=False, lifespan="off", ws="none"
    )
    server = Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    for app in cloud.account.apps.values():
        app.answers = False
        cloud.containers.run(app)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    fresh = port_file.with_suffix(".new")
    fresh.write_text(str(port))
    fresh.replace(port_file)
    print(f"Local cloud: {cloud.base}", flush=True)  # noqa: T201  whoever started it waits for this line
    await serving
    await cloud.containers.stop_all()


class Server(uvicorn.Server):
    """uvicorn, with the signals left to us."""

    def stop(self) -> None:
        self.should_exit = self.force_exit = True

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]  # uvicorn's own signature
        yield
