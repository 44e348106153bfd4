"""A command that takes its time: started in the background, and its output read piece by piece as it comes.

The agent's own stream counts silence instead of time, ends with the first line beyond 64 KiB and with the connection,
and leaves running what it was stopped for. Here a command has one deadline, lines of any length and progress without
line ends, survives a connection that breaks, and ends with all that it has started.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import shlex
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from pools import clock, stopping
from pools.cloud.errors import AgentError, AgentUnavailable, CommandTimedOut
from pools.cloud.fitting import storable
from pools.cloud.sandbox_agent import SandboxAgent, Started

OUTPUT_BYTES = 16 * 1024**2
PIECE_BYTES = 1024**2
LINE_BYTES = 64 * 1024  # of a line; what comes beyond is dropped
LOOK_FIRST_SECONDS, LOOK_MOST_SECONDS = 0.05, 0.5
PROGRESS_SECONDS = 5.0  # a line that only ever returns to its beginning is told that often
UNREACHED_SECONDS = 15.0
LOOK_TIMEOUT_SECONDS = 20
END_TIMEOUT_SECONDS = 10
RUNNING, GONE = "running", "gone"
# The command in a session of its own, then its exit code in a file.
LEAD = 'sh -c "$1"; echo $? > "$2"'
STARTED = f"exec setsid sh -c {shlex.quote(LEAD)} command"
# First how it stands, and only then what it said, so that its last words are read. The dead may lie about unburied.
LOOK = """\
state=$(cat {exit} 2>/dev/null)
[ -n "$state" ] || {{ [ -e {log} ] && kill -0 {pid} 2>/dev/null && state=running; }}
! grep -qs '^State:.Z' /proc/{pid}/status || state=
[ -n "$state" ] || state=$(cat {exit} 2>/dev/null)
echo "${{state:-gone}} $(wc -c < {log})"
tail -c +{first} {log} | head -c {most} | base64"""


class SaysTooMuch(AgentError):
    """The command was ended because its output has no end in sight."""


class CommandExit(NamedTuple):
    """The end of a command."""

    code: int


@dataclass(slots=True)
class Lines:
    """Cuts bytes into lines. Of a line that returned to its beginning what it showed last counts."""

    told_at: float
    begun: bytearray = field(default_factory=bytearray)

    def add(self, piece: bytes, now: float) -> Iterator[str]:
        *whole, rest = piece.split(b"\n")
        for line in whole:
            self._grow(line)
            yield self._taken()
            self.told_at = now
        self._grow(rest)
        if b"\r" in self.begun.rstrip(b"\r") and now - self.told_at >= PROGRESS_SECONDS:
            self.told_at = now
            yield shown(self.begun)

    def rest(self) -> Iterator[str]:
        if self.begun:
            yield self._taken()

    def _grow(self, piece: bytes) -> None:
        self.begun += piece
        if len(self.begun) > LINE_BYTES:
            last = bytes(self.begun).rstrip(b"\r").rpartition(b"\r")[2]
            self.begun[:] = last[:LINE_BYTES]

    def _taken(self) -> str:
        line = shown(self.begun)
        self.begun.clear()
        return line


def shown(line: bytes | bytearray) -> str:
    """What a terminal shows in the end of a line, for as far as it can be kept."""
    return storable(bytes(line).rstrip(b"\r").rpartition(b"\r")[2].decode(errors="replace"))


def follow(
    agent: SandboxAgent,
    command: str,
    *,
    cwd: str = "/workspace",
    env: Mapping[str, str] | None = None,
    timeout_seconds: float = 120,
) -> Generator[str | CommandExit]:
    """Run a shell command and yield its lines as they come; the last thing is always its CommandExit.

    Raises CommandTimedOut, SaysTooMuch, AgentUnavailable when the command or the agent is lost, AgentError. However it
    ends, also when the caller has enough, the command ends with all that it has started. Raises Stopping, because it
    may take minutes, when this process is to stop.
    """
    exit_file = f"/tmp/command-{secrets.token_hex(8)}.exit"  # noqa: S108  a path in the sandbox
    deadline = clock.monotonic() + timeout_seconds
    started = agent.start(f"{STARTED} {shlex.quote(command)} {exit_file}", cwd=cwd, env=env)
    try:
        yield from _followed(agent, started, exit_file, deadline, timeout_seconds)
    finally:
        files = " ".join(map(shlex.quote, (exit_file, started.log_file)))
        with suppress(AgentError):
            agent.run(f"kill -9 -{started.pid} 2>/dev/null; rm -f {files}", timeout_seconds=END_TIMEOUT_SECONDS)


def is_long_command(started_as: str) -> bool:
    """Whether what was started in a sandbox with that command is one that is, or was, followed."""
    return started_as.startswith(f"{STARTED} ")


def _followed(
    agent: SandboxAgent, started: Started, exit_file: str, deadline: float, timeout_seconds: float
) -> Generator[str | CommandExit]:
    offset, wait_seconds = 0, LOOK_FIRST_SECONDS
    lines = Lines(told_at=clock.monotonic())
    while True:
        stopping.require_time()
        state, size, piece = _look(agent, started, exit_file, offset)
        offset += len(piece)
        yield from lines.add(piece, clock.monotonic())
        if max(size, offset) > OUTPUT_BYTES:
            raise SaysTooMuch(f"The command says more than {OUTPUT_BYTES // 1024**2} MiB.")
        if not piece and state not in (RUNNING, GONE):
            yield from lines.rest()
            yield CommandExit(int(state))
            return
        if not piece and state == GONE:
            raise AgentUnavailable("The command has gone without a word; the sandbox may have been restarted.")
        if clock.monotonic() > deadline:
            raise CommandTimedOut(f"The command was stopped after {timeout_seconds:g} s.")
        wait_seconds = LOOK_FIRST_SECONDS if piece else min(wait_seconds * 1.5, LOOK_MOST_SECONDS)
        if len(piece) < PIECE_BYTES:
            clock.sleep(max(0.0, min(wait_seconds, deadline - clock.monotonic())))


def _look(agent: SandboxAgent, started: Started, exit_file: str, offset: int) -> tuple[str, int, bytes]:
    """How the command stands, how much it has said, and what of that comes after `offset`. An agent that can't be
    reached is asked again for a while. Raises AgentError."""
    script = LOOK.format(
        exit=shlex.quote(exit_file),
        log=shlex.quote(started.log_file),
        pid=started.pid,
        first=offset + 1,
        most=PIECE_BYTES,
    )
    until = clock.monotonic() + UNREACHED_SECONDS
    while True:
        try:
            said = agent.run(script, timeout_seconds=LOOK_TIMEOUT_SECONDS).stdout
            break
        except (AgentUnavailable, CommandTimedOut):
            if clock.monotonic() > until:
                raise
            clock.sleep(LOOK_MOST_SECONDS)
    head, _, packed = said.partition("\n")
    state, _, size = head.partition(" ")
    try:
        if state not in (RUNNING, GONE):
            int(state)
        return state, int(size or 0), base64.b64decode("".join(packed.split()), validate=True)
    except (ValueError, binascii.Error):
        raise AgentError("The sandbox told something else than what the command says.") from None
