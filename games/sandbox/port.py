#!/usr/bin/env python3
"""Look at a port of the sandbox: who listens on it, and how it answers; or end whoever does.

    PORT=5000 SANDBOX_DEPLOYMENT=STAMP python3 port.py clear 5000
    PORT=5000 python3 port.py look 5000 [PATH...]
    PORT=5000 SANDBOX_DEPLOYMENT=STAMP python3 port.py others SESSION

This file is written into a sandbox and runs there alone, on Python 3.8 or later, without any package.
`clear` ends what listens there and all that carries the same stamp in its environment, unless the stamp is ours.
`others` prints as JSON the other ports on which processes of that stamp or session listen.
`look` prints JSON: the listeners' stamps and sessions, and the paths that are answered packed though we asked not to.

A sandbox that is no container may give us another PORT than the one that was meant, which a game that does not heed
PORT listens on all the same. So both are looked at; and what runs with another HOME is not of this sandbox.

Exit codes: 0 done, 2 wrong arguments, 3 the port can't be cleared.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import time
from contextlib import suppress
from functools import partial

STAMP = "SANDBOX_DEPLOYMENT"
USAGE, TAKEN = 2, 3
CLEAR_SECONDS = 5.0
LOOK_SECONDS = 3.0
POLL_SECONDS = 0.02
LISTENING = "0A"  # as /proc/net/tcp has it
HEAD_BYTES = 65536


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def inodes(port: int) -> set[str]:
    """The sockets that listen on that port."""
    found: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as lines:
                for fields in map(str.split, list(lines)[1:]):
                    if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                        found.add(fields[9])
        except OSError:
            continue
    return found


def processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def environment_of(pid: int) -> dict[str, str] | None:
    """That process's environment; None when it can't be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as environment:
            lines = environment.read().decode(errors="replace").split("\0")
    except OSError:
        return None
    return dict(line.split("=", 1) for line in lines if "=" in line)


def stamp_of(pid: int) -> str | None:
    """The stamp in that process's environment: empty when it has none, None when that can't be read."""
    environment = environment_of(pid)
    return None if environment is None else environment.get(STAMP, "")


def is_of_this_sandbox(pid: int) -> bool:
    environment = environment_of(pid)
    return environment is not None and environment.get("HOME") == os.environ.get("HOME")


def has_new_title(pid: int) -> bool:
    """Whether it lives and has overwritten its environment, as who sets a title of its own does."""
    environment = environment_of(pid)
    if environment is None or "HOME" in environment:
        return False
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as title:
            return title.read(1) != b""  # the dead have neither
    except OSError:
        return False


def session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def holders(port: int) -> tuple[set[int], bool]:
    """The processes that listen there, and whether there are sockets whose process can't be told."""
    wanted = inodes(port)
    found: set[int] = set()
    seen: set[str] = set()
    for pid in processes() if wanted else []:
        folder = f"/proc/{pid}/fd"
        try:
            for name in os.listdir(folder):
                link = os.readlink(os.path.join(folder, name))
                if link.startswith("socket:[") and link[8:-1] in wanted:
                    found.add(pid)
                    seen.add(link[8:-1])
        except OSError:
            continue
    return found, seen != wanted


def strays(given: int, meant: int) -> set[int]:
    """Those of this sandbox that listen on the port that was meant, where we were given another."""
    return set() if meant == given else set(filter(is_of_this_sandbox, holders(meant)[0]))


def ancestors() -> set[int]:
    """This process, and those that it hangs below: the agent is one of them."""
    found: set[int] = set()
    pid = os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        try:
            with open(f"/proc/{pid}/stat") as stat:
                pid = int(stat.read().rpartition(")")[2].split()[1])
        except OSError:
            break
    return found


def clear(given: int, meant: int) -> int:
    ours = ancestors()
    deadline = time.monotonic() + CLEAR_SECONDS
    family = Family(ours)
    while True:
        on_our_port, is_hidden = holders(given)
        pids = on_our_port | strays(given, meant)
        if is_hidden:  # then who was given the port may be known at least
            pids |= set(filter(partial(was_given, str(given)), processes())) - ours
        family.add(pids, on_our_port - ours)
        members = family.members()
        if not pids and not is_hidden and not members:
            break
        if pids & ours:
            say(f"Port {meant} is the sandbox's own.")
            return TAKEN
        if time.monotonic() > deadline:
            say(f"Port {meant} is taken by {named(pids | members)}, which can't be ended.")
            return TAKEN
        for pid in members:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_SECONDS)
    if family.stamps or family.groups or family.pids:
        say(f"Ended what was still on port {meant}.")
    return 0


