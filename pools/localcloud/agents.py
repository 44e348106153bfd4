"""The start of an agent's process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pools.localcloud.mortality import APP_MARK, die_with_parent
from pools.localcloud.programs import environment

CHECKOUT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "pools.localcloud.agent")


@dataclass(frozen=True, slots=True)
class AgentStart:
    """An agent to be: `COMMAND` with `options`, told `first_line` on its standard input, which must then stay open."""

    folder: Path  # of what sandboxes share
    root: Path  # of this one's own files
    app_id: str
    name: str
    token: str
    runtime: str
    variables: Mapping[str, str] = field(default_factory=dict)  # from its spec
    marks: Mapping[str, str] = field(default_factory=dict)  # by which what it starts is found

    def programs(self) -> dict[str, str]:
        return environment(self.folder, self.root, self.runtime) | {APP_MARK: self.app_id} | dict(self.marks)

    def options(self, listener: socket.socket) -> dict[str, Any]:
        """For the call that starts the process. It gets nothing of our environment that it does not need."""
        return {
            "cwd": CHECKOUT,
            "env": self.programs() | {"PYTHONPATH": str(CHECKOUT)},
            "stdin": subprocess.PIPE,
            "pass_fds": [listener.fileno()],
            "start_new_session": True,
            # Not killed, but woken if it is stopped: it sees its input end, and ends what it started.
            "preexec_fn": die_with_parent(os.getpid(), signal.SIGCONT),
        }

    def first_line(self, listener: socket.socket, faults: Sequence[Mapping[str, Any]] = ()) -> bytes:
        given = {
            "folder": str(self.folder),
            "root": str(self.root),
            "token": self.token,
            "app": {"id": self.app_id, "name": self.name},
            "fd": listener.fileno(),
            "environment": {**self.variables, **self.programs()},
            "faults": list(faults),
        }
        return json.dumps(given).encode() + b"\n"


def listen(port: int, host: str = "127.0.0.1", *, or_any: bool = True) -> socket.socket:
    """A listening socket on that port if it is free, else on any. Raises OSError."""
    for candidate in (port, 0) if or_any else (port,):
        # asyncio only turns Nagle's algorithm off where the protocol is named; with it on, each answer takes 40 ms.
        listener = socket.socket(proto=socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
        except OSError:
            listener.close()
            continue
        listener.listen(128)
        return listener
    raise OSError(f"port {port} of {host} is not free")
