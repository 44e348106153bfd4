"""A secret that is made once and kept in a file, whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def kept_key(path: Path) -> str:
    """Return what the file holds; when there is none, or nothing in it, a new key that is in it from now on."""
    try:
        if not _read(path):
            _make(path)
        return _read(path)
    except OSError as error:
        raise ImproperlyConfigured(f"The secret key can't be kept in {str(path)!r} ({error.strerror}).") from None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""


def _make(path: Path) -> None:
    """Of several that make one at once, the first's is kept. A full disk leaves nothing behind, least of all half a
    key."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(50))
            file.flush()
            os.fsync(file.fileno())
        if path.exists():  # and empty
            fresh.replace(path)
        else:
            with suppress(FileExistsError):
                os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
