"""An agent without an app: somewhere to build things in, as images are built elsewhere than they run."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pools.localcloud.agents import COMMAND, AgentStart, listen
from pools.localcloud.mortality import APP_MARK, descendants, end, marked
from pools.localcloud.programs import make_programs

START_SECONDS = 20


@contextmanager
def local_agent(folder: Path, runtime: str) -> Iterator[tuple[str, str]]:
    """The URL and token of an agent that runs as long as the block does; nothing of it stays."""
    make_programs(folder)
    name, token = f"workbench-{secrets.token_hex(4)}", secrets.token_hex(16)
    root = folder / "workbenches" / name
    root.mkdir(parents=True)
    start = AgentStart(folder, root, app_id=name, name=name, token=token, runtime=runtime)
    listener = listen(0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    process = subprocess.Popen(COMMAND, **start.options(listener))
    try:
        assert process.stdin is not None  # noqa: S101  a pipe was asked for
        process.stdin.write(start.first_line(listener))
        process.stdin.flush()
        listener.close()
        _wait(url, process)
        yield url, token
    finally:
        listener.close()
        below = descendants(process.pid)
        process.kill()
        process.wait()
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        end(lambda: below | marked(APP_MARK, {name}))
        shutil.rmtree(root, ignore_errors=True)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            opener.open(f"{url}/health", timeout=1).close()  # loopback only
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
        else:
            return
    raise RuntimeError("The workbench's agent did not start.")
