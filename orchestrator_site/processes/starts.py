"""Lines of the orchestrator log about processes that start."""

from __future__ import annotations

import logging
import os

from django.conf import settings
from django.db import DatabaseError, connections

from pools import journal
from pools.models import Level
from pools.reasons import LogKind, StepCode
from pools.this_machine import this_host

logger = logging.getLogger(__name__)

NAMES = {
    "web": "the web server",
    "cluster": "the cluster",
    "worker": "a worker of the cluster",
    "cloud": "the local cloud",
    "metrics": "the server of metrics",
}


def note_start(name: str) -> None:
    """This process starts."""
    message = f"{NAMES[name]} started, version {settings.VERSION}"
    _note(LogKind.PROCESS, StepCode.PROCESS_STARTED, Level.INFO, name, message)


def note_restart(name: str, why: str) -> None:
    """Another process was started again."""
    message = f"{NAMES.get(name, name)} was started again: {why}"
    _note(LogKind.TROUBLE, StepCode.PROCESS_RESTARTED, Level.WARNING, name, message)


def _note(kind: LogKind, code: StepCode, level: Level, name: str, message: str) -> None:
    """Which machine it was is for operators: everybody may read the line."""
    data = {"process": name, "host": this_host(), "pid": os.getpid(), "version": settings.VERSION}
    try:
        journal.record(kind, message, code=code, level=level, data=data)
    except DatabaseError as error:
        logger.warning("This could not be noted: %s (%s)", message, error)
    finally:
        connections.close_all()
