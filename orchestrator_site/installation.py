"""Which installation a command is about: the one that this shell's variables name, or else the one that runs here.

Asked before anything of Django is loaded, and before the settings make a folder or a key.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator_site import places

if TYPE_CHECKING:
    import psutil

LOCK = "up.lock"  # in the folder, held by its `up`, whose process id is in it
DATABASE = "orchestrator.sqlite3"
FOLDER = "ORCHESTRATOR_VAR"
PATHS = ("CATALOG_DIR", "STATIC_ROOT")
# Whoever sets one of these has said which installation is meant, and what it needs.
NAMING = ("DATABASE_URL", "DIGITALOCEAN_TOKEN", "ORCHESTRATOR_ID")
PREPARING = frozenset({"prepare", "migrate"})
MAKING = PREPARING | {"up"}  # they make a database where there is none
NEEDING_NONE = frozenset(
    {"check", "collectstatic", "completion", "diffsettings", "findstatic", "help", "localcloud", "makemigrations"}
    | {"sendtestemail", "test", "version", "webhook_receiver"}
)
# They delete, hand over, serve, or do whatever they are told: which installation is meant is said, never guessed.
NEVER_GUESSED = frozenset(
    {"adopt", "dbshell", "flush", "import", "loaddata", "metrics", "move_database", "qcluster", "rotate_secret_key"}
    | {"runserver", "shell", "sweep", "web"}
)


# The same of one act among others that may be guessed.
ACTS_NEVER_GUESSED = {
    "api_key": frozenset({"revoke"}),
    "game": frozenset({"add", "update", "publish", "back"}),
    "pool": frozenset({"pause", "resume", "drain", "warm-up", "recycle", "close-breaker"}),
    "snapshots": frozenset({"prune"}),
}
EXAMINING = frozenset({"doctor"})  # they say what is missing, also where all is


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


def may_be_guessed(arguments: Sequence[str]) -> bool:
    """Whether a command may be about the one installation that runs here, though nobody has named it."""
    command, *rest = arguments or [""]
    return command not in NEVER_GUESSED and not ACTS_NEVER_GUESSED.get(command, frozenset()) & set(rest)


def find(environment: Mapping[str, str], program: str, *arguments: str) -> Installation:
    """Return the installation that a command, with its arguments, is about. Raises Missing."""
    here = in_its_folder(environment)
    folder = here.folder
    if here.lent or _is_named(environment) or has_database(folder):
        return here
    running, is_folder_named = sorted(set(_running())), is_set(environment, FOLDER)
    if len(running) == 1 and not is_folder_named and may_be_guessed(arguments):
        return Installation(running[0], lent_by(running[0]) or {}, is_elsewhere=True)
    if not EXAMINING.isdisjoint(arguments[:1]):
        return here
    where = f"One runs in {', another in '.join(map(str, running))}: " if running else ""
    if is_folder_named:
        advice = f"set {FOLDER} to it." if running else f"`{program} up` makes one."
        raise Missing(f"There is no installation in {folder} ({FOLDER}). {where}{advice}")
    advice = f"set {FOLDER} to the one that is meant." if running else (
        f"Name its folder with {FOLDER} or its database with DATABASE_URL; `{program} up` makes a new one."
    )  # fmt: skip
    raise Missing(f"There is no installation in {folder}{'' if running else ', and none runs here'}. {where}{advice}")


def in_its_folder(environment: Mapping[str, str]) -> Installation:
    """Return what a command is about that makes a database where there is none: beside an `up`, that one's."""
    folder = folder_of(environment)
    return Installation(folder, {} if _is_named(environment) else lent_by(folder) or {})


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
    try:
        pid = int((folder / LOCK).read_text())
    except (OSError, ValueError):
        return None
    import psutil  # it takes a while, and completion is waited for

    with suppress(OSError, psutil.Error):
        process = psutil.Process(pid)
        if process.uids().effective in (os.geteuid(), folder.stat().st_uid) and folder in _held_by(process):
            there = Path(process.cwd())
            lent = {
                name: str(there / value.strip()) if value.strip() and _is_path(name) else value
                for name, value in process.environ().items()
            }
            lent.pop(f"{FOLDER}_FILE", None)
            return {**lent, FOLDER: str(folder)}
    return None


def _is_path(name: str) -> bool:
    """Whether a setting of that name is a path, which may be one from where its process was started."""
    return name in PATHS or name.endswith("_FILE")


def _running() -> Iterator[Path]:
    """The folders of whatever runs here as this user: root sees what others run, and does not do as they say."""
    import psutil

    for process in psutil.process_iter():
        with suppress(OSError, psutil.Error):  # somebody else's, or it ends while we look
            if process.uids().effective == os.geteuid() and "up" in process.cmdline():
                yield from _held_by(process)


def _held_by(process: psutil.Process) -> list[Path]:
    files = map(Path, (file.path for file in process.open_files()))
    return [file.parent for file in files if file.name == LOCK and (file.parent / LOCK).exists()]


def _is_named(environment: Mapping[str, str]) -> bool:
    return any(is_set(environment, name) for name in NAMING)


def is_set(environment: Mapping[str, str], name: str) -> bool:
    """Whether the variable is set, or the file that has it is named."""
    return bool(environment.get(name, "").strip() or environment.get(f"{name}_FILE", "").strip())
