"""`sandbox-orchestrator healthcheck [web|worker] [--ready]`: whether the web server, or the worker, on this machine or
in this container works. One line, within five seconds; the exit code is 0 or 1.

Without --ready, 1 means that a restart would help: a worker whose database is away is left alone. A platform asks
every few seconds, so this is no command of Django's: to load its apps takes three times the processor time of the rest.
"""

from __future__ import annotations

import argparse
import http.client
import os
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection

from pools.this_machine import this_host

PATIENCE_SECONDS = 5.0
ANSWER_SECONDS = 2.0
ROLES = ("web", "worker")
WORKER_COMMAND = "qcluster"
# The rows of Beat.objects.fresh(), by the database's clock.
FRESH = {
    "postgresql": "at > CURRENT_TIMESTAMP - interval '20 seconds'",
    "sqlite": "at > datetime('now', '-20 seconds')",
}
FRESH_BEATS = "SELECT count(*) FROM orchestrator_site_beat WHERE host = %s AND stuck = '' AND "


class Health(NamedTuple):
    is_well: bool
    text: str


def reached(bind: str) -> str:
    """The address to ask on this machine for what is bound to `bind`."""
    return "127.0.0.1" if bind in ("0.0.0.0", "::") else bind  # noqa: S104  compared, not bound


def host() -> str:
    """The address to ask on this machine, whatever the web server is bound to."""
    return reached(settings.BIND)


def gives_200(at: str, port: int, path: str, **headers: str) -> bool:
    connection = http.client.HTTPConnection(at, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def web(*, ready: bool) -> Health:
    path = "/health/ready" if ready else "/health/live"
    is_well = gives_200(host(), settings.PORT, path)
    return Health(is_well, f"{path} on port {settings.PORT} {'gives' if is_well else 'does not give'} 200")


def worker(*, ready: bool) -> Health:
    try:
        if _has_fresh_beat():
            return Health(True, "the worker gives signs of life")
        if not ready:
            _prove_writable()
    except DatabaseError as error:
        return Health(not ready, f"the database can't be used: {str(error).strip().partition(chr(10))[0]}")
    return Health(False, "no worker here gives a sign of life")


def _has_fresh_beat() -> bool:
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning), connection.cursor() as cursor:
        # It warns that the apps are not loaded, which is on purpose.
        cursor.execute(FRESH_BEATS + FRESH[connection.vendor], [this_host()])
        return bool(cursor.fetchone()[0])


def _prove_writable() -> None:
    """Raises a DatabaseError where no worker could write a sign of life."""
    django.setup(set_prefix=False)
    from pools.leases import prove_writable

    prove_writable()


def role_of_container() -> str:
    """What the first process of this container was started as: one image serves for both."""
    words = Path("/proc/1/cmdline").read_bytes().split(b"\0")
    return "worker" if WORKER_COMMAND.encode() in words else "web"


def check(role: str, *, ready: bool) -> Health:
    """Ask, for PATIENCE_SECONDS at most."""
    found: list[Health] = []
    ask = web if role == "web" else worker
    asking = threading.Thread(target=lambda: found.append(ask(ready=ready)), daemon=True)
    asking.start()
    asking.join(PATIENCE_SECONDS)
    late = Health(role == "worker" and not ready, f"no answer within {PATIENCE_SECONDS:g} s")
    return found[0] if found else late


def main(arguments: Sequence[str]) -> NoReturn:
    """Ask, say it in one line, and exit."""
    parser = argparse.ArgumentParser("sandbox-orchestrator healthcheck", description="Whether a process here works.")
    parser.add_argument("role", nargs="?", choices=ROLES, help="default: what this container's first process is")
    parser.add_argument("--ready", action="store_true", help="whether it can do its work, not only whether it runs")
    given = parser.parse_args(arguments)
    try:
        health = check(given.role or role_of_container(), ready=given.ready)
    except ImproperlyConfigured as error:
        health = Health(False, f"Configuration: {error}")
    print(health.text, flush=True)  # noqa: T201  for whoever reads the platform's record of checks
    os._exit(0 if health.is_well else 1)  # a question that hangs is left behind
