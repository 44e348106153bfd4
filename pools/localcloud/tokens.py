"""The token of a local cloud, in a file of its folder that nobody else can read."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def kept_token(folder: Path) -> str:
    """Return the token in the folder's file, which nobody else can read; a new one if there is none."""
    file = folder / "token"
    with suppress(FileNotFoundError):
        if token := file.read_text().strip():
            return token
    write_token(folder, secrets.token_urlsafe(32))
    return file.read_text()


def write_token(folder: Path, token: str) -> None:
    """Have the next start of the cloud in that folder take this token."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = folder / "token.new"
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token)
    fresh.replace(folder / "token")
