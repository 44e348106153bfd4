"""A process that starts when no cluster is alive: the database may be from a backup, and call ready what is played."""

from __future__ import annotations

import os
from datetime import datetime

from orchestrator_site.models import Beat
from pools.models import Fleet
from pools.this_machine import this_host


def note_pause(now: datetime) -> None:
    """The process that starts, or becomes, a web server or a cluster says so. Beside a cluster that is alive, nothing
    is doubted: it would have noticed."""
    beats = Beat.objects.fresh(now).values_list("host", "pid")
    Fleet.note_pause(now, is_alone=not any(_may_live(host, pid) for host, pid in beats))


def _may_live(host: str, pid: int) -> bool:
    """A backup holds the signs of life of its moment: of this machine's processes we know better."""
    if host != this_host():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
