"""The product as it is measured: a database, web processes, the stand-in for its sandboxes, the load. No cluster."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.bench import processor
from tests.bench.statements import PREFIX, Log
from tests.fixtures.servers import Postgres, end_postgres, start_postgres
from tests.fixtures.waiting import free_port, until

ROOT = Path(__file__).resolve().parents[2]
APPLICATION = "orchestrator_site.asgi:application"
STOP_SECONDS = 20
SERVERS = {
    "daphne": ["-m", "daphne", "-b", "127.0.0.1", "-v", "0", "--no-server-name", "-p"],
    "uvicorn": ["-m", "uvicorn", "--host", "127.0.0.1", "--log-level", "warning", "--no-access-log", "--port"],
}
NAMES = {"daphne": "Daphne", "uvicorn": "uvicorn", "sqlite": "SQLite", "postgresql": "PostgreSQL"}
NO_LIMITS = {
    "MAX_RUNS_PER_HOUR": "1000000",
    "MAX_TOTAL_SANDBOXES": "100000",
    "MAX_CONCURRENT_WARM": "100000",
    "MAX_CONCURRENT_COLD": "100000",
    "MAX_TOTAL_ACTIVE": "100000",
    "SANDBOX_MIN_LIFETIME_MINUTES": "60",
    "SANDBOX_MAX_LIFETIME_MINUTES": "60",
    "LOG_LEVEL": "WARNING",
}


class Helper:
    """A process that answers a line of JSON with one."""

    def __init__(self, module: str, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        return self.process.pid

    def line(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"{self.process.args} ended"
        return json.loads(line)

    def ask(self, **order: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.line()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        end(self.process)


def end(process: subprocess.Popen[Any], number: signal.Signals = signal.SIGTERM) -> None:
    """By its own id, and waited for."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass
class Measured:
    """What the load saw, and what each part used meanwhile, in seconds of processor time."""

    took_ms: list[float]
    came_at: list[float]
    refusals: list[str]
    seconds: float
    web: float
    load: float
    agents: float
    database: float

    @property
    def processor_ms(self) -> float:
        """Of the web processes, for each that was answered."""
        return 1000 * self.web / max(1, len(self.took_ms))

    def shares(self) -> dict[str, float]:
        """Of one processor, what was not the web processes' own."""
        return {
            "load_share": self.load / self.seconds,
            "agent_share": self.agents / self.seconds,
            "database_share": self.database / self.seconds,
        }


