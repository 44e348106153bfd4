"""Which installation a command is about: the one that this shell's variables name, or else the one that runs here.

Asked before anything of Django is loaded, and before the settings make a folder or a key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from orchestrator_site import places

LOCK = "up.lock"  # in the folder, held by its `up`, whose process id is in it
DATABASE = "orchestrator.sqlite3"
FOLDER = "ORCHESTRATOR_VAR"
# Whoever sets one of these has said which installation is meant, and what it needs.
NAMING = ("DATABASE_URL", "DIGITALOCEAN_TOKEN", "ORCHESTRATOR_ID")
MAKING = frozenset({"up", "prepare", "migrate"})  # they make a database where there is none
NEEDING_NONE = frozenset(
    {"check", "collectstatic", "completion", "diffsettings", "findstatic", "help", "localcloud", "makemigrations"}
    | {"sendtestemail", "test", "version", "webhook_receiver"}
)


class Missing(Exception):
    """There is none that is meant. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Installation:
    """`lent` are the variables that its `up` was started with, for where this shell has none of its own."""

    folder: Path
    lent: Mapping[str, str] = field(default_factory=dict)
    is_elsewhere: bool = False  # it was found by its process, not by its folder


def is_needed(arguments: list[str]) -> bool:
    """Whether the command is about an installation that must be there."""
    command = arguments[0] if arguments else "help"
    asks_for_help = bool({"-h", "--help"} & set(arguments))
    return not (command.startswith("-") or command in MAKING | NEEDING_NONE or asks_for_help)


def find(environment: Mapping[str, str], program: str) -> Installation:
    """Return the installation that a command is about. Raises Missing."""
    folder = folder_of(environment)
    if any(_is_set(environment, name) for name in NAMING):
        return Installation(folder)
    if (lent := lent_by(folder)) is not None:
        return Installation(folder, lent)
    if has_database(folder):
        return Installation(folder)
    running = sorted(set(_running()))
    where = f"One runs in {', another in '.join(map(str, running))}: " if running else ""
    if _is_set(environment, FOLDER):
        advice = f"set {FOLDER} to it." if running else f"`{program} up` makes one."
        raise Missing(f"There is no installation in {folder} ({FOLDER}). {where}{advice}")
    if len(running) == 1:
        return Installation(running[0], lent_by(running[0]) or {}, is_elsewhere=True)
    advice = f"say which with {FOLDER}." if running else (
        f"Name its folder with {FOLDER} or its database with DATABASE_URL; `{program} up` makes a new one."
    )  # fmt: skip
    raise Missing(f"There is no installation in {folder}{'' if running else ', and none runs here'}. {where}{advice}")


def folder_of(environment: Mapping[str, str]) -> Path:
    """Return the folder that the settings will read from the same variables."""
    path = environment.get(f"{FOLDER}_FILE", "").strip()
    with suppress(OSError, ValueError):  # the settings say what is wrong with it
        named = Path(path).read_text().strip() if path else environment.get(FOLDER, "").strip()
        return Path(named or places.default_var()).resolve()
    return places.default_var()


def has_database(folder: Path) -> bool:
    """Whether something was ever written to a database there."""
    try:
        return (folder / DATABASE).stat().st_size > 0
    except OSError:
        return False


def lent_by(folder: Path) -> dict[str, str] | None:
    """The variables that the `up` of a folder was started with; None where none runs."""
    with suppress(OSError, ValueError, psutil.Error):
        process = psutil.Process(int((folder / LOCK).read_text()))
        if folder in _held_by(process):
            return {**process.environ(), FOLDER: str(folder)}
    return None


def _running() -> Iterator[Path]:
    """The folders of whatever runs here as this user."""
    for process in psutil.process_iter():
        with suppress(OSError, psutil.Error):  # somebody else's, or it ends while we look
            if "up" in process.cmdline():
                yield from _held_by(process)


def _held_by(process: psutil.Process) -> list[Path]:
    files = map(Path, (file.path for file in process.open_files()))
    return [file.parent for file in files if file.name == LOCK and (file.parent / LOCK).exists()]


def _is_set(environment: Mapping[str, str], name: str) -> bool:
    return bool(environment.get(name, "").strip() or environment.get(f"{name}_FILE", "").strip())
