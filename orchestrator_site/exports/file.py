"""The file of an export: a line of JSON about itself, a line for each row, and a line that says how many there were.

A file whose name ends in .gz is compressed. It is its owner's alone, because it holds secrets.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import gzip
import io
import json
import os
import shutil
import signal
import stat
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any

PRODUCT = "sandbox-orchestrator"
FORMAT = 1
LINE_BYTES = 16 * 2**20  # no row is near it
GZIP = b"\x1f\x8b"
ENDING = (signal.SIGTERM, signal.SIGHUP)


class Unreadable(Exception):
    """It is no export that this version can take, with a sentence about why."""

    def __init__(self, sentence: str) -> None:
        super().__init__(
            "".join(each if each.isprintable() else "�" for each in sentence)
        )  # parts of it are the file's


@contextmanager
def written(path: Path) -> Iterator[IO[str]]:
    """A file to write to, which is there whole or not at all, and from its first byte on its owner's alone. Where the
    process is ended meanwhile nothing is left, and after a kill -9 nothing from the next one on."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "it exists and is no file; - is the output")
    _remove_abandoned(path)
    fresh = _in_the_making(path, str(os.getpid()))
    usual = {number: signal.signal(number, _end) for number in ENDING}
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with gzip.open(file, "wb", 6) if path.suffix == ".gz" else file as inner:
                text = io.TextIOWrapper(inner, encoding="utf-8", newline="\n")
                yield text
                text.flush()
                text.detach()
            if not file.closed:
                file.flush()
                os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
        for number, handler in usual.items():
            signal.signal(number, handler)


def _in_the_making(path: Path, process: str) -> Path:
    return path.with_name(f".{path.name}.{process}.part")


def _remove_abandoned(path: Path) -> None:
    """What exports to there have left that were killed: whoever writes one holds its lock."""
    for part in path.parent.glob(_in_the_making(Path(glob.escape(path.name)), "*").name):
        with suppress(OSError), part.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()


def _end(number: int, _frame: object) -> None:
    sys.exit(128 + number)


@contextmanager
def opened(name: str) -> Iterator[IO[bytes]]:
    """The bytes of a file, or of the standard input (`-`), uncompressed. Raises Unreadable."""
    try:
        with (
            open(sys.stdin.fileno(), "rb", closefd=False) if name == "-" else Path(name).open("rb") as given,
            _at_hand(given) as file,
        ):
            is_packed = file.read(len(GZIP)) == GZIP
            file.seek(0)
            with gzip.open(file, "rb") if is_packed else nullcontext(file) as inner:
                yield inner  # type: ignore[misc]
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Unreadable(f"{name} is damaged or not complete ({error}).") from None
    except OSError as error:
        raise Unreadable(f"{name} can't be read ({error.strerror or error}).") from None


@contextmanager
def _at_hand(given: IO[bytes]) -> Iterator[IO[bytes]]:
    """The file itself; of a pipe, which may be slow, a copy without a name: nobody waits for it with the database in
    hand."""
    if stat.S_ISREG(os.fstat(given.fileno()).st_mode):
        yield given
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(given, copy)
        copy.seek(0)
        yield copy


def lines(file: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line with its number, the first and the last among them. Raises Unreadable."""
    number = 0
    while raw := file.readline(LINE_BYTES):
        number += 1
        if len(raw) == LINE_BYTES:
            raise Unreadable(f"Line {number} is longer than any line of an export.")
        try:
            found = json.loads(raw, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise Unreadable(_not_ours() if number == 1 else f"Line {number} is damaged: it is no JSON.") from None
        if not isinstance(found, dict):
            raise Unreadable(_not_ours() if number == 1 else f"Line {number} is no row of an export.")
        yield number, found


def require_header(header: dict[str, Any]) -> None:
    """Raises Unreadable unless it begins an export that this version can take."""
    if header.get("product") != PRODUCT:
        raise Unreadable(_not_ours())
    if header.get("format") != FORMAT:
        raise Unreadable(
            f"This export has format {str(header.get('format'))[:20]} (made by version "
            f"{str(header.get('version'))[:40]}), and this version takes format {FORMAT}: upgrade this one first."
        )


def _not_ours() -> str:
    return "This is no export of the sandbox orchestrator."


def _refuse(constant: str) -> float:
    raise ValueError(constant)
