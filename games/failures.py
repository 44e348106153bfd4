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


class DeployFailed(Exception):
    """The game could not be started; the message is a sentence for the player."""

    def __init__(self, message: str, cause: Cause = Cause.OTHER) -> None:
        super().__init__(message)
        self.cause = cause


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
