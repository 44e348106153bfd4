"""The manifest of a game, `game.toml` in its folder: read, checked, and never half right.

Nothing here needs Django: the catalog can be checked anywhere.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

FILE_NAME = "game.toml"
RUNTIMES = ("python", "node")
AGENT_PORT = 8080  # the sandbox's agent listens there
IGNORED_FOLDERS = frozenset({".deps", "node_modules", "__pycache__", ".git"})
IGNORED_FILES = frozenset({".DS_Store"})

_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_HEALTH = re.compile(r"/[A-Za-z0-9._~/?=&-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class ManifestError(ValueError):
    """A manifest that can't be used. The message has a line a problem: file, field, what it was, what it may be."""

    def __init__(self, file: Path, problems: list[str]) -> None:
        super().__init__("\n".join(f"{file}: {problem}" for problem in problems))
        self.file = file
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A game as its folder describes it. Commands are for a shell whose working directory is the game's folder."""

    folder: Path
    slug: str
    title: str
    tagline: str
    description: str
    how_to_play: str
    runtime: str
    port: int
    install: str
    run: str
    health: str
    snapshot: str
    cover: str
    position: int

    def cover_svg(self) -> str:
        """The picture for the lobby, or nothing when the game has none."""
        return (self.folder / self.cover).read_text(encoding="utf-8") if self.cover else ""

    @property
    def digest(self) -> str:
        """SHA-256 over the game's files: the same for the same content, wherever and whenever it is read."""
        return digest_of(self.folder)


class _Wrong(Exception):
    """One field's problem, without the names of the file and the field."""


def read_manifest(folder: Path) -> Manifest:
    """The manifest in `folder`; raises ManifestError that names every problem at once."""
    folder = folder.absolute()
    file = folder / FILE_NAME
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ManifestError(file, [f"is missing; a game's folder has a {FILE_NAME}"]) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ManifestError(file, [f"can't be read as TOML: {error}"]) from None

    problems = [
        f"{_show(name)} is not a field; the fields are {', '.join(_FIELDS)}" for name in given if name not in _FIELDS
    ]
    values: dict[str, Any] = {}
    for name, (check, default) in _FIELDS.items():
        if name not in given and default is None:
            problems.append(f"{name} is missing")
            continue
        try:
            values[name] = check(given.get(name, default), folder)
        except _Wrong as wrong:
            problems.append(f"{name} is {_show(given.get(name, default))}; {wrong}")
    if links := [path.relative_to(folder).as_posix() for path in _walk(folder) if path.is_symlink()]:
        problems.append(f"the folder holds links ({', '.join(links)}); a game is made of files alone")
    if problems:
        raise ManifestError(file, problems)
    return Manifest(folder=folder, **values)


def read_catalog(folder: Path) -> list[Manifest]:
    """The games in `folder`, one folder each, in the order in which people see them; every problem of all at once."""
    if not folder.is_dir():
        raise ManifestError(folder, ["is not a folder; the catalog is a folder with a folder for each game"])
    manifests, problems = [], []
    for candidate in sorted(folder.iterdir()):
        if not candidate.is_dir() or candidate.name.startswith((".", "_")):
            continue
        try:
            manifests.append(read_manifest(candidate))
        except ManifestError as error:
            problems += [f"{candidate.name}/{FILE_NAME}: {problem}" for problem in error.problems]
    owners: dict[str, str] = {}
    for manifest in manifests:
        owner = owners.setdefault(manifest.snapshot, manifest.slug)
        if owner != manifest.slug:
            problems.append(
                f"{manifest.slug}/{FILE_NAME}: snapshot is {_show(manifest.snapshot)}; "
                f"that is {owner}'s already, and each game has its own"
            )
    if problems:
        raise ManifestError(folder, problems)
    return sorted(manifests, key=lambda manifest: (manifest.position, manifest.slug))


def source_files(folder: Path) -> list[Path]:
    """What belongs to a game, relative to its folder and sorted: not what installing and running it leaves behind."""
    return sorted((path.relative_to(folder) for path in _walk(folder)), key=PurePosixPath.as_posix)


def digest_of(folder: Path) -> str:
    """SHA-256 over the paths, the contents and the executable bits of a game's files."""
    total = hashlib.sha256()
    for path in source_files(folder):
        content = (folder / path).read_bytes()
        executable = "x" if (folder / path).stat().st_mode & 0o100 else "-"
        # Lengths first, so that no two folders can spell the same bytes.
        total.update(f"{executable} {len(content)} {path.as_posix()}\0".encode())
        total.update(content)
    return total.hexdigest()


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            if path.name not in IGNORED_FOLDERS:
                yield from _walk(path)
        elif path.name not in IGNORED_FILES and path.suffix != ".pyc":
            yield path


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…" + text[0]


