"""Our own limit of requests to the cloud, kept across processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from pools import clock
from pools.cloud.errors import RateLimited

REQUESTS_PER_HOUR = 5000  # App Platform's hourly limit per token; the one per minute is an argument
FIRST_DELAY_SECONDS = 5.0  # after a 429 that does not say how long to wait; doubled at each further one
LONGEST_DELAY_SECONDS = 3600.0  # no limit of the cloud looks back further than an hour
PACE_SECONDS = 0.75  # between two requests of routine: 5,000 an hour, spread evenly
SPREAD_SECONDS = 1800.0  # what routine has left is spread over so long
LONGEST_PACE_SECONDS = 60.0  # the schedule's turns come as often


class Share(float, Enum):
    """The part of each window that requests of a kind may fill: what players wait for always has the rest."""

    LISTING = 0.8
    DELETING = 0.9
    ASKING = 0.95
    CREATING = 1.0


class _Window:
    """Counts what was spent within the last `span_seconds`, in slots of `slot_seconds`; never too few."""

    def __init__(self, span_seconds: int, slot_seconds: int, most: int) -> None:
        self.span_seconds = span_seconds
        self.slot_seconds = slot_seconds
        self.most = most
        self.slots: dict[int, int] = {}

    def counted(self, now: float) -> dict[int, int]:
        """The slots that still count; one that lies far ahead is left from before the clock was set back."""
        return {
            slot: count
            for slot, count in self.slots.items()
            if now < self._leaves_at(slot) and slot * self.slot_seconds <= now + self.span_seconds
        }

    def free(self, now: float, share: float = 1.0) -> int:
        return int(self.most * share) - sum(self.counted(now).values())

    def add(self, n: int, now: float) -> int:
        """The slot that they are counted in."""
        self.slots = self.counted(now)
        slot = int(now // self.slot_seconds)
        self.slots[slot] = self.slots.get(slot, 0) + n
        return slot

    def wait_for(self, n: int, now: float, share: float = 1.0) -> float:
        """Seconds until `n` more fit."""
        missing = n - self.free(now, share)
        if missing <= 0:
            return 0.0
        for slot, count in sorted(self.counted(now).items()):
            missing -= count
            if missing <= 0:
                return self._leaves_at(slot) - now
        return float(self.span_seconds)  # `n` is more than fits at all

    def _leaves_at(self, slot: int) -> float:
        return float((slot + 1) * self.slot_seconds + self.span_seconds)


@dataclass(frozen=True, slots=True)
class News:
    """What one process has to tell the others: requests by slot for each window, and the cloud's last word."""

    spent: list[dict[int, int]]
    blocked_until: float
    has_heard: bool


