"""An agent without an app: somewhere to build things in, as images are built elsewhere than they run."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pools.localcloud.containers import ROOT, listen, make_bin, sandbox_environment
from pools.localcloud.mortality import MARK, die_with_parent, end_marked

START_SECONDS = 20


@contextmanager
def local_agent(folder: Path, runtime: str) -> Iterator[tuple[str, str]]:
    """The URL and token of an agent that runs as long as the block does; nothing of it stays."""
    name, token = f"workbench-{secrets.token_hex(4)}", secrets.token_hex(16)
    root = folder / "workbenches" / name
    root.mkdir(parents=True)
    listener = listen(0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    environment = sandbox_environment(folder, make_bin(folder), runtime)
    given = {"root": str(root), "token": token, "app_id": name, "fd": listener.fileno(), "environment": environment}
    process = subprocess.Popen(
        [sys.executable, "-m", "pools.localcloud.agent"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        pass_fds=[listener.fileno()],
        env=os.environ | {MARK: name, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        preexec_fn=die_with_parent(os.getpid()),
    )
    listener.close()
    try:
        assert process.stdin is not None  # noqa: S101  a pipe was asked for
        process.stdin.write(json.dumps(given).encode() + b"\n")
        process.stdin.flush()
        _wait(url, process)
        yield url, token
    finally:
        process.kill()
        process.communicate()
        end_marked({name})
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
