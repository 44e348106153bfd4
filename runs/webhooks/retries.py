"""What an attempt to deliver came to, and when the next one is due. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

# After the first attempt, the second, …: about a day in all.
PAUSES_SECONDS = (5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 28800)
JITTER = 0.2  # so much earlier or later: receivers that come back are not asked by all at once
HELD_BACK_ATTEMPTS = 3  # so long those after it wait, to come in their order; then it is tried again beside them
LONGEST_PAUSE = timedelta(hours=8)
OLDEST = timedelta(hours=26)  # what could not be delivered by then is given up at its next failure
GONE = 410
RETRY_LATER = (429, 503)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver answered; without a status it did not."""

    status: int | None
    error: str = ""
    retry_after: str = ""

    @property
    def is_taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether it wants nothing any more."""
        return self.status == GONE


def next_attempt_at(
    answer: Answer, *, attempts: int, created_at: datetime, chance: float, now: datetime
) -> datetime | None:
    """When a delivery that failed is tried again; None when it is given up. `attempts`: those made so far; `chance`:
    from 0 to 1."""
    if answer.is_gone or attempts > len(PAUSES_SECONDS) or now - created_at > OLDEST:
        return None
    pause = timedelta(seconds=PAUSES_SECONDS[attempts - 1] * (1 - JITTER + 2 * JITTER * chance))
    if answer.status in RETRY_LATER:
        pause = max(pause, min(wanted_pause(answer.retry_after, now), LONGEST_PAUSE))
    return now + pause


def wanted_pause(retry_after: str, now: datetime) -> timedelta:
    """How long a receiver wants to be left alone, in seconds or until a date; nothing where it does not say."""
    said = retry_after.strip()
    if said.isascii() and said.isdigit():
        return timedelta(seconds=min(int(said[:10]), 10**9))
    try:
        until = parsedate_to_datetime(said)
    except ValueError:
        return timedelta()
    return max(timedelta(), (until if until.tzinfo else until.replace(tzinfo=UTC)) - now)
