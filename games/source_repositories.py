"""A real git repository for each game of the catalog, so that a sandbox can clone its source.

The same files always give the same commit: author, date and message are fixed, and there is no history.
"""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from games.manifest import Manifest, source_files
from pools import clock

BRANCH = "main"
GIT_SECONDS = 60
PIECE_BYTES = 64 * 1024
PIPE_BYTES = 512  # a pipe that takes anything takes so many
MOST_COMPLAINT_BYTES = 16 * 1024
MOST_MEMORY_BYTES = 1024**3
_IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in {
        "NAME": "Game catalog",
        "EMAIL": "catalog@localhost",
        "DATE": "2025-01-01T00:00:00+00:00",
    }.items()
}


class SourceRepositoryError(RuntimeError):
    """A game's repository could not be made; the message says why, for an operator."""


class GitTimedOut(SourceRepositoryError):
    """git did not end in time."""


def publish(manifest: Manifest, repositories: Path, name: str = "") -> str:
    """The URL to clone the game from; its repository lies below `repositories` and holds the folder as it is now.
    `name`: the repository's, by default the game's.

    Any number of processes may call this at once, and clones may be under way: git moves the branch in one step.
    """
    repository = repositories.absolute() / f"{name or manifest.slug}.git"
    try:
        repositories.mkdir(parents=True, exist_ok=True)
        if _is_repository(repository):
            _commit(manifest, repository)
        else:
            _create(manifest, repository)
    except OSError as error:
        raise SourceRepositoryError(f"The repository of {manifest.slug} can't be written: {error}.") from error
    return repository.as_uri()


def upload_pack(slug: str, repositories: Path, *options: str, request: bytes = b"", protocol: str = "") -> bytes:
    """One answer to a client that clones over HTTP: the branches (`--advertise-refs`), or a pack for its request."""
    repository = repositories.absolute() / f"{slug}.git"
    if not repository.is_dir():
        raise SourceRepositoryError(f"{slug} has no repository.")
    environment = {"GIT_PROTOCOL": protocol} if protocol else None
    return run(
        None, "upload-pack", "--stateless-rpc", *options, str(repository), given=request, environment=environment
    )


def _create(manifest: Manifest, repository: Path) -> None:
    """Build it aside, whole, and rename it; whoever comes second finds it there and commits to it instead."""
    aside = Path(tempfile.mkdtemp(prefix=f".{repository.name}-", dir=repository.parent))
    try:
        aside.chmod(0o755)
        _git(None, "init", "--quiet", "--bare", f"--initial-branch={BRANCH}", "--template=", str(aside))
        _commit(manifest, aside)
        if repository.exists() and not _is_repository(repository):
            # What a crash or a full disk left behind; a repository that works is never moved away.
            repository.rename(aside / "broken")
        with contextlib.suppress(OSError):
            aside.rename(repository)
            return
        if not _is_repository(repository):
            raise SourceRepositoryError(f"{repository} is in the way of the repository of {manifest.slug}.")
        _commit(manifest, repository)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _commit(manifest: Manifest, repository: Path) -> None:
    """Let the branch point to a commit of the game's files."""
    with tempfile.TemporaryDirectory(prefix="game-index-") as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        names = "\0".join(path.as_posix() for path in source_files(manifest.folder))
        add = ("--work-tree", str(manifest.folder), "update-index", "--add", "-z", "--stdin")
        _git(repository, *add, given=names, environment=index, folder=manifest.folder)
        tree = _git(repository, "write-tree", environment=index)
    commit = _git(repository, "commit-tree", tree, "-m", manifest.title, environment=_IDENTITY)
    if _head(repository) != commit:
        _git(repository, "update-ref", f"refs/heads/{BRANCH}", commit)


def _is_repository(repository: Path) -> bool:
    return repository.is_dir() and _head(repository) != ""


def _head(repository: Path) -> str:
    """The branch's commit, if its files are there, too."""
    try:
        _git(repository, "rev-parse", "--verify", "--quiet", f"{BRANCH}^{{tree}}")
        return _git(repository, "rev-parse", "--verify", "--quiet", BRANCH)
    except SourceRepositoryError:
        return ""


def _git(repository: Path | None, *arguments: str, given: str = "", **options: Any) -> str:
    """Run git and return its output as text."""
    return run(repository, *arguments, given=given.encode(), **options).decode(errors="replace").strip()


def run(repository: Path | None, *arguments: str, **options: Any) -> bytes:
    """Run git and return its output; as `pieces` does it."""
    return b"".join(pieces(repository, *arguments, **options))


def pieces(
    repository: Path | None,
    *arguments: str,
    given: bytes = b"",
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
    most_bytes: int | None = None,
) -> Generator[bytes, None, None]:
    """Run git and yield its output as it comes; it is killed when this is closed before. Nobody's own configuration
    reaches it: no signing, hooks or line endings. `most_bytes`: of a file that it writes; its memory is bounded then,
    too. Raises SourceRepositoryError."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    isolated = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C"}
    where = ["--git-dir", str(repository)] if repository else []
    settings = ["-c", "core.autocrlf=false", "-c", "core.fileMode=true", "-c", "safe.directory=*"]
    try:
        process = subprocess.Popen(
            ["git", *where, *settings, *arguments],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=inherited | isolated | (environment or {}),
            start_new_session=True,  # what it starts goes with it
            preexec_fn=partial(_use_no_more_than, most_bytes) if most_bytes else None,
        )
    except FileNotFoundError:
        raise SourceRepositoryError(
            "git is not installed, so games can't be deployed from source. On Debian and Ubuntu: apt-get install git"
        ) from None
    complained = bytearray()
    try:
        yield from _exchanged(process, given, complained)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        if isinstance(error, TimeoutError):
            raise GitTimedOut(f"git {arguments[0]} did not end within {GIT_SECONDS} seconds.") from None
        raise
    finally:
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait()
    if process.returncode != 0:
        why = complained.decode(errors="replace").strip()
        raise SourceRepositoryError(f"git {' '.join(arguments[:3])} failed: {why}")


def _exchanged(process: subprocess.Popen[bytes], given: bytes, complained: bytearray) -> Iterator[bytes]:
    """Give it its input, yield its output, and keep the last of its complaints, until it has closed both. Raises
    TimeoutError."""
    give_up_at, rest = clock.monotonic() + GIT_SECONDS, memoryview(given)
    with selectors.DefaultSelector() as waiting:
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                waiting.register(pipe, selectors.EVENT_WRITE if pipe is process.stdin else selectors.EVENT_READ)
        while waiting.get_map():
            left_seconds = give_up_at - clock.monotonic()
            if left_seconds <= 0:
                raise TimeoutError
            for key, _ in waiting.select(left_seconds):
                if key.fileobj is process.stdin:
                    with contextlib.suppress(BrokenPipeError):  # it has read enough
                        rest = rest[os.write(key.fd, rest[:PIPE_BYTES]) :] if rest else rest
                        if rest:
                            continue
                elif piece := os.read(key.fd, PIECE_BYTES):
                    if key.fileobj is process.stdout:
                        yield piece
                    else:
                        complained += piece
                        del complained[:-MOST_COMPLAINT_BYTES]
                    continue
                waiting.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]


def _use_no_more_than(most_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
