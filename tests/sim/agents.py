"""The sandboxes behind the simulated account's apps: the agent's HTTP API, what runs in them, and what dies.

They stand in the place of httpx's client for an address, so that the product's own transport runs above them. Shell
commands are understood as far as the product sends them; one that is not ends with 127 and is kept in `not_understood`.
"""

from __future__ import annotations

import base64
import json
import random
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import httpx

from games.processes import GAMES_DIR, LEAD, STAMP
from pools.cloud import long_command
from pools.taken import MARKED
from tests.sim.apps import NEVER, SimApp
from tests.sim.containers import Container, Process
from tests.sim.faults import AGENT, GAME, PLAYED, Faults
from tests.sim.world import World

if TYPE_CHECKING:
    from tests.sim.account import Account

HTML = "text/html"
JSON = "application/json"
BAD_GATEWAY = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
NOT_FOUND = b"<html><body><h1>404 Not Found</h1></body></html>"
RESTART_SECONDS = (5.0, 40.0)
HANG_SECONDS = (20.0, 600.0)

RESTORE = re.compile(r"python3 restore\.py --sha256 ([0-9a-f]+) --into (\S+) ")
LOOK_AT_PORT = re.compile(r"python3 -S port\.py look (\d+)")
OTHER_PORTS = re.compile(r"python3 -S port\.py others (\d+)$")
END = re.compile(r"for pid in ([\d ]*); do kill -9 ")
END_LONG = re.compile(r"kill -9 -(\d+) 2>/dev/null; rm -f ")
PLACE = re.compile(r"rm -rf (\S+) && mv (\S+) (\S+)$")
CLONE = re.compile(r"git clone --depth 1 -- \S+ (\S+)$")
LOOK = re.compile(r"state=\$\(cat \S+ 2>/dev/null\)\n.*kill -0 (\d+) .*tail -c \+(\d+) \S+ \| head -c (\d+)", re.DOTALL)
STARTED_GAME = f"exec setsid sh -c {shlex.quote(LEAD)} "
STARTED_LONG = f"{long_command.STARTED} "


class Request(NamedTuple):
    method: str
    url: str
    json: Any
    params: Mapping[str, Any]
    token: str
    timeout_seconds: float


class Response:
    """As much of httpx's as our transport reads."""

    __slots__ = ("body", "headers", "status_code", "waits")

    def __init__(self, status: int, body: bytes, kind: str = JSON, waits: Any = None) -> None:
        self.status_code, self.body, self.waits = status, body, waits
        self.headers = {"content-type": kind}

    @property
    def is_success(self) -> bool:
        return 200 <= self.status_code < 300

    def iter_raw(self) -> Iterator[bytes]:
        if self.waits is not None:
            yield self.body[:3]
            self.waits()
        yield self.body

    def close(self) -> None:
        """There is no connection."""


def told(data: Any, status: int = 200) -> Response:
    return Response(status, json.dumps(data).encode())


def refused(status: int, detail: str) -> Response:
    return told({"detail": detail}, status)