class Family:
    """Who has listened, and who belongs to them by stamp or by group: whoever has started them starts them again, and
    what was started a moment ago has yet to listen. So all are ended, not only who listens."""

    def __init__(self, ours: set[int]) -> None:
        self.ours, self.own_groups = ours, set(map(group_of, ours))
        self.pids: set[int] = set()
        self.stamps: set[str] = set()
        self.groups: set[int] = set()
        self.renamed: set[int] = set()

    def add(self, pids: set[int], on_our_port: set[int]) -> None:
        self.pids |= pids
        self.renamed |= set(filter(has_new_title, on_our_port))
        self.stamps |= {stamp for stamp in map(stamp_of, pids) if stamp} - {os.environ.get(STAMP, "")}
        ours = {pid for pid in pids if pid in self.renamed or is_of_this_sandbox(pid)}
        self.groups |= {group_of(pid) for pid in ours} - self.own_groups - {0}

    def members(self) -> set[int]:
        """Those that live; the dead have no environment."""
        if not self.pids:
            return set()
        return {pid for pid in processes() if self._has(pid) and self._may_end(pid)} - self.ours

    def _may_end(self, pid: int) -> bool:
        is_renamed = pid in self.renamed or group_of(pid) in self.groups
        return is_of_this_sandbox(pid) or (is_renamed and has_new_title(pid))

    def _has(self, pid: int) -> bool:
        return pid in self.pids or stamp_of(pid) in self.stamps or group_of(pid) in self.groups


def was_given(port: str, pid: int) -> bool:
    """Whether that process was started for this port, and not by the start that we belong to."""
    environment = environment_of(pid) or {}
    return environment.get("PORT") == port and environment.get(STAMP) != os.environ.get(STAMP)


def group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return 0


def named(pids: set[int]) -> str:
    return "process " + ", ".join(map(str, sorted(pids))) if pids else "another process"


def packing(ports: tuple[int, ...], path: str) -> str | None:
    """How the answer for that path is packed: empty when it is not, None when nobody answers."""
    for port in dict.fromkeys(ports):
        for host in ("127.0.0.1", "::1"):
            try:
                head = head_of(host, port, path)
            except TimeoutError:  # somebody listens, and takes its time
                return None
            except OSError:
                continue
            found = re.search(rb"\r\ncontent-encoding:[ \t]*([^\r\n]*)", head, re.IGNORECASE)
            said = found.group(1).decode("latin-1").strip().lower() if found else ""
            return "" if said == "identity" else said
    return None


def head_of(host: str, port: int, path: str) -> bytes:
    """The head of the answer. Raises OSError."""
    with socket.create_connection((host, port), LOOK_SECONDS) as connection:
        connection.settimeout(LOOK_SECONDS)
        lines = [f"GET {path} HTTP/1.1", f"Host: localhost:{port}", "Accept-Encoding: identity"]
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        head = b""
        while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES:
            piece = connection.recv(HEAD_BYTES)
            if not piece:
                break
            head += piece
        return head.partition(b"\r\n\r\n")[0]


def look(given: int, meant: int, paths: list[str]) -> int:
    found = {path: packing((given, meant), path) for path in paths}
    pids, is_hidden = holders(given)
    pids |= strays(given, meant)
    seen = [{"stamp": stamp_of(pid), "session": session_of(pid)} for pid in sorted(pids)]
    seen += [{"stamp": None, "session": 0}] * is_hidden
    # Some kernels do not list their sockets: that somebody answers says then that nothing can be seen.
    is_silent = all(how is None for how in found.values())
    sees = bool(seen) or (is_silent and os.path.exists("/proc/net/tcp"))
    say(
        json.dumps(
            {
                "sees_sockets": sees,
                "listeners": seen,
                "packed": {path: how for path, how in found.items() if how},
            }
        )
    )
    return 0


def others(given: int, session: int) -> int:
    """The ports, but the one that was given, on which what we started listens."""
    listening: dict[str, int] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError), open(table) as lines:
            for fields in map(str.split, list(lines)[1:]):
                if fields[3] == LISTENING:
                    listening[fields[9]] = int(fields[1].rpartition(":")[2], 16)
    stamp = os.environ.get(STAMP, "")
    ours = [pid for pid in processes() if (stamp and stamp_of(pid) == stamp) or session_of(pid) == session]
    found: set[int] = set()
    for pid in ours:
        folder = f"/proc/{pid}/fd"
        with suppress(OSError):
            links = [os.readlink(os.path.join(folder, name)) for name in os.listdir(folder)]
            found |= {listening[link[8:-1]] for link in links if link[8:-1] in listening}
    say(json.dumps(sorted(found - {given})))
    return 0


def main(arguments: list[str]) -> int:
    given, [verb, meant, *paths] = os.environ.get("PORT", ""), (*arguments, "", "")[: max(2, len(arguments))]
    if given.isdigit() and meant.isdigit() and verb == "clear":
        return clear(int(given), int(meant))
    if given.isdigit() and meant.isdigit() and verb == "look":
        return look(int(given), int(meant), paths)
    if given.isdigit() and meant.isdigit() and verb == "others":
        return others(int(given), int(meant))
    sys.stderr.write(__doc__)
    return USAGE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
