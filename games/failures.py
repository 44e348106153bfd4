"""Why a game could not be brought up: a cause for programs, and a sentence for the player."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

NOT_FOUND = re.compile(r"(?:\S*/)?\w*sh: (?:line )?\d+: (?:exec: )?(\S+): (?:command )?not found")


class Cause(Enum):
    """What a failure is told apart by."""

    OTHER = "other"
    PORT_TAKEN = "port_taken"
    ANSWERS_PACKED = "answers_packed"
    FIXED_PORT = "fixed_port"
    TOOL_MISSING = "tool_missing"


# How the tools that build things say which other one they lack.
LACKS = (
    re.compile(r"error: command '(?:\S*/)?(?:[\w.]+-linux-\w+-)?([\w+.-]+)' failed: No such file or directory"),
    re.compile(r"unable to execute '(?:[\w.]+-linux-\w+-)?([\w+.-]+)': No such file or directory"),
    re.compile(r"(?:g?make|ninja)(?:\[\d+\])?: ([\w+.-]+): (?:No such file or directory|Command not found)"),
    re.compile(r"gyp ERR! (?:stack )?(?:Error: )?not found: ([\w+.-]+)"),
    re.compile(r"gyp ERR! find (Python).*(?:not|n't) (?:find|found|set)"),
    re.compile(r"error: linker `([\w+.-]+)` not found"),
    re.compile(r"can't find (Rust) compiler"),
    re.compile(r"\b(CMake|Cargo|Meson|pkg-config)\b.{0,60}(?:is not installed|must be installed)", re.IGNORECASE),
    re.compile(r"([\w+.-]+): command not found"),
    re.compile(r"spawn ([\w+.-]+) ENOENT"),
)


class DeployFailed(Exception):
    """The game could not be started; the message is a sentence for the player."""

    def __init__(self, message: str, cause: Cause = Cause.OTHER) -> None:
        super().__init__(message)
        self.cause = cause


def tool_missing(lines: Sequence[str]) -> str:
    """Return the tool without which it could not be built, as far as its last words tell; else nothing."""
    for line in map(str.strip, reversed(lines)):
        for lacks in (NOT_FOUND, *LACKS):
            if missing := lacks.search(line):
                return str(missing[1])
    return ""


def explanation(lines: Sequence[str], code: int | None = None) -> str:
    """Return why a program ended, in a few words: the most telling of its last lines."""
    said = [line.strip() for line in lines if line.strip()]
    for line in reversed(said):
        if missing := NOT_FOUND.fullmatch(line):
            return f"{missing[1]} is not installed in the sandbox."
    errors = [line for line in said if re.search(r"error|fatal", line, re.IGNORECASE)]
    # git and npm say first what was wrong, and then what could be done about it.
    first = [line for line in errors if re.match(r"fatal: |npm error (\S+ ){3}", line)]
    if first or said:
        return first[0] if first else (errors or said)[-1]
    return "it said nothing" if code is None else f"it ended with code {code}."
