"""A sandbox that was taken says so itself: a database that is restored from a backup may still call it ready.

The mark stands before a command in its agent's list of processes, which every look at it reads anyway. It stays there
after the command has ended.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from uuid import UUID

from pools.cloud.errors import AgentError
from pools.cloud.sandbox_agent import Process

MARK = ": taken by run "  # to the shell it is nothing to do
MARKED = re.compile(rf"{MARK}([0-9a-f]{{32}})(?:; |$)")


class SandboxTaken(AgentError):
    """A run that this database does not know was given the sandbox."""

    code = "sandbox_taken"

    def __init__(self, run: UUID) -> None:
        super().__init__(f"Run {run.hex[:8]}, which this database does not know, is played in it.")
        self.run = run


def marked(command: str, run_id: UUID | None) -> str:
    """The command with the mark of the run before it: to be started in the sandbox that was given to the run."""
    return f"{MARK}{run_id.hex}; {command}" if run_id else command


def unmarked(command: str) -> str:
    """A listed command as it was before it was marked."""
    return MARKED.sub("", command, count=1) if command.startswith(MARK) else command


def taken_by(processes: Iterable[Process]) -> UUID | None:
    """The run that it was given to, by its mark."""
    for process in processes:
        if found := MARKED.match(process.command):
            return UUID(found[1])
    return None


def require_free(processes: Iterable[Process]) -> None:
    """Raises SandboxTaken."""
    if run := taken_by(processes):
        raise SandboxTaken(run)
