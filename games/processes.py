"""A game's process in a sandbox: started, proved to be what answers, and ended with all that it started.

The agent signals one process alone, and answers for a port whoever listens there. So each game leads a session of its
own, which ends as a whole; it carries a stamp in its environment, and only an answer of what carries that stamp counts.
"""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from games.failures import Cause, DeployFailed, explanation
from games.models import Game
from pools import clock, taken
from pools.cloud.agent_transport import json_of
from pools.cloud.errors import AgentUnavailable, CommandTimedOut
from pools.cloud.fitting import storable
from pools.cloud.long_command import is_long_command
from pools.cloud.sandbox_agent import SandboxAgent

GAMES_DIR = "/workspace/games"
PORT_SCRIPT = (Path(__file__).parent / "sandbox" / "port.py").read_text()
STAMP = "SANDBOX_DEPLOYMENT"
PAGE_SECONDS = 10
START_SECONDS = 30
REACH_SECONDS = 10  # the edge in front of a fresh app may not know it yet
REACH_AGAIN_SECONDS = 0.5
POLL_SECONDS = 0.03
POLL_STRANGER_SECONDS = 0.3
LOOK_SECONDS = 15
END_SECONDS = 10
LOOKS_A_LIFE_SIGN = 5  # a process that ended is noticed after so many
LAST_LINES = 40
PACKING_CHARACTERS = 20
TAKEN = re.compile(r"EADDRINUSE|Address already in use|^Port \d+ is ")
# In the folder of GAMES_DIR. A sandbox without Python starts the game all the same; 3 is said of a port that is taken.
LEAD = 'python3 -S ../port.py clear "$2"; [ $? = 3 ] || exec sh -c "$1"'


@dataclass(frozen=True, slots=True)
class Started:
    """A game's process, and the stamp that all which comes of it carries."""

    pid: int
    stamp: str


@dataclass(frozen=True, slots=True)
class Listener:
    """A process that listens: its stamp (None when it can't be read, empty when there is none), and the pid that leads
    its session."""

    stamp: str | None = None
    session: int = 0

    @classmethod
    def of(cls, data: Any) -> Listener:
        found = data if isinstance(data, dict) else {}
        stamp, session = found.get("stamp"), found.get("session")
        return cls(stamp if isinstance(stamp, str) else None, session if isinstance(session, int) else 0)

    def stamp_beside(self, started: Started) -> str | None:
        """Its stamp; who sets a title of its own has lost it, and is known by its session."""
        return started.stamp if not self.stamp and self.session == started.pid else self.stamp


@dataclass(frozen=True, slots=True)
class PortSeen:
    """A port from inside the sandbox: who listens, and which paths are answered packed, and how."""

    sees_sockets: bool = False
    listeners: tuple[Listener, ...] = ()
    packed: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, data: Any, paths: Sequence[str] = ()) -> PortSeen:
        """What the script in the sandbox says, of those paths; nothing, where it says nothing that can be read."""
        found = data if isinstance(data, dict) else {}
        listeners, packed = found.get("listeners"), found.get("packed")
        return cls(
            found.get("sees_sockets") is True,
            tuple(Listener.of(each) for each in (listeners if isinstance(listeners, list) else [])),
            {
                path: storable(how[:PACKING_CHARACTERS])
                for path, how in (packed.items() if isinstance(packed, dict) else ())
                if path in paths and isinstance(how, str)
            },
        )

    def is_held_by(self, started: Started) -> bool | None:
        """Whether what listens is that start of the game, alone; None when it can't be told."""
        found = {listener.stamp_beside(started) for listener in self.listeners}
        if not self.sees_sockets or (None in found and found <= {None, started.stamp}):
            return None
        return found == {started.stamp}


