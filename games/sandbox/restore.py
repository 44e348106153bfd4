#!/usr/bin/env python3
"""Put a game's snapshot in place: download it, check its SHA-256, unpack it beside its place, and swap it in.

    SNAPSHOT_URL=URL python3 restore.py --sha256 HEX --into DIR
                                        [--seconds 60] [--idle-seconds 10] [--max-bytes 268435456]

This file is written into a sandbox and runs there alone, on Python 3.8 or later, without any package.
It prints a line a step with the milliseconds it took. DIR is whole or as it was before, whatever happens.

Exit codes: 0 in place, 2 wrong arguments, 3 not downloaded, 4 wrong hash, 5 bad archive, 6 the disk refused.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import zlib

TYPE_CHECKING = False  # importing typing would cost more than it gives here
if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import IO, BinaryIO, NoReturn

USAGE, DOWNLOAD, HASH, ARCHIVE, DISK = 2, 3, 4, 5, 6
CHUNK_BYTES = 256 * 1024
MAX_UNPACKED_TIMES = 20  # no honest snapshot shrinks to less than a twentieth
MAX_UNPACKED_LEAST_BYTES = 64 * 1024 * 1024
MAX_MEMBERS = 50_000
URL = "SNAPSHOT_URL"  # whoever has it may download, and what stands in a command is there for everybody to read
OPTIONS = {"sha256": "", "into": "", "seconds": "60", "idle-seconds": "10", "max-bytes": str(256 * 1024**2)}


class Failure(Exception):
    """The end of it: an exit code, and a sentence for the log."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class OutOfTime(Exception):
    """The alarm rang. Not an OSError, so that no library takes it for a connection's trouble."""


class Stopped(Exception):
    """Somebody asked us to stop; what lies beside DIR is taken away first."""


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Step:
    """Say what was done and how long it took."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.detail = ""

    def __enter__(self) -> Step:
        self.began = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        if kind is None:
            taken_ms = (time.perf_counter() - self.began) * 1000
            say(f"{self.name} {taken_ms:.0f} ms {self.detail}".rstrip())


def download(url: str, file: BinaryIO, idle_seconds: float, max_bytes: int) -> tuple[str, int]:
    """The SHA-256 and the size of what the URL gave, which is in `file` now."""
    import http.client
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=idle_seconds) as answer:  # noqa: S310  http and https only, see options_of
            announced = answer.headers.get("Content-Length", "")
            if announced.isdigit() and int(announced) > max_bytes:
                raise Failure(DOWNLOAD, f"the snapshot has {announced} bytes and may have {max_bytes}")
            total, size = hashlib.sha256(), 0
            while True:
                # read1: what has come, however little; read() would wait until the chunk is full.
                chunk = answer.read1(CHUNK_BYTES)
                if not chunk:
                    break
                size += len(chunk)
                if size > max_bytes:
                    raise Failure(DOWNLOAD, f"the snapshot is larger than {max_bytes} bytes")
                total.update(chunk)
                save(file, chunk)
            if announced.isdigit() and size < int(announced):
                raise Failure(DOWNLOAD, f"the download ended after {size} of {announced} bytes")
            return total.hexdigest(), size
    except urllib.error.HTTPError as error:
        raise Failure(DOWNLOAD, f"the server answered {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        # urllib wraps some errors and not others; both say the same to a reader.
        raise Failure(DOWNLOAD, "not downloaded: {}".format(getattr(error, "reason", None) or error)) from None


def save(file: BinaryIO, chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise Failure(DISK, f"the disk refused: {error}") from None


def place_of(name: str) -> str:
    """A member's path below the folder it is unpacked to; '' is the folder itself."""
    if name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/"):
        raise Failure(ARCHIVE, f"the archive has a path that leaves its folder: {name[:200]!r}")
    path = posixpath.normpath(name)
    return "" if path == "." else path


