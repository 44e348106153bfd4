"""The actor of a command line."""

from __future__ import annotations

import getpass


def actor() -> str:
    """The name of the user of the shell, as the log has it."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (OSError, KeyError):  # a container's user may have no name
        return "command line"