def start(agent: SandboxAgent, game: Game, port: int, folder: str, run_id: UUID | None = None) -> Started:
    """Start the game in that folder, for that run. Whatever else listens on its port is ended first. Raises
    AgentError."""
    stamp = secrets.token_hex(8)
    agent.write_file(f"{GAMES_DIR}/port.py", PORT_SCRIPT)
    command = taken.marked(command_of(game, port), run_id)
    env = {"PORT": str(port), STAMP: stamp}
    return Started(agent.start(command, cwd=f"{GAMES_DIR}/{folder}", env=env).pid, stamp)


def command_of(game: Game, port: int) -> str:
    """Return what the agent is given to start: the game's command in a session of its own, led by the agent's pid."""
    return f"exec setsid sh -c {shlex.quote(LEAD)} {game.slug} {shlex.quote(game.run_command)} {port}"


def is_of(game: Game, command: str) -> bool:
    """Whether that command started this game, with whatever command it had then."""
    command = taken.unmarked(command)
    return command.startswith(f"exec setsid sh -c {shlex.quote(LEAD)} {game.slug} ") or command == game.run_command


def end(agent: SandboxAgent, pids: Iterable[int]) -> None:
    """End those processes and their sessions, also what is left of one whose leader has ended. Raises AgentError."""
    if listed := set(pids):
        agent.run(end_command(listed), timeout_seconds=END_SECONDS)


def end_command(pids: Iterable[int]) -> str:
    """Return the command that ends them, if there are any."""
    listed = " ".join(str(pid) for pid in sorted(set(pids)))
    # The second is for what leads no session. dash takes no `--` here.
    each = "kill -9 -$pid || kill -9 $pid"
    return f"for pid in {listed}; do {each}; done 2>/dev/null; true"


def end_all(agent: SandboxAgent) -> None:
    """End everything that was ever started in the sandbox. Raises AgentError."""
    end(agent, (process.pid for process in agent.processes()))


def end_earlier(agent: SandboxAgent, game: Game) -> None:
    """An earlier attempt in this sandbox, cut off half-way, may have left its game, or be installing still. The sandbox
    was healthy a moment ago: a connection that fails now is tried again for a while. Raises AgentError."""
    deadline = clock.monotonic() + REACH_SECONDS
    while True:
        try:
            commands = {process.pid: process.command for process in agent.processes()}
            end(agent, (pid for pid, command in commands.items() if is_of(game, command) or is_long_command(command)))
            return
        except AgentUnavailable:
            if clock.monotonic() > deadline:
                raise
            clock.sleep(REACH_AGAIN_SECONDS)


def wait_until_it_answers(agent: SandboxAgent, game: Game, started: Started, port: int) -> None:
    """Until the game answers through the agent, as the player will reach it, and it is this start of it that does.
    Raises DeployFailed, AgentError."""
    deadline = clock.monotonic() + START_SECONDS
    answered_at = clock.monotonic()
    looks = status = 0
    is_proved = is_a_stranger = False
    while clock.monotonic() < deadline:
        try:
            status = agent.fetch(port, game.health_path, timeout_seconds=5).status
            answered_at = clock.monotonic()
        except AgentUnavailable:  # a game that takes its time looks like a sandbox that does
            status = 0
            if clock.monotonic() - answered_at > REACH_SECONDS and not agent.is_healthy():
                raise
        answers = 0 < status < 400
        if answers and is_proved:
            return
        looks += 1
        if answers or looks % LOOKS_A_LIFE_SIGN == 0:  # what packs its answers looks as if it broke off
            is_proved = is_itself(agent, game, started, port)
            is_a_stranger = answers and not is_proved
            if answers and is_proved:
                continue  # the answer before may still have been another's
        clock.sleep(POLL_STRANGER_SECONDS if is_a_stranger else POLL_SECONDS)
    if is_a_stranger:
        reason = f"Port {port} of the sandbox is answered by something else than {game.title}."
        raise DeployFailed(reason, Cause.PORT_TAKEN)
    if not is_a_stranger and status in (0, 502, 504) and (ports := other_ports(agent, started, port)):
        where = " and ".join(map(str, ports[:3]))
        reason = (
            f"{game.title} listens on port {where}, and not on the one that it is given. "
            "Have its server listen on the port in the environment variable PORT, on 127.0.0.1 or 0.0.0.0."
        )
        raise DeployFailed(reason, Cause.FIXED_PORT)
    said = f" (it answers {status} at {game.health_path})" if status not in (0, 502, 504) else ""
    raise DeployFailed(f"{game.title} did not answer within {START_SECONDS} s of its start{said}.")


