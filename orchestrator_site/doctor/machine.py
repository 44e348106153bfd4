"""This machine: its folder, its disk, its clock."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import uuid4

from django.conf import settings

from orchestrator_site.doctor.checks import Finding, Seen, skipped, well
from orchestrator_site.doctor.codes import Code
from orchestrator_site.models import CLOCK_OFF_SECONDS, Beat
from orchestrator_site.private_folder import KEYS, OTHERS
from pools import clock

MIB = 1024**2
FULL_BYTES = 64 * MIB  # SQLite's log alone grows to that after a busy moment
LOW_BYTES = 1024 * MIB
GONE_INODES = 100
LOW_INODES = 10_000
PRIVATE = ("", *KEYS, "localcloud/token")


def disk(_seen: Seen) -> Finding:
    found = os.statvfs(settings.VAR_DIR)
    return space(found.f_bavail * found.f_frsize, settings.VAR_DIR)


def space(free_bytes: int, folder: Path) -> Finding:
    told = f"{free_bytes / MIB:,.0f} MiB are free in {folder}"
    if free_bytes < FULL_BYTES:
        return Finding(Code.DISK_FULL, told)
    return Finding(Code.DISK_LOW, told) if free_bytes < LOW_BYTES else well(told)


def inodes(_seen: Seen) -> Finding:
    found = os.statvfs(settings.VAR_DIR)
    return files_left(found.f_favail, found.f_files, settings.VAR_DIR)


def files_left(free: int, of: int, folder: Path) -> Finding:
    """`of`: how many the disk can hold at all; 0 where it has no such limit."""
    if not of:
        return well(f"{folder} has no limit of files")
    told = f"there is room for {free:,} more files in {folder}"
    if free < GONE_INODES:
        return Finding(Code.INODES_GONE, told)
    return Finding(Code.INODES_LOW, told) if free < LOW_INODES else well(told)


def var(_seen: Seen) -> Finding:
    """The folder of the database and the rest: written to, and closed to others."""
    folder = Path(settings.VAR_DIR)
    try:
        _write(folder / f"doctor-{uuid4().hex}")
    except OSError as error:
        return Finding(Code.VAR_NOT_WRITABLE, f"{folder} can't be written to ({error.strerror})")
    if open_to_others := list(_open(folder)):
        return Finding(Code.VAR_OPEN, f"others on this machine can read {', '.join(map(str, open_to_others))}")
    return well(f"{folder} can be written to, and is closed to others")


def _write(file: Path) -> None:
    try:
        file.write_text("written by `manage.py doctor`\n")
    finally:
        file.unlink(missing_ok=True)


def _open(folder: Path) -> Iterator[Path]:
    for name in PRIVATE:
        path = folder / name
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & OTHERS:
            yield path


def machine_clock(seen: Seen) -> Finding:
    """Against the cloud's answers, the database, and what other machines have found of theirs."""
    ahead = {"the cloud's": seen.facts("token"), "the database's": seen.facts("database")}
    told = {whose: seconds for whose, seconds in ahead.items() if seconds is not None}
    others = _of_other_machines() if seen.is_well("migrations") else {}
    if not told and not others:
        return skipped("nothing answered that has a clock")
    return time_of(told, others)


def time_of(ahead: Mapping[str, float], others: Mapping[str, float]) -> Finding:
    """`ahead`: by how much this machine's clock is ahead of each; `others`: by how much other machines' clocks are
    ahead of the database's."""
    off = [f"this machine's clock is {_apart(seconds)} {whose}" for whose, seconds in ahead.items() if _is_off(seconds)]
    off += [f"the clock of {host} is {_apart(seconds)} the database's" for host, seconds in others.items()]
    return Finding(Code.CLOCK_OFF, "; ".join(off)) if off else well(f"right, by {' and '.join(ahead) or 'all'} time")


def _of_other_machines() -> dict[str, float]:
    beats = Beat.objects.fresh(clock.now()).values_list("host", "clock_ahead_seconds")
    return {host: seconds for host, seconds in beats if _is_off(seconds)}


def _is_off(seconds: float) -> bool:
    return abs(seconds) > CLOCK_OFF_SECONDS


def _apart(seconds: float) -> str:
    return f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'}"