def unpack(file: BinaryIO, folder: str, max_bytes: int) -> int:
    """The number of files. Regular files, folders, and links that stay inside; anything else ends it."""
    try:
        with tarfile.open(fileobj=file, mode="r:gz") as archive:
            count, links = unpack_members(archive, folder, max_bytes)
        # Links last: nothing can have been written through them.
        for path, goal in links:
            link(folder, path, goal)
        inside = os.path.realpath(folder) + os.sep
        for path, goal in links:
            # Each link alone may look harmless and still lead outside by way of another.
            if not (os.path.realpath(os.path.join(folder, path)) + os.sep).startswith(inside):
                raise Failure(ARCHIVE, f"the archive has a link that leaves its folder: {path!r} -> {goal!r}")
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise Failure(ARCHIVE, f"the archive has two things in one place: {error.filename}") from None
    except OSError as error:
        if error.errno is None:  # gzip's own complaint, not the system's
            raise Failure(ARCHIVE, f"not a readable .tar.gz: {error}") from None
        raise Failure(DISK, f"the disk refused: {error}") from None
    except (tarfile.TarError, EOFError, zlib.error, ValueError, KeyError, RecursionError) as error:
        raise Failure(ARCHIVE, f"not a readable .tar.gz: {error}") from None
    if not count:
        raise Failure(ARCHIVE, "the archive holds no file")
    return count


def unpack_members(archive: tarfile.TarFile, folder: str, max_bytes: int) -> tuple[int, list[tuple[str, str]]]:
    """The number of files written, and the links (path, goal) that are still to be made."""
    links, count, size = [], 0, 0
    for members, member in enumerate(archive, 1):
        if members > MAX_MEMBERS:
            raise Failure(ARCHIVE, f"the archive has more than {MAX_MEMBERS} members")
        path = place_of(member.name)
        if member.isdir():
            os.makedirs(os.path.join(folder, path), exist_ok=True)
        elif member.issym():
            links.append((path, member.linkname))
        elif member.isreg() or member.islnk():
            # A hard link is unpacked as a copy of the earlier member that it names, never of a file on disk.
            source = archive.extractfile(member)
            if not path or source is None:
                raise Failure(ARCHIVE, "the archive has a file without a name or content")
            size += write(source, os.path.join(folder, path), member, max_bytes - size)
            count += 1
        else:
            raise Failure(ARCHIVE, f"the archive has something that is no file: {member.name[:200]!r}")
    return count, links


def write(source: IO[bytes], target: str, member: tarfile.TarInfo, most_bytes: int) -> int:
    """Write one file, and the number of its bytes is the answer."""
    if member.size > most_bytes:
        raise Failure(ARCHIVE, "the archive unpacks to too many bytes")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    mode = 0o755 if member.mode & 0o100 else 0o644
    # O_EXCL: a name that comes twice is an attack or a broken archive.
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    written = 0
    with open(descriptor, "wb") as file:
        while True:
            chunk = source.read(CHUNK_BYTES)
            if not chunk:
                break
            written += len(chunk)
            if written > most_bytes:
                raise Failure(ARCHIVE, "the archive unpacks to too many bytes")
            file.write(chunk)
    # Compiled Python modules count on the times of their sources.
    os.utime(target, (member.mtime, member.mtime))
    return written


def link(folder: str, path: str, goal: str) -> None:
    lands = posixpath.normpath(posixpath.join(posixpath.dirname(path), goal))
    if not path or not goal or goal.startswith("/") or "\\" in goal or lands.split("/")[0] == "..":
        raise Failure(ARCHIVE, f"the archive has a link that leaves its folder: {path!r} -> {goal!r}")
    target = os.path.join(folder, path)
    parent = os.path.dirname(target)
    os.makedirs(parent, exist_ok=True)
    if os.path.realpath(parent) != os.path.join(os.path.realpath(folder), posixpath.dirname(path)).rstrip(os.sep):
        raise Failure(ARCHIVE, f"the archive puts a link behind a link: {path!r}")
    os.symlink(goal, target)


def swap(new: str, into: str, aside: str) -> None:
    """Rename `new` to `into`; what was there goes to `aside`, and comes back if the rename fails."""
    try:
        os.rename(into, aside)
    except FileNotFoundError:
        os.rename(new, into)
        return
    try:
        os.rename(new, into)
    except BaseException:
        os.rename(aside, into)
        raise


