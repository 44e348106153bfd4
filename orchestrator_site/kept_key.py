"""A secret that is made once and kept in a file, whole or not at all."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def kept_key(path: Path) -> str:
    """Return what the file holds; when there is none, or nothing in it, a new key that is in it from now on."""
    try:
        if not _read(path):
            with _alone_in(path.parent):
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


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Of several that make one at once, the first's is kept."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make(path: Path) -> None:
    """A full disk leaves nothing behind, least of all half a key."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(50))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
