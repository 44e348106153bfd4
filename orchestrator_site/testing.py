"""The product as a test double: a pytest plugin whose fixture `arcade` is the whole product, with its embedded cloud.

For the tests of others, who need no Django for it: nothing of the product is imported, it runs in processes of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from orchestrator_site import places

LEASH = Path(__file__).with_name("processes") / "leash.py"
START_SECONDS, STOP_SECONDS, COMMAND_SECONDS = 120, 40, 60
LOOK_SECONDS = 0.05
SHOWN_LINES = 40
INHERITED = ("PATH", "HOME", "TMPDIR", "VIRTUAL_ENV", "LANG", "LC_ALL")
FAST_AND_ROOMY = {
    "LOCALCLOUD_DEPLOY_SECONDS": "0.1",
    "MAX_TOTAL_SANDBOXES": "12",
    "MAX_CONCURRENT_COLD": "100",
    "MAX_CONCURRENT_WARM": "100",
    "MAX_TOTAL_ACTIVE": "100",
    "MAX_RUNS_PER_HOUR": "100000",
    "MAX_ACTIVE_PER_CLIENT": "100",
    "MAX_ACTIVE_PER_NETWORK": "100",
    "MAX_RUNS_PER_HOUR_PER_CLIENT": "100000",
    "MAX_RUNS_PER_HOUR_PER_NETWORK": "100000",
    "WARM_POOL_MAX_CONCURRENT_CREATES": "2",
}


class LocalArcade:
    """`manage.py up` in a folder of its own, `folder`, on a free port. `url` is its address; with `environment`, other
    commands of `manage.py` are about it, too."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        port = settings.get("PORT") or str(free_port())
        self.url = f"http://127.0.0.1:{port}"
        self.folder = folder
        self._log = folder / "log"
        self.environment = places.for_python(
            {
                **{name: os.environ[name] for name in INHERITED if name in os.environ},
                **FAST_AND_ROOMY,
                "PORT": port,
                "ORCHESTRATOR_VAR": str(folder / "var"),
                **settings,
            }
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Start, and wait until it is ready. Raises RuntimeError with what it printed. It ends with this process,
        however this one ends."""
        (self.folder / "var").mkdir()
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), *places.MANAGE, "up"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the tests, which then stop it
            )
        deadline = time.monotonic() + START_SECONDS
        while f"Ready: {self.url}/" not in self.log:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("The arcade did not start:\n" + "\n".join(self.log.splitlines()[-SHOWN_LINES:]))
            time.sleep(LOOK_SECONDS)

    def stop(self) -> None:
        """Stop it, and all that it started."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its reaper ends the rest
            self._process.wait()

    def make_key(self, *scopes: str, name: str = "tests") -> str:
        """A new API key: of the scopes launch (which is the usual one), read, operate and admin."""
        options = [f"--scope={scope}" for scope in scopes]
        done = subprocess.run(
            [*places.MANAGE, "api_key", "make", *options, "--why=tests", "--", name],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"The key could not be made: {done.stderr.strip()}")
        return done.stdout.strip()


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def arcade_settings() -> Mapping[str, str]:
    """Settings of the product in `arcade`, on top of its own; define a fixture of this name to have others."""
    return {}


@pytest.fixture(scope="session")
def arcade(arcade_settings: Mapping[str, str]) -> Iterator[LocalArcade]:
    """The whole product, started for these tests: `arcade.url`, `arcade.make_key("launch")`. It leaves nothing
    behind."""
    folder = Path(tempfile.mkdtemp(prefix="arcade-"))
    product = LocalArcade(folder, arcade_settings)
    try:
        product.start()
        yield product
    finally:
        product.stop()
        shutil.rmtree(folder, ignore_errors=True)