def warm_its_page(agent: SandboxAgent, game: Game, port: int) -> None:
    """Fetch the page that a player will see first: the first time takes longest. Raises DeployFailed when it does not
    come, AgentError."""
    try:
        status = agent.fetch(port, "/", timeout_seconds=PAGE_SECONDS).status
    except AgentUnavailable:  # a game that hangs looks like a sandbox that does
        agent.health()
        status = 0
    if not 0 < status < 400:
        raise DeployFailed(f"{game.title} runs, but its page {f'answers {status}' if status else 'does not come'}.")


def is_itself(agent: SandboxAgent, game: Game, started: Started, port: int) -> bool:
    """Whether what listens on that port comes of this start, for as far as can be told. Raises DeployFailed when it has
    ended, or packs what it answers; AgentError."""
    seen = look_at(agent, port, [game.health_path, "/"])
    held = seen.is_held_by(started)
    if held is not True:
        require_running(agent, game, started.pid)
    if seen.packed and held is not False:
        path, how = next(iter(seen.packed.items()))
        raise DeployFailed(packed_sentence(game, path, how), Cause.ANSWERS_PACKED)
    return held is not False


def packed_sentence(game: Game, path: str, how: str) -> str:
    return (
        f"{game.title} answers {path} packed ({how}) though it was asked not to, and no sandbox can pass that on. "
        "Have its server heed `Accept-Encoding: identity`, or turn its compression off."
    )


def look_at(agent: SandboxAgent, port: int, paths: Sequence[str]) -> PortSeen:
    """The port from inside; nothing is seen where the sandbox has no Python, or no /proc. Raises AgentError."""
    asked = " ".join(shlex.quote(path) for path in dict.fromkeys(paths))
    command, env = f"python3 -S port.py look {port} {asked}", {"PORT": str(port)}
    try:
        result = agent.run(command, cwd=GAMES_DIR, env=env, timeout_seconds=LOOK_SECONDS)
    except CommandTimedOut:
        return PortSeen()
    return PortSeen.of(json_of(result.stdout), paths) if result.exit_code == 0 else PortSeen()


def other_ports(agent: SandboxAgent, started: Started, port: int) -> list[int]:
    """The ports beside the one that it was given on which a start of a game listens, as far as can be told. Raises
    AgentError."""
    command, env = f"python3 -S port.py others {started.pid}", {"PORT": str(port), STAMP: started.stamp}
    try:
        result = agent.run(command, cwd=GAMES_DIR, env=env, timeout_seconds=LOOK_SECONDS)
    except CommandTimedOut:
        return []
    found = json_of(result.stdout) if result.exit_code == 0 else []
    return [each for each in found if isinstance(each, int)] if isinstance(found, list) else []


def require_running(agent: SandboxAgent, game: Game, pid: int) -> None:
    """Raises DeployFailed, with its last words, when the game's process has ended; AgentError."""
    if any(process.pid == pid and process.is_running for process in agent.processes()):
        return
    said = agent.process_logs(pid, LAST_LINES).splitlines()
    why = explanation(said)
    if any(TAKEN.search(line) for line in said):
        reason = f"{game.title} could not be started: its port is taken by something else in the sandbox ({why})"
        raise DeployFailed(reason, Cause.PORT_TAKEN)
    raise DeployFailed(f"{game.title} ended as soon as it was started: {why}")
