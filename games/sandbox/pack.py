#!/usr/bin/env python3
"""Pack a game's folder so that the same files always give the same bytes: `python3 pack.py DIR OUT.tar.gz`.

Written into a sandbox and run there alone, on Python 3.8 or later. Names are sorted, times and owners left out, and
what differs from install to install (bytecode, records of where it was installed from) is not packed.
"""

from __future__ import annotations

import gzip
import os
import posixpath
import sys
import tarfile

SKIPPED_FOLDERS = {"__pycache__", ".git", ".cache"}
SKIPPED_FILES = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", ".package-lock.json"}
# Scripts that pip makes name this sandbox's Python; nothing here is started through them.
SKIPPED_PATHS = {os.path.join(".deps", "bin")}


def is_skipped(below: str, name: str) -> bool:
    """Whether that file of the folder `below` is one that differs from install to install."""
    is_a_record = name in SKIPPED_FILES and (below.endswith(".dist-info") or "node_modules" in below.split(os.sep))
    return is_a_record or name.endswith(".pyc")


def names_in(folder: str) -> list[str]:
    """Every file and link below the folder, as sorted relative paths."""
    found = []
    for path, folders, files in os.walk(folder):
        below = os.path.relpath(path, folder)
        folders[:] = [
            name
            for name in folders
            if name not in SKIPPED_FOLDERS and os.path.normpath(os.path.join(below, name)) not in SKIPPED_PATHS
        ]
        links = [name for name in folders if os.path.islink(os.path.join(path, name))]
        found += [os.path.normpath(os.path.join(below, n)) for n in files + links if not is_skipped(below, n)]
    return sorted(found)


def member_of(folder: str, name: str) -> tarfile.TarInfo:
    """Return the archive's entry for the file or link of that name."""
    path = os.path.join(folder, name)
    member = tarfile.TarInfo(name.replace(os.sep, "/"))
    if os.path.islink(path):
        goal = os.readlink(path)
        lands = posixpath.normpath(posixpath.join(posixpath.dirname(member.name), goal))
        if goal.startswith("/") or lands.split("/")[0] == "..":
            sys.exit(f"error: the link {name} leads out of the game's folder, to {goal}")
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, goal, 0o777
    elif os.path.isfile(path):
        # Files that share their bytes on disk are packed as what they are: which of them came first is chance.
        member.size = os.path.getsize(path)
        member.mode = 0o755 if os.stat(path).st_mode & 0o100 else 0o644
    else:
        sys.exit(f"error: {name} is neither a file nor a link")
    return member


def main(folder: str, out: str) -> None:
    with open(out, "wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed, tar_onto(packed) as archive:
        for name in names_in(folder):
            member = member_of(folder, name)
            if member.issym():
                archive.addfile(member)
                continue
            with open(os.path.join(folder, name), "rb") as file:
                archive.addfile(member, file)


def tar_onto(file: gzip.GzipFile) -> tarfile.TarFile:
    return tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)


if __name__ == "__main__":
    main(*sys.argv[1:])
