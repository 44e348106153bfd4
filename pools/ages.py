"""Ages in words, and whether enough time has passed, even after the clock was set back."""

from __future__ import annotations

from datetime import datetime, timedelta


def ago(since: datetime, now: datetime) -> str:
    seconds = max(0, round((now - since).total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def is_over(since: datetime, seconds: float, now: datetime) -> bool:
    """Whether that much time has passed; also when `since` lies so far ahead that the clock was set back meanwhile."""
    return abs(now - since) >= timedelta(seconds=seconds)