def _text(most: int, *, lines: bool = False, empty: bool = False) -> Callable[[object, Path], str]:
    def check(value: object, _folder: Path) -> str:
        if not isinstance(value, str):
            raise _Wrong("it must be text in quotes")
        value = value.strip()
        if not value and not empty:
            raise _Wrong("it must not be empty")
        if len(value) > most:
            raise _Wrong(f"it has {len(value)} characters and may have {most}")
        if _CONTROL.search(value.replace("\n", "") if lines else value):
            raise _Wrong("it must be printable text" + ("" if lines else " on one line"))
        return value

    return check


def _number(least: int, most: int) -> Callable[[object, Path], int]:
    def check(value: object, _folder: Path) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise _Wrong(f"it must be a whole number from {least} to {most}")
        return value

    return check


def _slug(value: object, folder: Path) -> str:
    if value != folder.name:
        raise _Wrong(f"it must be the name of its folder, {folder.name!r}")
    if not _SLUG.fullmatch(folder.name) or len(folder.name) > 40:
        raise _Wrong("a slug (and so the folder's name) is up to 40 of a-z and 0-9, with single hyphens inside")
    return folder.name


def _snapshot(value: object, _folder: Path) -> str:
    if not isinstance(value, str) or not _SLUG.fullmatch(value) or len(value) > 60:
        raise _Wrong("it must be up to 60 of a-z and 0-9, with single hyphens inside, such as 'snake-python'")
    return value


def _runtime(value: object, _folder: Path) -> str:
    if not isinstance(value, str) or value not in RUNTIMES:
        raise _Wrong(f"it must be one of {', '.join(map(repr, RUNTIMES))}")
    return value


def _port(value: object, folder: Path) -> int:
    port = _number(1024, 65535)(value, folder)
    if port == AGENT_PORT:
        raise _Wrong("there the sandbox's agent listens; take another, such as 5000")
    return port


def _health(value: object, _folder: Path) -> str:
    if not isinstance(value, str) or not _HEALTH.fullmatch(value) or "//" in value or len(value) > 200:
        raise _Wrong("it must be a path on the game's own server, such as '/api/health'")
    if ".." in value.split("?")[0].split("/"):
        raise _Wrong("it must not climb with '..'")
    return value


def _cover(value: object, folder: Path) -> str:
    path = _text(200, empty=True)(value, folder)
    if not path:
        return ""
    if _leaves_folder(path) or not path.endswith(".svg"):
        raise _Wrong("it must be the relative path of an .svg file in the game's folder, such as 'cover.svg'")
    if not (folder / path).is_file():
        raise _Wrong("there is no such file in the game's folder")
    return path


def _command(value: object, folder: Path) -> str:
    """One line for a shell. Relative paths only: a sandbox may keep its working directory anywhere."""
    command = _text(2000)(value, folder)
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise _Wrong(f"a shell could not read it ({error})") from None
    for word in words:
        # `--target=/srv/deps` and `A=1:/srv/b` hide paths behind a name.
        for part in re.split(r"[=:;|&<>()\s]", word.replace("://", "\0")):
            if _leaves_folder(part):
                raise _Wrong(f"{part!r} leaves the game's folder; paths in commands are relative, without '..'")
    return command


def _commands(value: object, folder: Path) -> str:
    """A command, or a list of commands that run one after the other until one fails; nothing is fine, too."""
    if isinstance(value, str):
        return _command(value, folder) if value.strip() else ""
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return " && ".join(_command(part, folder) for part in value)
    raise _Wrong("it must be a command in quotes, or a list of such commands")


def _leaves_folder(path: str) -> bool:
    return path.startswith(("/", "~", "\\", "$HOME", "${HOME")) or ".." in re.split(r"[/\\]", path)


# Each field's check, and what it is when it is not given; None: it must be given.
_FIELDS: Mapping[str, tuple[Callable[[object, Path], Any], object]] = {
    "slug": (_slug, None),
    "title": (_text(80), None),
    "tagline": (_text(160, empty=True), ""),
    "description": (_text(4000, lines=True, empty=True), ""),
    "how_to_play": (_text(4000, lines=True, empty=True), ""),
    "runtime": (_runtime, None),
    "port": (_port, 5000),
    "install": (_commands, ""),
    "run": (_command, None),
    "health": (_health, "/"),
    "snapshot": (_snapshot, None),
    "cover": (_cover, ""),
    "position": (_number(0, 10_000), 1000),
}
