"""Alarms that this process knows and can't write down: the database is what they are about."""

from __future__ import annotations

from pools.alarm_rows import RaisedAlarm

STANDING: dict[str, RaisedAlarm] = {}  # by their subjects; replaced, never read and written at once
