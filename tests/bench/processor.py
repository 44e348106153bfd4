"""Processor time and memory of processes."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import psutil


def family(*pids: int) -> list[psutil.Process]:
    """The processes and all that they have started."""
    found = []
    for pid in pids:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            found += [process, *process.children(recursive=True)]
    return found


def seconds(processes: Iterable[psutil.Process]) -> float:
    """What they have used, and those before them that ended and were waited for."""
    total = 0.0
    for process in processes:
        with suppress(psutil.Error):
            used = process.cpu_times()
            total += used.user + used.system + used.children_user + used.children_system
    return total


def pss_mib(processes: Iterable[psutil.Process]) -> float:
    """The memory that goes when they end: of pages that are shared, their part."""
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total / 1024**2
