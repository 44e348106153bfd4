"""Who is at the command line, and what is said to them."""

from __future__ import annotations

import getpass
from collections.abc import Iterable
from difflib import get_close_matches

from django.core.management.base import CommandError


def actor() -> str:
    """The name of the user of the shell, as the log has it."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (OSError, KeyError):  # a container's user may have no name
        return "command line"


def unknown(kind: str, name: str, known: Iterable[str]) -> CommandError:
    """Say that there is none of that name, and which one may have been meant."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else f" There are: {', '.join(names)}." if names else ""
    return CommandError(f"There is no {kind} {name!r}.{hint}")