class RequestBudget:
    """At most `per_minute` requests in any minute and `per_hour` in any hour; none while the cloud says no.

    Thread-safe. `clock` is seconds since the epoch, because the state travels between processes and restarts.
    """

    def __init__(
        self, per_minute: int = 250, clock: Callable[[], float] = clock.wall, per_hour: int = REQUESTS_PER_HOUR
    ) -> None:
        self._clock = clock
        self._windows = (_Window(60, 1, per_minute), _Window(3600, 60, per_hour))
        self._blocked_until = 0.0
        self._refusals = 0
        self._lock = threading.Lock()
        # Since the last exchange:
        self._news: list[dict[int, int]] = [{} for _ in self._windows]
        self._blocked_by_news = 0.0
        self._has_heard = False

    def spend(self, n: int = 1, share: Share = Share.CREATING) -> None:
        """Take `n` requests from that share of the budget, or raise RateLimited and take none."""
        with self._lock:
            now = self._clock()
            wait = self._blocked_for(now)
            if wait > 0:
                # A moment, not a countdown: what is said each second in other words would flood the log.
                until = datetime.fromtimestamp(self._blocked_until, UTC)
                message = f"The cloud asked us to slow down; nothing is sent until {until:%H:%M:%S}."
                raise RateLimited(message, retry_after_seconds=wait)
            wait = max(window.wait_for(n, now, share) for window in self._windows)
            if wait > 0:
                raise RateLimited("Our own limit of cloud requests is reached.", retry_after_seconds=wait)
            for window, news in zip(self._windows, self._news, strict=True):
                slot = window.add(n, now)
                news[slot] = news.get(slot, 0) + n

    def remaining(self, now: float | None = None, share: Share = Share.CREATING) -> int:
        """Return how many requests of that share could be sent at `now`; 0 while the cloud has asked for silence."""
        with self._lock:
            now = self._clock() if now is None else now
            if self._blocked_for(now) > 0:
                return 0
            return max(0, min(window.free(now, share) for window in self._windows))

    def hour_left(self, share: Share) -> int:
        """Return how many requests of that share the hour has left."""
        with self._lock:
            return max(0, self._windows[-1].free(self._clock(), share))

    def pace_seconds(self) -> float:
        """Return how far apart requests of routine should come, so that there are some at any time: the fewer the hour
        has left for them, the farther."""
        left = self.hour_left(Share.LISTING)
        return min(max(PACE_SECONDS, SPREAD_SECONDS / max(1, left)), LONGEST_PACE_SECONDS)

    def obey(self, retry_after_seconds: float | None) -> float:
        """The cloud answered 429: send nothing for that long, or a growing while if it did not say.

        Returns the seconds until the next request may be sent.
        """
        with self._lock:
            now = self._clock()
            already = self._blocked_for(now)
            if already == 0:  # several threads may hear the same refusal: it counts once
                self._refusals += 1
            if retry_after_seconds is None:
                retry_after_seconds = already or FIRST_DELAY_SECONDS * 2 ** min(self._refusals - 1, 10)
            delay = max(already, min(retry_after_seconds, LONGEST_DELAY_SECONDS))
            self._blocked_until = self._blocked_by_news = now + delay
            self._has_heard = True
            return delay

    def relax(self) -> None:
        """The cloud answered something other than 429: the next delay starts small again."""
        with self._lock:
            self._refusals = 0
            self._has_heard = True

    def news(self) -> News:
        """What this process did since the last exchange."""
        with self._lock:
            return News([dict(slots) for slots in self._news], self._blocked_by_news, self._has_heard)

    def keep(self, news: News) -> None:
        """An exchange was not stored: what it would have told is still to be told."""
        with self._lock:
            for slots, kept in zip(self._news, news.spent, strict=True):
                for slot, n in kept.items():
                    slots[slot] = slots.get(slot, 0) + n
            self._blocked_by_news = max(self._blocked_by_news, news.blocked_until)
            self._has_heard = self._has_heard or news.has_heard

    def exchange(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Take in what other processes wrote into `state`, and give it back with what this one did since the last time,
        to be stored in its place. Plain JSON, at most 61 + 61 slots; an empty or unreadable state is a fresh one."""
        with self._lock:
            try:
                blocked_until = float(state.get("blocked_until", 0))
                refusals = max(0, int(state.get("refusals", 0)))
                spent = [{int(slot): int(n) for slot, n in slots.items()} for slots in state.get("spent", [])]
            except (TypeError, ValueError, AttributeError):
                blocked_until, refusals, spent = 0.0, 0, []
            for window, slots, news in zip(self._windows, spent or [{}, {}], self._news, strict=False):
                window.slots = {slot: slots.get(slot, 0) + news.get(slot, 0) for slot in {*slots, *news}}
                news.clear()
            now = self._clock()
            is_sound = blocked_until <= now + LONGEST_DELAY_SECONDS  # else the clock was set back since
            self._blocked_until = max(self._blocked_by_news, blocked_until if is_sound else 0.0)
            self._blocked_by_news = 0.0
            self._refusals = self._refusals if self._has_heard else refusals
            self._has_heard = False
            return {
                "blocked_until": self._blocked_until,
                "refusals": self._refusals,
                "spent": [{str(slot): n for slot, n in window.counted(now).items()} for window in self._windows],
            }

    def _blocked_for(self, now: float) -> float:
        """Seconds until the cloud may be asked again; 0 when it may, or when the clock was set back since."""
        wait = self._blocked_until - now
        return wait if 0 < wait <= LONGEST_DELAY_SECONDS else 0.0
