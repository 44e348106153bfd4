"""A game is put into a sandbox and started: from its snapshot, or from source.

Commands use relative paths and a working directory. Doing it again in the same sandbox ends what was started before and
replaces the files.
"""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from games.models import Game
from games.snapshots import SnapshotUnavailable, current_snapshot, download_url
from pools.cloud.errors import AgentError
from pools.cloud.sandbox_agent import CommandExit, CommandLine, SandboxAgent

GAMES_DIR = "/workspace/games"
RESTORE_SCRIPT = (Path(__file__).parent / "sandbox" / "restore.py").read_text()
RESTORE_SECONDS = 60
CLONE_SECONDS = 120
INSTALL_SECONDS = 300
START_SECONDS = 30
POLL_SECONDS = 0.03
LOG_LINES = 20


class Say(Protocol):
    """Where a deployment tells what it does: a run's log."""

    def __call__(self, message: str, level: str = "info") -> None: ...


class DeployFailed(Exception):
    """The game could not be started; the message is a sentence for the player."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """Where the game came from, its process and port, and how long each part took."""

    deployed_from: str
    pid: int
    port: int
    sha256: str
    bootstrap_ms: int
    restore_ms: int
    start_ms: int


class _Stopwatch:
    def __init__(self) -> None:
        self.began = time.monotonic()

    def lap_ms(self) -> int:
        """Milliseconds since the last lap."""
        now = time.monotonic()
        took, self.began = now - self.began, now
        return round(took * 1000)


def deploy(agent: SandboxAgent, game: Game, *, use_snapshot: bool, say: Say, port: int | None = None) -> Deployed:
    """Put the game into the sandbox, start it, and wait until it answers. Raises DeployFailed."""
    watch = _Stopwatch()
    try:
        _end_earlier(agent, game)
        if use_snapshot:
            agent.write_file(f"{GAMES_DIR}/restore.py", RESTORE_SCRIPT)
        bootstrap_ms = watch.lap_ms()
        sha256 = restore(agent, game, say) if use_snapshot else ""
        if not sha256:
            build_from_source(agent, game, say)
        restore_ms = watch.lap_ms()
        pid = start(agent, game, port or game.port)
        wait_until_it_answers(agent, game, pid, port or game.port)
    except AgentError as error:
        raise DeployFailed(f"The sandbox stopped answering while {game.title} was deployed: {error}") from error
    origin = "snapshot" if sha256 else "source"
    return Deployed(origin, pid, port or game.port, sha256, bootstrap_ms, restore_ms, watch.lap_ms())


def _end_earlier(agent: SandboxAgent, game: Game) -> None:
    """An earlier attempt in this sandbox, cut off half-way, may have left its process."""
    for process in agent.processes():
        if process.is_running and process.command == game.run_command:
            end_process(agent, process.pid)


def end_process(agent: SandboxAgent, pid: int) -> None:
    """End a process in the sandbox, if it has not ended by itself."""
    try:
        agent.kill(pid, 9)
    except AgentError:
        if any(process.pid == pid and process.is_running for process in agent.processes()):
            raise


def restore(agent: SandboxAgent, game: Game, say: Say) -> str:
    """Download, verify and unpack the current snapshot: its hash, or nothing when it has to be source."""
    try:
        snapshot = current_snapshot(game)
        url = download_url(snapshot)
    except SnapshotUnavailable as error:
        say(f"No snapshot: {error}; deploying from source.", "warning")
        return ""
    say(f"Deploying {game.slug} from snapshot {snapshot.sha256[:12]}...")
    options = f"--sha256 {snapshot.sha256} --into {game.slug} --seconds {RESTORE_SECONDS - 10}"
    command = f"python3 restore.py --url {shlex.quote(url)} {options}"
    try:
        result = agent.run(command, cwd=GAMES_DIR, timeout_seconds=RESTORE_SECONDS)
    except AgentError as error:
        say(f"The snapshot could not be restored ({error}); deploying from source.", "warning")
        return ""
    for line in result.stdout.splitlines():
        say(line)
    if result.exit_code != 0:
        why = (result.stderr or result.stdout).strip().splitlines() or ["no reason given"]
        say(f"The snapshot could not be restored ({why[-1]}); deploying from source.", "warning")
        return ""
    return snapshot.sha256


def build_from_source(agent: SandboxAgent, game: Game, say: Say) -> None:
    """Clone the game's repository and install what it needs, line by line into the log. Raises DeployFailed."""
    say(f"Cloning {game.slug}...")
    command = f"rm -rf {game.slug} && git clone --depth 1 -- {shlex.quote(game.repository_url)} {game.slug}"
    agent.write_file(f"{GAMES_DIR}/.keep", "")
    _stream(
        agent, command, GAMES_DIR, CLONE_SECONDS, say=say, trouble=f"The source of {game.title} could not be cloned"
    )
    if game.install_command:
        say(f"Installing what {game.slug} needs...")
        folder = f"{GAMES_DIR}/{game.slug}"
        _stream(
            agent,
            game.install_command,
            folder,
            INSTALL_SECONDS,
            say=say,
            trouble=f"{game.title} could not be installed",
        )


def _stream(agent: SandboxAgent, command: str, cwd: str, timeout_seconds: int, *, say: Say, trouble: str) -> None:
    last = ""
    for item in agent.stream(command, cwd=cwd, timeout_seconds=timeout_seconds):
        if isinstance(item, CommandLine):
            last = item.line.strip() or last
            say(item.line)
        elif isinstance(item, CommandExit) and item.code != 0:
            raise DeployFailed(f"{trouble}: {explain_exit(item.code, last)}")


def explain_exit(code: int, last_line: str) -> str:
    """Why a command failed, in a few words."""
    if code == 127:
        program = last_line.split(":")[-2].strip() if last_line.count(":") >= 2 else "a program"
        return f"{program} is not installed in the sandbox."
    return last_line or f"it ended with code {code}."


def telling(lines: list[str]) -> str:
    """The line of a program's last words that says most."""
    errors = [line.strip() for line in lines if "error" in line.lower()]
    return (errors or [line.strip() for line in lines if line.strip()] or ["it said nothing"])[-1]


def start(agent: SandboxAgent, game: Game, port: int) -> int:
    """Start the game's process; its pid."""
    return agent.start(game.run_command, cwd=f"{GAMES_DIR}/{game.slug}", env={"PORT": str(port)}).pid


def wait_until_it_answers(agent: SandboxAgent, game: Game, pid: int, port: int) -> None:
    """Until the game answers through the agent, as the player will reach it. Raises DeployFailed."""
    deadline = time.monotonic() + START_SECONDS
    looks = 0
    while time.monotonic() < deadline:
        answer = agent.fetch(port, game.health_path, timeout_seconds=5)
        if answer.status < 400:
            return
        looks += 1
        if looks % 10 == 0 and not any(process.pid == pid and process.is_running for process in agent.processes()):
            lines = agent.process_logs(pid, LOG_LINES).strip().splitlines()
            raise DeployFailed(f"{game.title} ended as soon as it was started: {telling(lines)}")
        time.sleep(POLL_SECONDS)
    raise DeployFailed(f"{game.title} did not answer within {START_SECONDS} s of its start.")