@dataclass
class Site:
    """`measure` lets the load work; `clerk.ask` writes rows."""

    vendor: str
    environment: dict[str, str]
    folder: Path
    agents: Helper
    agents_port: int
    load: Helper
    clerk: Helper
    postgres: Postgres | None = None
    log: Log | None = None
    web: list[subprocess.Popen[bytes]] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    server: str = "daphne"
    is_crowded: bool = False

    @property
    def where(self) -> str:
        return f"{NAMES[self.vendor]}, {len(self.web)} x {NAMES[self.server]}"

    def start_web(self, count: int) -> None:
        """So many web processes, each on a port of its own."""
        for _ in range(count - len(self.web)):
            port, process = self._serve(APPLICATION)
            self.web.append(process)
            self.ports.append(port)
        for process, port in zip(self.web, self.ports, strict=True):
            until(lambda process=process, port=port: self._answers(process, port), "the web answers", seconds=60)

    def _serve(self, application: str) -> tuple[int, subprocess.Popen[bytes]]:
        port = free_port()
        environment = self.environment | {"PORT": str(port)}
        command = [sys.executable, *SERVERS[self.server], str(port), application]
        with (self.folder / "web.log").open("ab") as output:
            return port, subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)

    def _answers(self, process: subprocess.Popen[bytes], port: int) -> bool:
        assert process.poll() is None, (self.folder / "web.log").read_text()
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health/live", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def stop_web(self) -> None:
        for process in self.web:
            end(process)
        self.web, self.ports = [], []

    def stock(self, count: int) -> None:
        """At least so many READY sandboxes."""
        if (lacking := count - self.clerk.ask(order="count")) > 0:
            self.clerk.ask(order="stock", count=lacking, port=self.agents_port)

    @contextmanager
    def bare(self) -> Iterator[tuple[int, int]]:
        """Port and process of the same server with an application that does nothing."""
        port, process = self._serve("tests.bench.bare:application")
        try:
            until(lambda: self._answers(process, port), "the bare server answers", seconds=30)
            yield port, process.pid
        finally:
            end(process)

    def measure(self, kind: str, *, pids: Sequence[int] = (), **order: Any) -> Measured:
        """Let the load work. `pids`: the processes that count as the web's, if not the site's own."""
        parts = {
            "web": pids or [process.pid for process in self.web],
            "agents": [self.agents.pid],
            "database": [self._database_pid()] if self.postgres else [],
        }
        before = {part: processor.seconds(processor.family(*these)) for part, these in parts.items()}
        told = self.load.ask(kind=kind, ports=order.pop("ports", self.ports), **order)
        used = {part: processor.seconds(processor.family(*these)) - before[part] for part, these in parts.items()}
        load = told.pop("processor_seconds")
        return Measured(**told, load=load, **used)

    def _database_pid(self) -> int:
        assert self.postgres is not None
        return int((self.postgres.folder / "data" / "postmaster.pid").read_text().split()[0])

    @contextmanager
    def logged(self) -> Iterator[Log]:
        """PostgreSQL writes every statement meanwhile."""
        assert self.postgres is not None
        assert self.log is not None
        self._configure("ALTER SYSTEM SET log_min_duration_statement = 0")
        self.log.skip()
        try:
            yield self.log
        finally:
            self._configure("ALTER SYSTEM RESET log_min_duration_statement")

    def _configure(self, statement: str) -> None:
        assert self.postgres is not None
        with self.postgres.connect() as connection:
            connection.execute(statement)
            connection.execute("SELECT pg_reload_conf()")
        time.sleep(0.3)  # each session takes it up between two statements

    def restart_web(self, count: int, server: str | None = None) -> None:
        """Other web processes over the same database."""
        self.stop_web()
        self.server = server or self.server
        self.start_web(count)


@contextmanager
def private_postgres(folder: Path) -> Iterator[Postgres]:
    """A PostgreSQL server that keeps what it has committed, as one does that is in use."""
    start_postgres(folder, options=[f"log_line_prefix={PREFIX}", "max_connections=300"])
    home = Path((folder / "home").read_text())
    try:
        yield Postgres(home)
    finally:
        end_postgres(home)
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def site(vendor: str, folder: Path, postgres: Postgres | None = None, **settings: str) -> Iterator[Site]:
    """A site over an empty, migrated database; without web processes yet."""
    folder.mkdir()
    inherited = {key: value for key, value in os.environ.items() if key not in ("DATABASE_URL", "REDIS_URL")}
    environment = inherited | NO_LIMITS | settings
    environment |= {"DJANGO_SETTINGS_MODULE": "orchestrator_site.settings", "ORCHESTRATOR_VAR": str(folder / "var")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    log = None
    if vendor == "postgresql":
        assert postgres is not None
        name = postgres.create()
        environment["DATABASE_URL"] = postgres.url(name)
        log = Log(postgres.folder / "log", name)
    else:
        postgres = None
    migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(migrate, cwd=ROOT, env=environment, check=True)
    with ExitStack() as stack:
        helpers = []
        for module in ("agents", "load", "clerk"):
            helpers.append(Helper(f"tests.bench.{module}", environment))
            stack.callback(helpers[-1].close)
        agents, load, clerk = helpers
        port = agents.line()
        clerk.line()
        made = Site(vendor, environment, folder, agents, port, load, clerk, postgres, log)
        stack.callback(made.stop_web)
        yield made
