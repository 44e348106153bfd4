"""The manifest of a game, `game.toml` in its folder: read, checked, and never half right.

Nothing here needs Django: a game can be checked anywhere.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
)

FILE_NAME = "game.toml"
AGENT_PORT = 8080  # the sandbox's agent listens there
IGNORED_FOLDERS = frozenset({".deps", "node_modules", "__pycache__", ".git"})
IGNORED_FILES = frozenset({".DS_Store"})

_SLUG = "[a-z0-9]+(-[a-z0-9]+)*"
_PATH = "/|(/[A-Za-z0-9._~?=&-]+)+/?"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class ManifestError(ValueError):
    """A manifest that can't be used. The message has a line a problem: file, field, what it was, what it may be."""

    def __init__(self, file: Path, problems: list[str]) -> None:
        super().__init__("\n".join(f"{file}: {problem}" for problem in problems))
        self.file = file
        self.problems = tuple(problems)


# The rules that need more than a type: each raises ValueError with the end of a sentence, such as "it must not climb".


def _on_one_line(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("it must be printable text on one line")
    return text


def _printable(text: str) -> str:
    if _CONTROL.search(text.replace("\n", "")):
        raise ValueError("it must be printable text")
    return text


def _names_its_folder(slug: str, info: ValidationInfo) -> str:
    name = _folder(info).name
    if slug != name:
        raise ValueError(f"it must be the name of its folder, {name!r}")
    if not re.fullmatch(_SLUG, slug) or len(slug) > 40:
        raise ValueError("a slug (and so the folder's name) is up to 40 of a-z and 0-9, with single hyphens inside")
    return slug


def _not_the_agents(port: int) -> int:
    if port == AGENT_PORT:
        raise ValueError("there the sandbox's agent listens; take another, such as 5000")
    return port


def _does_not_climb(path: str) -> str:
    if ".." in path.partition("?")[0].split("/"):
        raise ValueError("it must not climb with '..'")
    return path


def _is_a_picture_of_the_folder(path: str, info: ValidationInfo) -> str:
    if not path:
        return ""
    if _leaves_folder(path) or not path.endswith(".svg"):
        raise ValueError("it must be the relative path of an .svg file in the game's folder, such as 'cover.svg'")
    if not (_folder(info) / path).is_file():
        raise ValueError("there is no such file in the game's folder")
    return path


def _stays_in_its_folder(command: str) -> str:
    """Relative paths only: a sandbox may keep its working directory anywhere."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"a shell could not read it ({error})") from None
    for word in words:
        # `--target=/srv/deps` and `A=1:/srv/b` hide paths behind a name.
        for part in re.split(r"[=:;|&<>()\s]", word.replace("://", "\0")):
            if _leaves_folder(part):
                raise ValueError(f"{part!r} leaves the game's folder; paths in commands are relative, without '..'")
    return command


def _as_commands(value: object) -> object:
    """One command is a list of one, and a blank one is none."""
    if isinstance(value, str):
        return (value,) if value.strip() else ()
    return tuple(value) if isinstance(value, list) else value


def _leaves_folder(path: str) -> bool:
    return path.startswith(("/", "~", "\\", "$HOME", "${HOME")) or ".." in re.split(r"[/\\]", path)


def _folder(info: ValidationInfo) -> Path:
    return cast(dict[str, Path], info.context)["folder"]


def _whole_number(least: int, most: int) -> Any:
    return Field(ge=least, le=most, description=f"a whole number from {least} to {most}")


def _text(most: int, least: int = 0) -> StringConstraints:
    return StringConstraints(strip_whitespace=True, min_length=least, max_length=most)


# One line for a shell.
Command = Annotated[str, _text(2000, least=1), AfterValidator(_on_one_line), AfterValidator(_stays_in_its_folder)]


class Manifest(BaseModel):
    """A game as its folder describes it. Commands are for a shell whose working directory is the game's folder.

    A field's description says what the field may be: it ends the sentence about a value that is not.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    slug: Annotated[str, AfterValidator(_names_its_folder)]
    title: Annotated[str, _text(80, least=1), AfterValidator(_on_one_line)]
    tagline: Annotated[str, _text(160), AfterValidator(_on_one_line)] = ""
    description: Annotated[str, _text(4000), AfterValidator(_printable)] = ""
    how_to_play: Annotated[str, _text(4000), AfterValidator(_printable)] = ""
    runtime: Literal["python", "node"] = Field(description="'python' or 'node'")
    port: Annotated[int, _whole_number(1024, 65535), AfterValidator(_not_the_agents)] = 5000
    install: Annotated[tuple[Command, ...], BeforeValidator(_as_commands)] = Field(
        default=(), description="a command in quotes, or a list of such commands"
    )
    run: Command
    health: Annotated[str, AfterValidator(_does_not_climb)] = Field(
        default="/",
        max_length=200,
        pattern=f"^({_PATH})$",
        description="a path on the game's own server, such as '/api/health'",
    )
    snapshot: str = Field(
        max_length=60,
        pattern=f"^{_SLUG}$",
        description="up to 60 of a-z and 0-9, with single hyphens inside, such as 'snake-python'",
    )
    cover: Annotated[str, _text(200), AfterValidator(_is_a_picture_of_the_folder)] = ""
    position: Annotated[int, _whole_number(0, 10_000)] = 1000

    _folder: Path = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        self._folder = context["folder"]

    @property
    def folder(self) -> Path:
        return self._folder

    @property
    def install_command(self) -> str:
        """The commands that install it, one after the other until one fails; empty when there is nothing to install."""
        return " && ".join(self.install)

    def cover_svg(self) -> str:
        """The picture for the lobby, or nothing when the game has none."""
        return (self.folder / self.cover).read_text(encoding="utf-8") if self.cover else ""

    @property
    def digest(self) -> str:
        """SHA-256 over the game's files: the same for the same content, wherever and whenever it is read."""
        return digest_of(self.folder)


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

    problems = []
    manifest = None
    try:
        manifest = Manifest.model_validate(given, context={"folder": folder})
    except ValidationError as error:
        problems += [_sentence(wrong) for wrong in error.errors(include_url=False)]
    if links := [path.relative_to(folder).as_posix() for path in _walk(folder) if path.is_symlink()]:
        problems.append(f"the folder holds links ({', '.join(links)}); a game is made of files alone")
    if manifest is None or problems:
        raise ManifestError(file, problems)
    return manifest


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


def _sentence(wrong: Mapping[str, Any]) -> str:
    """One of pydantic's errors: which field, what it was, what it may be."""
    field, *place = wrong["loc"]
    name = field + "".join(f"[{index}]" for index in place)
    match wrong["type"]:
        case "missing":
            return f"{name} is missing"
        case "extra_forbidden":
            return f"{_show(field)} is not a field; the fields are {', '.join(Manifest.model_fields)}"
        case "value_error":
            may_be = str(wrong["ctx"]["error"])
        case _ if not place and (description := Manifest.model_fields[field].description):
            may_be = f"it must be {description}"
        case "string_type":
            may_be = "it must be text in quotes"
        case "string_too_short":
            may_be = "it must not be empty"
        case "string_too_long":
            may_be = f"it has {len(wrong['input'].strip())} characters and may have {wrong['ctx']['max_length']}"
        case _:
            may_be = wrong["msg"]
    return f"{name} is {_show(wrong['input'])}; {may_be}"


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…" + text[0]
