"""A game is put into a sandbox and started: from its snapshot, or from source.

Commands use relative paths and a working directory. Doing it again in the same sandbox ends what was started before and
replaces the files. Files come to their place whole: they are unpacked or installed beside it, and renamed.
"""

from __future__ import annotations

import secrets
import shlex
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from uuid import UUID

from django_q.tasks import async_task

from games.failures import Cause, DeployFailed, explanation, tool_missing
from games.metrics import ANSWER, CLONE, INSTALL, RESTORE, START, timed
from games.models import Game
from games.processes import GAMES_DIR, LAST_LINES, end_earlier, start, wait_until_it_answers
from games.snapshots import SnapshotUnavailable, current_snapshot, download_url
from pools import clock
from pools.cloud.api_transport import is_loopback
from pools.cloud.errors import AgentError, CommandTimedOut
from pools.cloud.long_command import SaysTooMuch, follow
from pools.cloud.sandbox_agent import SandboxAgent

RESTORE_SCRIPT = (Path(__file__).parent / "sandbox" / "restore.py").read_text()
# Together, with the start and the page, below the 330 s after which Django-Q ends a task.
RESTORE_SECONDS = 20
RESTORE_IDLE_SECONDS = 5
CLONE_SECONDS = 45
INSTALL_SECONDS = 170
PLACE_SECONDS = 15
TOLD_LINES = 6_000  # more than a run's log keeps; each costs a transaction


class Say(Protocol):
    """Takes the lines that a deployment says: a run's log."""

    def __call__(self, message: str, level: str = "info") -> None: ...


def say_nothing(message: str, level: str = "info") -> None:
    """For whom the outcome is enough."""


def entering_nothing(phase: str) -> None:
    """For whom it does not matter when each part begins."""


class NotRestored(Exception):
    """The snapshot is not in the sandbox; the message says why, and nothing of it was left."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A snapshot's files in a sandbox: the folder below GAMES_DIR, and the snapshot's hash."""

    folder: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Deployed:
    """The outcome of a deployment: the game's origin, its process and port, and the time of each part."""

    deployed_from: str
    pid: int
    port: int
    sha256: str
    bootstrap_ms: int
    restore_ms: int
    start_ms: int


class _Stopwatch:
    def __init__(self) -> None:
        self.began = clock.monotonic()

    def lap_ms(self) -> int:
        """Milliseconds since the last lap."""
        now = clock.monotonic()
        took, self.began = now - self.began, now
        return round(took * 1000)


def deploy(
    agent: SandboxAgent,
    game: Game,
    *,
    use_snapshot: bool,
    say: Say,
    port: int | None = None,
    unpacked: Unpacked | None = None,
    run_id: UUID | None = None,
    entering: Callable[[str], None] = entering_nothing,
) -> Deployed:
    """Put the game into the sandbox, start it, and wait until it answers. Raises DeployFailed.

    `entering` is called when "restore" and when "start" begins. `unpacked`: the current snapshot's files, where they
    lie in the sandbox already. `run_id`: for whom, which the sandbox is to remember.
    """
    watch = _Stopwatch()
    port = port or game.port
    try:
        end_earlier(agent, game)
        if use_snapshot and unpacked is None:
            agent.write_file(f"{GAMES_DIR}/restore.py", RESTORE_SCRIPT)
        bootstrap_ms = watch.lap_ms()
        entering("restore")
        files = unpacked if use_snapshot else None
        if files is not None:
            say(f"Deploying {game.slug} from snapshot {files.sha256[:12]}, which is in the sandbox already.")
        elif use_snapshot:
            try:
                with timed(RESTORE):
                    files = restore(agent, game, say)
            except NotRestored as error:
                say(f"{str(error).rstrip('.')}; deploying from source.", "warning")
        if files is None:
            build_from_source(agent, game, say)
        restore_ms = watch.lap_ms()
        entering("start")
        with timed(START):
            started = start(agent, game, port, files.folder if files else game.slug, run_id)
        with timed(ANSWER):
            wait_until_it_answers(agent, game, started, port)
    except AgentError as error:
        raise DeployFailed(f"The sandbox stopped answering while {game.title} was deployed: {error}") from error
    origin, sha256 = ("snapshot", files.sha256) if files else ("source", "")
    return Deployed(origin, started.pid, port, sha256, bootstrap_ms, restore_ms, watch.lap_ms())