class Agents:
    """All sandboxes of the account."""

    def __init__(self, world: World, account: Account) -> None:
        self.world, self.account = world, account
        self.chance = random.Random(world.rng.getrandbits(64))
        self.faults = Faults(world)
        self.containers: dict[str, Container] = {}  # by the app's id
        self.by_host: dict[str, SimApp] = {}
        self.without_token: set[str] = set()
        self.not_understood: list[str] = []
        self.client = _Client(self)

    @contextmanager
    def client_for(self, url: str, *, is_loopback: bool) -> Iterator[_Client]:
        """In the place of `bounded.client_for`."""
        yield self.client

    # What befalls them.

    def begin(self, app: SimApp) -> None:
        """The app has an address from now on, whether or not anybody is there yet."""
        self.by_host[urlsplit(app.url).netloc] = app

    def end(self, app: SimApp) -> None:
        self.containers.pop(app.id, None)
        self.by_host.pop(urlsplit(app.url).netloc, None)
        self.without_token.discard(app.id)

    def calm(self) -> None:
        for container in self.containers.values():
            container.silent_until = 0.0

    def silences(self) -> list[float]:
        """Until when agents answer nobody."""
        return [container.silent_until for container in self.containers.values()]

    def ended_again(self, app_id: str, staged: Mapping[str, Any]) -> str:
        """Which of the games that a sandbox is said to be ready with the product itself has ended there; empty when
        none. What died by itself is for the looks at idle sandboxes to find."""
        container = self.containers.get(app_id)
        if container is None:
            return ""
        for slug, entry in staged.items():
            process = container.processes.get(entry.get("pid") or 0)
            if process is not None and process.was_ended:
                return slug
        return ""

    def befall(self, name: str, draw: random.Random) -> None:
        now = self.account.now()
        living = [each for each in self.containers.values() if not each.is_dead and each.up_from <= now]
        if not living:
            return
        container = draw.choice(living)
        match name:
            case "agent-dies":
                container.empty(now, 0)
                container.is_dead = True
            case "agent-restarts":
                container.empty(now, draw.uniform(*RESTART_SECONDS))
            case "agent-hangs":
                container.silent_until = now + draw.uniform(*HANG_SECONDS)
            case "game-dies":
                games = [(each, game) for each in living for game in each.games(now)]
                if not games:
                    return
                container, game = draw.choice(games)
                game.end(now)
        self.world.log(f"{name}: app {container.app.number}")

    # One request.

    def answer(self, request: Request) -> Response:
        """Raises httpx's errors."""
        parts = urlsplit(request.url)
        path = parts.path
        self.world.point(f"agent {request.method} {_kind(path)}")
        self.world.sleep(self.chance.uniform(0.01, 0.06))
        now = self.account.pass_time()
        app = self.by_host.get(parts.netloc)
        if app is None:
            raise httpx.ConnectError(f"{parts.netloc} has no address")
        container = self._container(app, now)
        if container is None:
            return Response(404, NOT_FOUND, HTML)
        if container.is_dead or now < container.up_from:
            return Response(
                *self.chance.choice(((502, BAD_GATEWAY, HTML), (503, b"no healthy upstream", "text/plain")))
            )
        if now < container.silent_until:
            self._time_out(request)
        fault = self.faults.first(AGENT)
        match fault:
            case "agent-unreachable":
                raise httpx.ConnectError("no connection")
            case "agent-silent":
                self._time_out(request)
            case "agent-html":
                return Response(502, BAD_GATEWAY, HTML)
            case "agent-503":
                return Response(503, b"no healthy upstream", "text/plain")
            case "agent-not-there":
                return Response(404, NOT_FOUND, HTML)
            case "agent-refuses-once":
                return refused(403, "Invalid token")
        response = self._answered(container, request, path, parts.query, now)
        self.world.point("agent answers")
        match fault:
            case "agent-breaks":
                raise httpx.ReadError("the connection broke")
            case "agent-odd":
                return told(["something", "else"])
            case "agent-trickles":
                response.waits = lambda: self._time_out(request)
        return response

    def _time_out(self, request: Request) -> None:
        self.world.sleep(request.timeout_seconds)
        raise httpx.ReadTimeout("no answer in time")

    def visit(self, app: SimApp) -> Container | None:
        """What is behind the app now; None while the edge does not lead to it."""
        return self._container(app, self.account.now())

    def _container(self, app: SimApp, now: float) -> Container | None:
        """None while the edge does not lead to it yet."""
        found = self.containers.get(app.id)
        if found is None and app.agent_comes_up and now >= app.active_at + app.agent_late_seconds:
            found = self.containers[app.id] = Container(app, now, now)
        return found

    def _answered(self, container: Container, request: Request, path: str, query: str, now: float) -> Response:
        if path == "/health":
            return told({"status": "healthy", "mode": "service", "timestamp": now})
        if container.app.id in self.without_token:
            return refused(503, "Agent token not configured")
        if request.token != f"Bearer {container.app.variable('SANDBOX_API_TOKEN')}":
            return refused(403, "Invalid token")
        if path.startswith("/proxy/"):
            return self._proxied(container, request, path, now)
        body = request.json if isinstance(request.json, dict) else {}
        params = {**dict(parse_qsl(query)), **(request.params or {})}
        match (request.method, *path.removeprefix("/api/").split("/")):
            case ("POST", "exec"):
                return self._exec(container, body, now)
            case ("POST", "exec", "background"):
                return self._start(container, body, now)
            case ("GET", "processes"):
                return told([self._listed(process, now) for process in container.processes.values()])
            case ("GET", "processes", pid, "logs"):
                process = container.processes.get(int(pid))
                return told({"logs": self._last_words(process, now)}) if process else refused(404, "Process not found")
            case ("POST", "processes", pid, "kill"):
                process = container.processes.get(int(pid))
                if process is None:
                    return refused(404, "Process not found")
                process.leader_until = min(process.leader_until, now)  # what it has started lives on
                return told({"success": True})
            case ("GET", "files"):
                return self._files(container, str(params.get("path", "")))
            case ("POST", "files", "content"):
                container.write(str(body.get("path")))
                return told({"success": True, "path": body.get("path")})
            case ("GET", "files", "download"):
                return Response(200, b"\0" * 1000, "application/octet-stream")
        return refused(404, "Not Found")

    def _proxied(self, container: Container, request: Request, path: str, now: float) -> Response:
        port = int(path.split("/", 3)[2])
        game = next((each for each in container.processes.values() if each.listens(port, now)), None)
        if game is None:
            return refused(502, f"Cannot connect to port {port}")
        if game.never_answers or self.faults.first(PLAYED):
            self._time_out(request)
        return Response(500 if game.is_unwell else 200, f"<title>{game.slug}</title>".encode(), HTML)

    def _files(self, container: Container, folder: str) -> Response:
        if folder not in container.folders:
            return refused(404, "Path not found")
        within = f"{folder}/"
        names = {
            path[len(within) :].split("/")[0] for path in container.folders | container.files if path.startswith(within)
        }
        return told({"files": [{"name": name, "path": within + name} for name in sorted(names)]})

    # Commands.

    def _exec(self, container: Container, body: Mapping[str, Any], now: float) -> Response:
        command, cwd = str(body.get("command")), str(body.get("cwd"))
        timeout_seconds = float(body.get("timeout") or 120)
        if cwd not in container.folders:
            return Response(500, b"Internal Server Error", "text/plain")
        if found := LOOK.match(command):
            return self._look(container, int(found[1]), int(found[2]), int(found[3]), now)
        if found := LOOK_AT_PORT.match(command):
            return self._look_at_port(container, int(found[1]), now)
        if found := OTHER_PORTS.match(command):
            return self._other_ports(container, int(found[1]), body.get("env") or {}, now)
        if found := RESTORE.match(command):
            return self._restore(container, found[1], f"{cwd}/{found[2]}", timeout_seconds)
        if (found := END.match(command)) or (found := END_LONG.match(command)):
            self._end(container, found[1], now)
            return _ended()
        if found := PLACE.match(command):
            if f"{cwd}/{found[2]}" not in container.folders:
                return _ended(1, err=f"mv: cannot stat '{found[2]}'")
            container.folders.discard(f"{cwd}/{found[2]}")
            container.folders.add(f"{cwd}/{found[3]}")
            return _ended()
        self.not_understood.append(command)
        return _ended(127, err="sh: 1: not simulated: not found")

    def _restore(self, container: Container, sha256: str, folder: str, timeout_seconds: float) -> Response:
        if f"{GAMES_DIR}/restore.py" not in container.files:
            return _ended(2, err="python3: can't open file 'restore.py'")
        fate = self.faults.first(GAME)
        if fate == "restore-slow":
            self.world.sleep(timeout_seconds)
            return refused(408, "Command timed out")
        born_at = container.born_at
        self.world.sleep(self.chance.lognormvariate(0.2, 0.4))
        if fate == "restore-fails":
            return _ended(3, out="failed: the snapshot could not be downloaded\n")
        if container.born_at != born_at or container.is_dead:
            raise httpx.ReadError("the container went")
        container.folders.add(folder)
        return _ended(out=f"downloaded {sha256[:12]}\nin place\n")

    def _look_at_port(self, container: Container, port: int, now: float) -> Response:
        if f"{GAMES_DIR}/port.py" not in container.files:
            return _ended(2, err="python3: can't open file 'port.py'")
        listening = [each for each in container.processes.values() if each.listens(port, now)]
        listeners = [{"stamp": each.stamp, "session": each.pid} for each in listening]
        return _ended(out=json.dumps({"sees_sockets": bool(listeners), "listeners": listeners, "packed": {}}))

    def _other_ports(self, container: Container, pid: int, env: Mapping[str, str], now: float) -> Response:
        if f"{GAMES_DIR}/port.py" not in container.files:
            return _ended(2, err="python3: can't open file 'port.py'")
        started = container.processes.get(pid)
        listens = {started.port} if started is not None and started.listens(started.port, now) else set()
        return _ended(out=json.dumps(sorted(listens - {int(env["PORT"])})))

    def _end(self, container: Container, pids: str, now: float) -> None:
        for pid in pids.split():
            if process := container.processes.get(int(pid)):
                process.was_ended = process.was_ended or process.is_alive(now)
                process.end(now)

    def _look(self, container: Container, pid: int, first: int, most: int, now: float) -> Response:
        """How a long command stands, and what it has said."""
        process = container.processes.get(pid)
        if process is None:
            return _ended(out="gone \n")
        took = process.until - process.started_at
        share = 1.0 if now >= process.until or took <= 0 else (now - process.started_at) / took
        said = process.output[: int(len(process.output) * share)]
        state = "running" if process.is_alive(now) else str(process.exit_code)
        piece = base64.b64encode(said[first - 1 : first - 1 + most]).decode()
        return _ended(out=f"{state} {len(said)}\n{piece}")

    def _start(self, container: Container, body: Mapping[str, Any], now: float) -> Response:
        command, cwd, env = str(body.get("command")), str(body.get("cwd")), body.get("env") or {}
        if cwd not in container.folders:
            return Response(500, b"Internal Server Error", "text/plain")
        mark = MARKED.match(command)
        if mark:
            self._mark(container, mark[1])
        plain = command[mark.end() :] if mark else command
        process = Process(container.next_pid, command, now)
        container.next_pid += self.chance.randint(1, 5)
        if plain.startswith(STARTED_GAME):
            slug, _, port = shlex.split(plain[len(STARTED_GAME) :])
            self._start_game(container, process, slug, int(port), str(env.get(STAMP, "")), now)
        elif plain.startswith(STARTED_LONG):
            self._start_long(container, process, shlex.split(plain[len(STARTED_LONG) :])[0], cwd, now)
        elif found := END.match(plain):
            self._end(container, found[1], now)
            process.end(now)
        else:
            self.not_understood.append(command)
            process.end(now)
        container.processes[process.pid] = process
        return told({"pid": process.pid, "log_file": f"/tmp/process-{process.pid}.log"})

    def _mark(self, container: Container, run: str) -> None:
        container.runs.add(run)
        if len(container.runs) > 1:
            self.account.trespass(f"the sandbox of app {container.app.number} serves {len(container.runs)} runs")

    def _start_game(self, container: Container, process: Process, slug: str, port: int, stamp: str, now: float) -> None:
        if f"{GAMES_DIR}/port.py" in container.files:
            for other in container.processes.values():
                if other.port == port:
                    other.was_ended = other.was_ended or other.is_alive(now)
                    other.end(now)
        process.slug, process.port, process.stamp = slug, port, stamp
        process.listens_from = now + self.chance.lognormvariate(-1.0, 0.4)
        match self.faults.first(GAME):
            case "game-ends-at-once":
                process.listens_from = NEVER
                process.until = process.leader_until = now + 0.2
            case "game-slow":
                process.listens_from = now + self.chance.uniform(3, 40)
            case "game-never-answers":
                process.never_answers = True
            case "game-unwell":
                process.is_unwell = True

    def _start_long(self, container: Container, process: Process, command: str, cwd: str, now: float) -> None:
        """Cloning, or installing: what else the product follows is not known here."""
        process.until = process.leader_until = now + self.chance.lognormvariate(1.5, 0.5)
        process.output = b"Cloning into a folder...\nReceiving objects: done.\n"
        if found := CLONE.search(command):
            container.folders.add(f"{cwd}/{found[1]}")
        else:
            process.output = b"Collecting what it needs\nSuccessfully installed\n"
        if self.faults.first(GAME) in ("restore-fails", "game-ends-at-once"):
            process.exit_code = 1
            process.output += b"fatal: unable to access the repository\n"

    def _listed(self, process: Process, now: float) -> dict[str, Any]:
        return {
            "pid": process.pid,
            "command": process.command,
            "status": "running" if now < process.leader_until else "stopped",
            "log_file": f"/tmp/process-{process.pid}.log",
            "started_at": process.started_at,
        }

    def _last_words(self, process: Process, now: float) -> str:
        return "Traceback: the game has ended\n" if not process.is_alive(now) else "listening\n"


class _Client:
    """In the place of httpx's."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents

    def build_request(
        self,
        method: str,
        url: str,
        *,
        timeout: httpx.Timeout,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        content: Any = None,
    ) -> Request:
        token = (headers or {}).get("Authorization", "")
        return Request(method, url, json, params or {}, token, float(timeout.read or 0))

    def send(self, request: Request, *, stream: bool = True) -> Response:
        return self._agents.answer(request)


def _ended(code: int = 0, out: str = "", err: str = "") -> Response:
    return told({"stdout": out, "stderr": err, "exit_code": code})


def _kind(path: str) -> str:
    """A path without what differs from run to run."""
    return re.sub(r"\d+", "N", path)
