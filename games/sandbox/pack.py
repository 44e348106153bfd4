#!/usr/bin/env python3
"""Pack a game's folder so that the same files always give the same bytes: `python3 pack.py DIR OUT.tar.gz`.

Written into a sandbox and run there alone, on Python 3.8 or later. Names are sorted, times and owners left out, and
what differs from install to install (bytecode, records of where it was installed from) is not packed.
"""

from __future__ import annotations

import gzip
import os
import sys
import tarfile

SKIPPED_FOLDERS = {"__pycache__", ".git", ".cache", "bin"}
SKIPPED_FILES = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", ".package-lock.json"}


def is_skipped(path: str, name: str) -> bool:
    return (name in SKIPPED_FILES and (".dist-info" in path or "node_modules" in path)) or name.endswith(".pyc")


def names_in(folder: str) -> list[str]:
    """Every file and link below the folder, as sorted relative paths."""
    found = []
    for path, folders, files in os.walk(folder):
        # Scripts that pip makes name this sandbox's Python; nothing here is started through them.
        below = os.path.relpath(path, folder)
        folders[:] = [f for f in folders if f not in SKIPPED_FOLDERS or (f == "bin" and below != ".deps")]
        links = [f for f in folders if os.path.islink(os.path.join(path, f))]
        found += [os.path.normpath(os.path.join(below, n)) for n in files + links if not is_skipped(path, n)]
    return sorted(found)


def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member


def main(folder: str, out: str) -> None:
    with open(out, "wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed, tar_onto(packed) as archive:
        for name in names_in(folder):
            archive.add(os.path.join(folder, name), name, recursive=False, filter=plain)


def tar_onto(file: gzip.GzipFile) -> tarfile.TarFile:
    return tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)


if __name__ == "__main__":
    main(*sys.argv[1:])
