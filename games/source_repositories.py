"""A real git repository for each game of the catalog, so that a sandbox can clone its source.

The same files always give the same commit: author, date and message are fixed, and there is no history.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from games.manifest import Manifest, source_files

BRANCH = "main"
GIT_SECONDS = 60
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


def run(
    repository: Path | None,
    *arguments: str,
    given: bytes = b"",
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
    most_bytes: int | None = None,
) -> bytes:
    """Run git and return its output. Nobody's own configuration reaches it: no signing, hooks or line endings.
    `most_bytes`: of a file that it writes. Raises SourceRepositoryError."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    isolated = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C"}
    where = ["--git-dir", str(repository)] if repository else []
    settings = ["-c", "core.autocrlf=false", "-c", "core.fileMode=true", "-c", "safe.directory=*"]
    try:
        process = subprocess.Popen(
            ["git", *where, *settings, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=inherited | isolated | (environment or {}),
            start_new_session=True,  # what it starts goes with it
            preexec_fn=partial(_write_no_more_than, most_bytes) if most_bytes else None,
        )
    except FileNotFoundError:
        raise SourceRepositoryError(
            "git is not installed, so games can't be deployed from source. On Debian and Ubuntu: apt-get install git"
        ) from None
    try:
        said, complained = process.communicate(given, timeout=GIT_SECONDS)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise GitTimedOut(f"git {arguments[0]} did not end within {GIT_SECONDS} seconds.") from None
        raise
    if process.returncode != 0:
        why = complained.decode(errors="replace").strip()
        raise SourceRepositoryError(f"git {' '.join(arguments[:3])} failed: {why}")
    return said


def _write_no_more_than(most_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
