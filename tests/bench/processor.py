"""Processor time and memory of processes and all that they have started."""

from __future__ import annotations

from contextlib import suppress

import psutil


def seconds(pid: int) -> float:
    """What the process and its descendants have used, ended ones that it has waited for among them."""
    total = 0.0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in [process, *process.children(recursive=True)]:
            with suppress(psutil.Error):
                used = each.cpu_times()
                total += used.user + used.system + used.children_user + used.children_system
    return total


def pss_mib(pid: int) -> float:
    """The memory that goes when it ends: shared pages are counted in part."""
    process = psutil.Process(pid)
    total = 0
    for each in [process, *process.children(recursive=True)]:
        with suppress(psutil.Error):
            total += each.memory_full_info().pss
    return total / 1024**2
