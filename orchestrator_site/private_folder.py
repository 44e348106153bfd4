"""The folder that holds tokens, sessions and the database: closed to everybody else on the machine, at each start."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

OTHERS = 0o077
KEYS = ("secret_key", "secret_key_fallbacks")
# What a folder of ours has in it. One with other things only is not ours to close, such as /tmp or /var/lib.
OURS = frozenset(
    {"orchestrator.sqlite3", "up.lock", "up.json", "localcloud", "snapshots", "repositories", "wake", "static", *KEYS}
)


def keep_private(name: str, folder: Path) -> None:
    """Make the folder, or close it. Raises ImproperlyConfigured, with what to do, when it stays open."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_open(folder) and _may_be_closed(folder):
            _close(folder)
        is_open = _is_open(folder)
    except OSError as error:
        raise ImproperlyConfigured(
            f"{name} is {str(folder)!r}; it must be a folder that can be written ({error.strerror})."
        ) from None
    if is_open:
        raise ImproperlyConfigured(
            f"{name} is {str(folder)!r}, which others on this machine can read or change, and it holds tokens and "
            "sessions. Close it (chmod 700), or name a folder that is for this alone."
        )
    for key in KEYS:
        if (folder / key).exists() and _is_open(folder / key):
            _close(folder / key)


def _is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & OTHERS)


def _may_be_closed(folder: Path) -> bool:
    found = folder.stat()
    is_own = found.st_uid == os.geteuid() and not found.st_mode & stat.S_ISVTX
    names = {entry.name for entry in folder.iterdir()} if is_own else set()
    return is_own and (not names or bool(names & OURS))


def _close(path: Path) -> None:
    path.chmod(stat.S_IMODE(path.stat().st_mode) & ~OTHERS)