def restore(agent: SandboxAgent, game: Game, say: Say = say_nothing, *, folder: str = "") -> Unpacked:
    """Download, verify and unpack the current snapshot. Raises NotRestored when there is none."""
    folder = folder or game.slug
    try:
        snapshot = current_snapshot(game)
        url = download_url(snapshot)
    except SnapshotUnavailable as error:
        raise NotRestored(f"No snapshot: {error}") from error
    say(f"Deploying {game.slug} from snapshot {snapshot.sha256[:12]}...")
    limits = f"--seconds {RESTORE_SECONDS} --idle-seconds {RESTORE_IDLE_SECONDS}"
    command = f"python3 restore.py --sha256 {snapshot.sha256} --into {folder} {limits}"
    env = {"SNAPSHOT_URL": url, **reaching(url)}
    try:
        result = agent.run(command, cwd=GAMES_DIR, env=env, timeout_seconds=RESTORE_SECONDS + 1)
    except AgentError as error:
        raise NotRestored(f"The snapshot could not be restored: {error}") from error
    lines = [line.strip() for line in (result.stdout + result.stderr).splitlines() if line.strip()]
    if result.exit_code != 0:
        # It may be the sandbox or the network; if it is the file, the next one shall find a better one.
        async_task("games.tasks.check_snapshot", snapshot.pk, task_name="check snapshot", group="snapshots")
        why = lines[-1].removeprefix("failed: ") if lines else "no reason given"
        raise NotRestored(f"The snapshot could not be restored: {why}")
    for line in lines:
        say(line)
    return Unpacked(folder, snapshot.sha256)


def reaching(url: str) -> dict[str, str]:
    """The environment of a program that downloads from there: a proxy of this machine's does not lead back to it."""
    return {"no_proxy": urlsplit(url).hostname or ""} if is_loopback(url) else {}


def build_from_source(agent: SandboxAgent, game: Game, say: Say) -> None:
    """Clone the game's repository and install what it needs, line by line into the log. Raises DeployFailed."""
    aside = f".{game.slug}.{secrets.token_hex(3)}"  # what an attempt that was cut off still does, it does elsewhere
    clear = f"rm -rf .{game.slug}.*"
    clone = f"git clone --depth 1 -- {shlex.quote(game.repository_url)} {aside}"
    agent.write_file(f"{GAMES_DIR}/.keep", "")
    say(f"Cloning {game.slug}...")
    trouble = f"The source of {game.title} could not be cloned"
    # Nobody is there to be asked for a password.
    env = {"GIT_TERMINAL_PROMPT": "0", **reaching(game.repository_url)}
    with timed(CLONE):
        _stream(agent, f"{clear}; {clone}", GAMES_DIR, CLONE_SECONDS, say=say, trouble=trouble, env=env)
    if game.install_command:
        say(f"Installing what {game.slug} needs...")
        trouble = f"{game.title} could not be installed"
        with timed(INSTALL):
            _stream(agent, game.install_command, f"{GAMES_DIR}/{aside}", INSTALL_SECONDS, say=say, trouble=trouble)
    place = f"rm -rf {game.slug} && mv {aside} {game.slug}"
    result = agent.run(place, cwd=GAMES_DIR, timeout_seconds=PLACE_SECONDS)
    if result.exit_code != 0:
        why = explanation((result.stdout + result.stderr).splitlines(), result.exit_code)
        raise DeployFailed(f"The files of {game.title} could not be put in place: {why}")


def _stream(
    agent: SandboxAgent,
    command: str,
    cwd: str,
    timeout_seconds: int,
    *,
    say: Say,
    trouble: str,
    env: dict[str, str] | None = None,
) -> None:
    lines: deque[str] = deque(maxlen=LAST_LINES)
    told = 0
    try:
        with closing(follow(agent, command, cwd=cwd, env=env, timeout_seconds=timeout_seconds)) as said:
            for item in said:
                if isinstance(item, str):
                    lines.append(item)
                    told += 1
                    if told <= TOLD_LINES:
                        say(item)
                elif item.code != 0:
                    raise _failure(trouble, list(lines), item.code)
    except CommandTimedOut:
        raise DeployFailed(f"{trouble}: it took longer than {timeout_seconds} s.") from None
    except SaysTooMuch as error:
        raise DeployFailed(f"{trouble}: {error}") from None


def _failure(trouble: str, lines: list[str], code: int) -> DeployFailed:
    if tool := tool_missing(lines):
        advice = "Have it need packages that come built, or keep what would be built in its repository."
        return DeployFailed(f"{trouble}: {tool} is not installed in the sandbox. {advice}", Cause.TOOL_MISSING)
    return DeployFailed(f"{trouble}: {explanation(lines, code)}")


def start_again(agent: SandboxAgent, game: Game, port: int, folder: str, run_id: UUID | None = None) -> bool:
    """Start a game whose process has ended from its files, and wait until it answers. False when these are gone, as
    after a restart of the container. Raises DeployFailed, AgentError."""
    end_earlier(agent, game)
    if folder not in agent.names(GAMES_DIR):
        return False
    wait_until_it_answers(agent, game, start(agent, game, port, folder, run_id), port)
    return True