def restore(url: str, sha256: str, into: str, idle_seconds: float, max_bytes: int) -> None:
    into = os.path.abspath(into)
    parent = os.path.dirname(into)
    workshop = ""
    try:
        os.makedirs(parent, exist_ok=True)
        # Beside DIR, so that the swap is a rename within one file system.
        workshop = tempfile.mkdtemp(prefix="." + os.path.basename(into) + ".new-", dir=parent)
        with open(os.path.join(workshop, "snapshot.tar.gz"), "w+b") as file:
            with Step("download") as step:
                digest, size = download(url, file, idle_seconds, max_bytes)
                step.detail = f"{size} bytes"
            with Step("verify") as step:
                if digest != sha256:
                    raise Failure(HASH, f"the snapshot's SHA-256 is {digest} and should be {sha256}")
                step.detail = f"sha256 {digest[:12]}"
            with Step("unpack") as step:
                file.seek(0)
                fresh = os.path.join(workshop, "fresh")
                os.mkdir(fresh)
                limit = max(size * MAX_UNPACKED_TIMES, MAX_UNPACKED_LEAST_BYTES)
                step.detail = f"{unpack(file, fresh, limit)} files"
        with Step("place"):
            # Past the point of return: neither the alarm nor a request to stop comes between the two renames.
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            swap(fresh, into, os.path.join(workshop, "old"))
    except OSError as error:
        raise Failure(DISK, f"the disk refused: {error}") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if workshop:
            shutil.rmtree(workshop, ignore_errors=True)


def options_of(arguments: list[str]) -> dict[str, str]:
    """The options, each checked; by hand, because argparse takes longer to import than a snapshot to unpack."""
    given = dict(OPTIONS)
    if len(arguments) % 2:
        raise Failure(USAGE, f"{arguments[-1]} has no value")
    for name, value in zip(arguments[::2], arguments[1::2]):  # noqa: B905  strict= came with Python 3.10
        if not name.startswith("--") or name[2:] not in OPTIONS:
            raise Failure(USAGE, f"{name} is not an option; they are --{', --'.join(OPTIONS)}")
        given[name[2:]] = value
    given["url"] = os.environ.get(URL, "")
    if not given["url"].startswith(("http://", "https://")):
        raise Failure(USAGE, f"{URL} must be an http or https address")
    given["sha256"] = given["sha256"].lower()
    if len(given["sha256"]) != 64 or given["sha256"].strip("0123456789abcdef"):
        raise Failure(USAGE, "--sha256 must be 64 hexadecimal digits")
    if not given["into"] or not os.path.basename(os.path.abspath(given["into"])):
        raise Failure(USAGE, "--into must be a folder, and not the root")
    for name in ("seconds", "idle-seconds", "max-bytes"):
        if not given[name].isdigit() or not 0 < int(given[name]) < 10**12:
            raise Failure(USAGE, f"--{name} must be a whole number above 0")
    return given


def ring(_number: int, _frame: FrameType | None) -> NoReturn:
    raise OutOfTime


def stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Stopped


def main(arguments: list[str]) -> int:
    seconds = 0
    try:
        options = options_of(arguments)
        seconds = int(options["seconds"])
        # One alarm over everything: a server that drips a byte a second never runs into a socket's timeout.
        signal.signal(signal.SIGALRM, ring)
        signal.signal(signal.SIGTERM, stop)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        idle_seconds = min(int(options["idle-seconds"]), seconds)
        with Step("restored"):
            restore(options["url"], options["sha256"], options["into"], idle_seconds, int(options["max-bytes"]))
    except Failure as failure:
        say(f"failed: {failure}")
        return failure.code
    except OutOfTime:
        say(f"failed: not in place after {seconds} seconds")
        return DOWNLOAD
    except (Stopped, KeyboardInterrupt):
        say("failed: stopped")
        return 128 + signal.SIGTERM
    return 0


if __name__ == "__main__":
    # Nothing is left to clean up, and leaving at once saves some milliseconds.
    os._exit(main(sys.argv[1:]))
