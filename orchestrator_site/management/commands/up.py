"""`manage.py up`: everything that the orchestrator needs, in one terminal."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand
from django.db import DatabaseError

from orchestrator_site import logs
from orchestrator_site.installation import LOCK
from orchestrator_site.processes import process_sessions, services
from orchestrator_site.processes.preparation import prepare_database
from orchestrator_site.processes.starts import note_restart
from orchestrator_site.processes.supervisor import GivenUp, Service, Supervisor
from pools import meters
from pools.key_change import key_trouble

LEFTOVER_GRACE_SECONDS = 5.0
PR_SET_PDEATHSIG = 1


class Command(BaseCommand):
    help = "Run everything: the local cloud (without DIGITALOCEAN_TOKEN), the Django-Q cluster and the web server."
    requires_system_checks = []  # `migrate` runs them

    def handle(self, *_args: Any, **_options: Any) -> None:
        lock = hold_the_folder(settings.VAR_DIR)
        register = process_sessions.Register(settings.VAR_DIR / "up.json")
        process_sessions.end(register.left_over(), LEFTOVER_GRACE_SECONDS)
        for port in filter(None, (settings.PORT, settings.PLAY_PORT)):
            require_free_port(settings.BIND, port)
        if settings.METRICS_PORT:
            require_free_port(settings.METRICS_BIND, settings.METRICS_PORT, "METRICS_PORT")
        register.start_reaper(LEFTOVER_GRACE_SECONDS)
        preparing = in_a_child(prepare_database)
        meters.begin()

        cloud = [services.local_cloud()] if settings.CLOUD_IS_EMBEDDED else []
        metrics = [services.metrics()] if settings.METRICS_PORT else []
        record_of = logs.record_of if settings.LOG_FORMAT == logs.JSON else None
        supervisor = Supervisor(
            [*cloud, services.cluster(), services.web(), *metrics], register, record_of, note_restart
        )
        try:
            self.keep_up(supervisor, cloud, preparing)
            register.close()
            supervisor.terminal.say("Stopped.")
        finally:
            supervisor.terminal.drain()
        lock.close()

    def keep_up(self, supervisor: Supervisor, cloud: Sequence[Service], preparing: Future[str]) -> None:
        """Until a signal. Raises SystemExit with a sentence when it can't be."""
        supervisor.stop_on_signals()
        supervisor.terminal.say(f"Sandbox orchestrator {settings.VERSION}")
        for service in cloud:
            supervisor.start(service)  # it needs no database: while it starts, that is made ready
        try:
            password = preparing.result()
        except (DatabaseError, OSError) as error:
            supervisor.stop()
            sys.exit(f"The database cannot be used: {str(error).strip()}")
        except BaseException:
            supervisor.stop()
            raise
        threading.Thread(target=services.watch_clusters, args=(supervisor,), daemon=True).start()

        if trouble := key_trouble():
            supervisor.terminal.say(trouble)

        def say_ready() -> None:
            if password:
                supervisor.terminal.say(
                    f"Operator account: operator, password {password} (shown this once; "
                    f"sign in at {services.address()}admin/)"
                )
            supervisor.terminal.say(f"Ready: {services.address()}")

        try:
            supervisor.run(say_ready)
        except GivenUp as error:
            sys.exit(str(error))


def hold_the_folder(folder: Path) -> Any:
    """A lock on the folder that goes with this process, so that two never share a database by accident."""
    lock = (folder / LOCK).open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(
            f"Another one runs with {folder} already. Stop it, or name another folder for this one: ORCHESTRATOR_VAR."
        )
    lock.truncate(0)
    lock.write(str(os.getpid()))  # by which other commands find it
    lock.flush()
    return lock


def require_free_port(address: str, port: int, setting: str = "PORT") -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.create_server((address, port), family=family).close()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        sys.exit(f"Port {port} on {address} cannot be used ({reason}). Choose another: {setting}={port + 1} make run")


def in_a_child(function: Callable[[], str]) -> Future[str]:
    """Have a function called in a process of its own, which takes its memory along when it ends: a supervisor lives for
    long. Called before this one has threads, because a fork has none of them."""
    child = ProcessPoolExecutor(1, get_context("fork"), _belong_to_the_parent)
    try:
        return child.submit(function)
    finally:
        child.shutdown(wait=False)


def _belong_to_the_parent() -> None:
    """Ctrl-C is for the supervisor to heed; and when that dies, however it dies, its child does: it has the folder's
    lock as well."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
