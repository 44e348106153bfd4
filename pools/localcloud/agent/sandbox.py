"""A local sandbox: three private folders, an environment for its commands, and ports of its own."""

from __future__ import annotations

import random
import re
import shutil
import socket
from pathlib import Path

from pools.localcloud.agent.refusals import Refusal
from pools.localcloud.mortality import APP_MARK, marked
from pools.localcloud.programs import give_python

INSIDE = {"/workspace": "workspace", "/home/sandbox": "home", "/tmp": "tmp"}  # noqa: S108  paths in the sandbox
MENTIONED = re.compile(r"(?<![\w./~-])(/workspace|/home/sandbox|/tmp)(?![\w.-])")
OWN_PORT = 8080  # of the agent, in every image; a command that is given no other has it as its PORT
PLAIN = re.compile(r"[\w./@+-]+")
# Below the range from which Linux picks ports for outgoing connections and for servers that ask for any.
PORTS = range(15_000, 32_000)


class Sandbox:
    """The state behind the agent's API. A new one begins with empty folders, as a container does."""

    def __init__(self, folder: Path, root: Path, app_id: str, environment: dict[str, str], own_port: int) -> None:
        self.root, self.app_id = root, app_id
        for name in (*INSIDE.values(), "python"):
            shutil.rmtree(root / name, ignore_errors=True)
        self.outside = {inside: (root / name).resolve() for inside, name in INSIDE.items()}
        for place in self.outside.values():
            place.mkdir(parents=True)
        give_python(folder, root)
        self.environment = environment | {"HOME": str(self.outside["/home/sandbox"])}
        self.environment["TMPDIR"] = str(self.outside["/tmp"])  # noqa: S108
        self.environment.setdefault("PORT", str(OWN_PORT))
        self.ports: dict[int, int] = {OWN_PORT: own_port}

    # Paths.

    def real(self, path: str) -> Path:
        """The real path of one inside. Raises 403 for what lies, or leads, outside of the three folders."""
        if not path.startswith("/"):
            path = f"/workspace/{path}"
        for inside, outside in self.outside.items():
            if path == inside or path.startswith(f"{inside}/"):
                try:
                    real = (outside / path.removeprefix(inside).lstrip("/")).resolve()
                except (ValueError, OSError, RuntimeError):  # a zero byte, a name too long, links in a circle
                    break
                # A link may lead from one of the three to another.
                if any(real == place or place in real.parents for place in self.outside.values()):
                    return real
        raise Refusal(403, f"Access denied: path must be within {list(INSIDE)}")

    def folder(self, cwd: str) -> Path:
        """The folder that a command runs in: any one, as a container has them, and not only the three."""
        for inside, outside in self.outside.items():
            if cwd == inside or cwd.startswith(f"{inside}/"):
                return outside / cwd.removeprefix(inside).lstrip("/")
        return self.outside["/workspace"] / cwd

    def inside(self, real: Path) -> str:
        """The reverse of `real`."""
        for inside, outside in self.outside.items():
            if real == outside or outside in real.parents:
                return f"{inside}/{real.relative_to(outside)}".removesuffix("/.")
        return str(real)

    def translated(self, text: str) -> str:
        """A command with the folders that it mentions by their inside names replaced by the real ones.

        A container needs no such thing; a process without one would look for /workspace on the machine.
        """
        if not PLAIN.fullmatch(str(self.root)):  # it would need quotes, and the command has its own
            return text
        return MENTIONED.sub(lambda match: str(self.outside[match[1]]), text)

    # Commands.

    def environment_for(self, extra: dict[str, str]) -> dict[str, str]:
        """A command's environment. A PORT in it is a container port, and stands for a free one of this machine."""
        given = {name: self.translated(value) for name, value in extra.items()}
        environment = {**self.environment, **given, APP_MARK: self.app_id}
        port = environment.get("PORT", "")
        if port.isdecimal() and 0 < int(port) <= 65535:
            environment["PORT"] = str(self.port_for(int(port)))
        return environment

    # Ports.

    def port_for(self, container_port: int) -> int:
        """The machine's port that stands for a container port; chosen when a command is first given it."""
        if container_port not in self.ports:
            self.ports[container_port] = next(port for port in random.sample(PORTS, len(PORTS)) if is_free(port))
        return self.ports[container_port]

    def listens_itself(self, port: int) -> bool:
        """Whether a process of this sandbox, and not just any of the machine, listens on that very port."""
        import psutil

        for pid in marked(APP_MARK, {self.app_id}):
            try:
                connections = psutil.Process(pid).net_connections(kind="tcp")
            except psutil.Error:
                continue
            if any(seen.status == psutil.CONN_LISTEN and seen.laddr.port == port for seen in connections):
                return True
        return False


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
