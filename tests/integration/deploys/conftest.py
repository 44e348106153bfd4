"""Processes as the published files start them, against a PostgreSQL, a Redis and an account of the test's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests.fixtures.local_cloud import TOKEN, LocalCloudProcess
from tests.fixtures.published import ROOT, Published, of_the_image
from tests.fixtures.servers import Postgres, Redis
from tests.fixtures.waiting import free_port, until

STOP_SECONDS = 60  # the grace that every file gives


class Machine:
    """One machine on which the files' processes run, each with its environment."""

    def __init__(self, folder: Path, account: str, database_url: str, redis_url: str) -> None:
        self.folder, self.port = folder, free_port()
        self.values = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "SECRET_KEY": "a key of the test alone " * 3,
            "DIGITALOCEAN_TOKEN": TOKEN,
            "ORCHESTRATOR_ID": "published",
            "PUBLIC_URL": "https://arcade.example.com",
            "PLAY_URL": "https://play.example.com",
        }
        self.of_the_test = {
            "PORT": str(self.port),
            "BIND": "127.0.0.1",
            "ORCHESTRATOR_VAR": str(folder / "var"),
            "DIGITALOCEAN_API_URL": account,
            "METRICS_PORT": str(free_port()),
            "METRICS_BIND": "127.0.0.1",
            "DRAIN_SECONDS": "1",  # nobody shares out requests here
        }
        self.running: list[subprocess.Popen[bytes]] = []
        self.log = folder / "log"
        (folder / "var").mkdir(parents=True)

    def environment(self, process: Published) -> dict[str, str]:
        """The file's, with what it leaves open. A variable that it does not set is not set, but for the test's own."""
        given = {name: self._value(name, value) for name, value in {**of_the_image(), **process.environment}.items()}
        given = {name: value for name, value in given.items() if not name.startswith("SPACES_")}  # out of reach here
        return {**given, **self.of_the_test, "PATH": os.defpath, "HOME": str(self.folder), "PYTHONPATH": str(ROOT)}

    def _value(self, name: str, value: str) -> str:
        wanted = name.removesuffix("_FILE")
        if name.endswith("_FILE"):
            secret = self.folder / wanted
            if not secret.exists():  # a process that starts may be reading it
                secret.write_text(self.values.get(wanted, "unused") + "\n")
            return str(secret)
        return self.values.get(wanted, value)

    def run(self, process: Published, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "orchestrator_site", *(arguments or process.arguments)]
        return subprocess.run(
            command, env=self.environment(process), cwd=self.folder, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip

    def start(self, process: Published) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            self.running.append(
                subprocess.Popen(
                    [sys.executable, "-m", "orchestrator_site", *process.arguments],
                    env=self.environment(process), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output,
                    stderr=output, start_new_session=True,
                )
            )  # fmt: skip
        return self.running[-1]

    def is_healthy(self, process: Published, role: str) -> bool:
        return self.run(process, "healthcheck", role).returncode == 0

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=20, trust_env=False)

    def close(self) -> None:
        for process in self.running:
            with suppress(psutil.Error):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            if process.poll() is None:
                process.kill()
            process.wait()


def stop(*processes: subprocess.Popen[bytes]) -> list[int]:
    """Their exit codes, after a SIGTERM to all of them."""
    for process in processes:
        process.send_signal(signal.SIGTERM)
    return [process.wait(STOP_SECONDS) for process in processes]


MakeMachine = Callable[[], Machine]


@pytest.fixture
def machine(tmp_path: Path, postgres: Postgres, redis: Redis) -> Iterator[Machine]:
    account = LocalCloudProcess(tmp_path / "account", "--deploy-seconds", "0.5")
    machine = Machine(tmp_path / "machine", account.url, postgres.url(postgres.create()), redis.url)
    yield machine
    machine.close()
    account.stop()
    print(machine.log.read_text(errors="replace") if machine.log.exists() else "")


def by_name(processes: list[Published]) -> Mapping[str, Published]:
    return {process.name: process for process in processes}


def wait_until_healthy(machine: Machine, web: Published, worker: Published) -> None:
    until(lambda: machine.is_healthy(web, "web"), "the web server is healthy", seconds=60)
    until(lambda: machine.is_healthy(worker, "worker"), "the worker is healthy", seconds=60)
