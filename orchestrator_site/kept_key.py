"""Secrets that are kept in files, whole or not at all."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def kept_key(path: Path) -> str:
    """Return what the file holds; when there is none, or nothing in it, a new key that is in it from now on."""
    try:
        if not _read(path):
            with alone_in(path.parent):
                if not _read(path):
                    put(path, new_key())
        return _read(path)
    except OSError as error:
        raise ImproperlyConfigured(f"The secret key can't be kept in {str(path)!r} ({error.strerror}).") from None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Of several that make one at once, the first's is kept."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def new_key() -> str:
    return secrets.token_urlsafe(50)


def put(path: Path, content: str) -> None:
    """Have the file say this, for its owner alone, or for whom it was for before. A full disk leaves what was there,
    and least of all half a key."""
    path = path.resolve()
    before = path.stat() if path.exists() else None
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            if before is not None and (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
            if before is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
