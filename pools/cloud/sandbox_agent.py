"""The agent inside a sandbox: commands, processes, files, and a look at what listens on its ports."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

from pools.cloud import bounded
from pools.cloud.agent_transport import AgentWire, Answer
from pools.cloud.errors import AgentError, AgentUnavailable
from pools.cloud.fitting import storable

CALL_TIMEOUT_SECONDS = 30.0
DOWNLOAD_TIMEOUT_SECONDS = 120.0
COMMAND_GRACE_SECONDS = 10.0  # on top of a command's own time, as the public client does
FETCHED_BYTES = 1024**2
NOT_THE_AGENT = "What answered at the sandbox's address is not its agent."
UNSAFE_PATH = re.compile(r"//|\\|%2e|%2f|%5c|(^|/)\.\.?(/|$)|[\x00-\x20\x7f]|#", re.IGNORECASE)


class CommandResult(NamedTuple):
    """The output and exit code of a command that ended."""

    stdout: str
    stderr: str
    exit_code: int


class Started(NamedTuple):
    """A process that was left running, and the file that its output goes to."""

    pid: int
    log_file: str


class Process(NamedTuple):
    """A process that the agent started and keeps track of."""

    pid: int
    command: str
    is_running: bool
    log_file: str


class Fetched(NamedTuple):
    """The answer of a port in the sandbox; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class SandboxAgent:
    """One sandbox's agent. Cheap to make, thread-safe; connections are shared by the whole process."""

    def __init__(self, url: str, token: str) -> None:
        self._wire = AgentWire(url, token)

    @property
    def url(self) -> str:
        return self._wire.url

    def __repr__(self) -> str:
        return f"<SandboxAgent at {self._wire.url}>"

    def health(self, timeout_seconds: float = 5.0) -> None:
        """Return when the agent is healthy; raises AgentUnavailable when it is not, in that time."""
        answer = self._wire.call("GET", "/health", timeout_seconds=timeout_seconds)
        if _object(answer).get("status") != "healthy":
            raise AgentUnavailable("The sandbox answers, but not as a healthy agent does.")

    def look(self, timeout_seconds: float = 5.0) -> list[Process]:
        """The processes that were started in it, of an agent that is healthy and takes our token; raises
        AgentUnavailable, AgentRefused. Its health alone is told to anybody."""
        self.health(timeout_seconds)
        return self.processes(timeout_seconds)

    def is_healthy(self, timeout_seconds: float = 5.0) -> bool:
        """Whether `health` finds nothing to complain about."""
        try:
            self.health(timeout_seconds)
        except AgentError:
            return False
        return True

    def run(
        self,
        command: str,
        *,
        cwd: str = "/workspace",
        env: Mapping[str, str] | None = None,
        timeout_seconds: int = 120,
    ) -> CommandResult:
        """Run a shell command to its end; raises CommandTimedOut. After AgentUnavailable it may have run."""
        body = _command(command, cwd, env) | {"timeout": timeout_seconds}
        patience = timeout_seconds + COMMAND_GRACE_SECONDS
        answer = self._wire.call("POST", "/api/exec", json=body, timeout_seconds=patience)
        result = _object(answer)
        exit_code = result.get("exit_code")
        if not isinstance(exit_code, int):
            raise AgentError("The sandbox ran a command and did not say how it ended.")
        return CommandResult(_text(result.get("stdout")), _text(result.get("stderr")), exit_code)

    def start(self, command: str, *, cwd: str = "/workspace", env: Mapping[str, str] | None = None) -> Started:
        """Start a shell command that is left running."""
        data = _object(self._call("POST", "/api/exec/background", json=_command(command, cwd, env)))
        if not is_pid(data.get("pid")):
            raise AgentError("The sandbox started a process and did not say which.")
        return Started(data["pid"], _text(data.get("log_file")))

    def processes(self, timeout_seconds: float = CALL_TIMEOUT_SECONDS) -> list[Process]:
        """Return the processes that were started with `start`, running or not."""
        listed = _list(self._wire.call("GET", "/api/processes", timeout_seconds=timeout_seconds).json)
        return [
            Process(
                pid=entry["pid"],
                command=_text(entry.get("command")),
                is_running=entry.get("status") == "running",
                log_file=_text(entry.get("log_file")),
            )
            for entry in listed
            if isinstance(entry, dict) and is_pid(entry.get("pid"))
        ]

    def process_logs(self, pid: int, tail: int = 100) -> str:
        """The last `tail` lines of a started process's output."""
        answer = self._call("GET", f"/api/processes/{pid}/logs", params={"tail": tail})
        return _text(_object(answer).get("logs"))

    def kill(self, pid: int, signal: int = 15) -> bool:
        """Signal a started process, and not what it has started; False when the agent does not know it."""
        answer = self._wire.call(
            "POST",
            f"/api/processes/{pid}/kill",
            json={"signal": signal},
            timeout_seconds=CALL_TIMEOUT_SECONDS,
            may_miss=True,
        )
        return not answer.is_not_found

    def names(self, folder: str, timeout_seconds: float = CALL_TIMEOUT_SECONDS) -> set[str]:
        """Return the names in a folder; none when there is no such folder."""
        answer = self._wire.call(
            "GET", "/api/files", params={"path": folder}, timeout_seconds=timeout_seconds, may_miss=True
        )
        if answer.is_not_found:
            return set()
        return {
            entry["name"]
            for entry in _list(_object(answer).get("files"))
            if isinstance(entry, dict) and isinstance(entry.get("name"), str)
        }

    def write_file(self, path: str, content: bytes | str) -> None:
        """Write a file, whole, under /workspace, /home/sandbox or /tmp."""
        body = {"path": path, "content": content, "encoding": None}
        if isinstance(content, bytes):
            body |= {"content": base64.b64encode(content).decode(), "encoding": "base64"}
        self._call("POST", "/api/files/content", json=body)

    def read_file(self, path: str, into: IO[bytes], *, most_bytes: int) -> int:
        """Write a file's bytes into another as they come in; how many. Raises AgentError when there are more."""
        size = 0
        with self._wire.open(
            "GET", "/api/files/download", params={"path": path}, timeout_seconds=DOWNLOAD_TIMEOUT_SECONDS
        ) as response:
            self._wire.check(response)
            for piece in bounded.pieces(response, most_bytes):
                size += into.write(piece)
        return size

    def fetch(self, port: int, path: str = "/", timeout_seconds: float = 5.0) -> Fetched:
        """GET `path` of what listens on `port`. The agent answers 502 when nothing does, 504 when too slow. A body is
        left as it came, and cut after FETCHED_BYTES.

        Raises AgentRefused when it was the agent that refused, and not what listens there; AgentUnavailable when the
        agent does not answer in time, and ValueError for a path that could climb out of the port: the token that goes
        along opens everything else in the sandbox, too.
        """
        if UNSAFE_PATH.search(path.partition("?")[0]) or not path.startswith("/"):
            raise ValueError(f"{path!r} is not a plain path.")
        with self._wire.open("GET", f"/proxy/{port}{path}", timeout_seconds=timeout_seconds) as response:
            body = bounded.beginning(response, FETCHED_BYTES)
            fetched = Fetched(response.status_code, dict(response.headers), body)
        if may_be_the_agents_refusal(fetched.status, fetched.headers.get("content-type", "")):
            self.processes(timeout_seconds)
        return fetched

    def _call(self, method: str, path: str, **request: Any) -> Answer:
        return self._wire.call(method, path, timeout_seconds=CALL_TIMEOUT_SECONDS, **request)


def may_be_the_agents_refusal(status: int, content_type: str) -> bool:
    """Whether what came through the agent's proxy may be its own refusal of our token. A game can answer the same: only
    the agent's other paths tell."""
    return status in (401, 403, 503) and content_type.startswith("application/json")


def _command(command: str, cwd: str, env: Mapping[str, str] | None) -> dict[str, Any]:
    return {"command": command, "cwd": cwd, "env": dict(env) if env is not None else None}


def is_pid(value: Any) -> bool:
    return isinstance(value, int) and 0 < value < 2**31


def _text(value: Any) -> str:
    """A text of the sandbox's, as it can be kept; empty for what is none."""
    return storable(value) if isinstance(value, str) else ""


def _object(answer: Answer) -> dict[str, Any]:
    data = answer.json
    if not isinstance(data, dict):
        raise AgentUnavailable(NOT_THE_AGENT)
    return data


def _list(data: Any) -> list[Any]:
    """What is no list does not say that nothing is there."""
    if not isinstance(data, list):
        raise AgentUnavailable(NOT_THE_AGENT)
    return data
