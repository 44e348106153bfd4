"""What one sees of a machine and of the database. The decisions are pure."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from django.conf import settings

from orchestrator_site.doctor.machine import FULL_BYTES, LOW_BYTES, MIB
from orchestrator_site.models import Beat
from pools.ages import ago
from pools.alarm_rows import AlarmCode, RaisedAlarm
from pools.alarms import Standing
from pools.this_machine import this_host

SILENT_AFTER = timedelta(seconds=60)
AGAIN = 1.1  # an alarm about a disk is over when there is so much more room than when it began


def free_bytes() -> int | None:
    """Of the disk of ORCHESTRATOR_VAR; None when it can't be asked."""
    try:
        found = os.statvfs(settings.VAR_DIR)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def full_or_low(free: int, standing: Collection[str]) -> Iterator[AlarmCode]:
    """Which alarms stand of a disk that has so much room, where these stood before. A disk that fills up has both; of
    one that is found full nobody is told that it is nearly so."""
    is_full = free < FULL_BYTES * (AGAIN if AlarmCode.DISK_FULL in standing else 1)
    was_low = AlarmCode.DISK_LOW in standing
    if is_full:
        yield AlarmCode.DISK_FULL
    if free < LOW_BYTES * (AGAIN if was_low else 1) and (was_low or not is_full):
        yield AlarmCode.DISK_LOW


def of_disk() -> list[Standing]:
    """The alarms about this machine's disk."""
    free, host = free_bytes(), this_host()
    if free is None or free >= LOW_BYTES * AGAIN:
        return []
    before = RaisedAlarm.objects.filter(host=host).values_list("code", flat=True)
    detail = f"{room(free)} for ORCHESTRATOR_VAR."
    return [Standing(code, detail, host=host) for code in full_or_low(free, list(before))]


def room(free: int) -> str:
    return f"{free // MIB:,} MiB are free"


def of_clusters(now: datetime) -> list[Standing]:
    """The alarm that none lives. A clock that was set back makes no beat fresh for ever."""
    near = Beat.objects.filter(at__gt=now - SILENT_AFTER, at__lt=now + SILENT_AFTER)
    if near.exists():
        return []
    last = Beat.objects.order_by("-at").first()
    told = (
        f"The last sign of life is {ago(last.at, now)} old."
        if last
        else "None is known: none was started, or the last one was stopped."
    )
    return [Standing(AlarmCode.CLUSTER_SILENT, f"{told} Nothing is created, deleted or deployed until one lives.")]


def words_of(error: Exception) -> str:
    """What is wrong with the database, for everybody: the error's own words may name servers and accounts."""
    said = str(error).lower()
    free = free_bytes()
    is_full = "full" in said or "no space" in said or (free is not None and free < FULL_BYTES)
    if is_full:
        return f"Its disk is full ({room(free)} here)." if free is not None else "Its disk is full."
    if "readonly" in said or "read-only" in said:
        return "It is read-only."
    if "locked" in said or "lock timeout" in said:
        return "It is locked: somebody writes, and does not let go."
    return "It is away, or refuses us."
