"""The names of this machine, of this container of it, and of this process: those of one host name differ."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path


def _boot_id() -> str:
    """What tells machines of the same name apart."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def this_machine() -> str:
    return f"{socket.gethostname()}|{_boot_id()}"


def this_host() -> str:
    """A short name of this machine, or of this container of it; of those with one host name each has another."""
    digest = hashlib.sha256(f"{_boot_id()}{_pid_namespace()}".encode()).hexdigest()
    return f"{socket.gethostname()} {digest[:6]}"


def this_process() -> str:
    return f"{this_machine()}|{_pid_namespace()}|{os.getpid()}"
