"""The breaker of creates: after some that failed growing delays, then a stop, then one on trial.

It counts every create of one runtime, whoever it was for, and it is pure: all of it follows from what became of them,
so nothing is stored that could drift.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby

from pools.models import FailureKind

Outcome = tuple[datetime, FailureKind | None]  # when a create came to its end, and why it failed; None: it did not

FIRST_DELAY_SECONDS = 5
FAILURES_TO_OPEN = 3
SHARE_TO_OPEN = 0.4  # of the creates within the window
WINDOW = timedelta(minutes=10)
FIRST_OPEN_SECONDS = 60
LONGEST_OPEN_SECONDS = 1800
SUCCESSES_TO_CLOSE = 3  # on trial, in a row
DELETES_FAIL_SECONDS = 120  # nothing is created that can't be deleted again
MEMORY = timedelta(hours=24)  # how far back outcomes are wanted: trials are half an hour apart in a long outage


@dataclass(frozen=True, slots=True)
class Breaker:
    """`retry_at` is when the next create may go; `is_open` when that wait is the breaker's, `is_probing` while creates
    are on trial, one at a time. `failures`: those that made it so; 0 when nothing is held back."""

    is_open: bool
    is_probing: bool
    retry_at: datetime | None
    failures: int
    explanation: str


CLOSED = Breaker(is_open=False, is_probing=False, retry_at=None, failures=0, explanation="")


def deletes_fail(since: datetime | None, now: datetime) -> bool:
    """Whether deletions fail for so long, `since` that moment, that nothing more is created."""
    return since is not None and (now - since).total_seconds() >= DELETES_FAIL_SECONDS


@dataclass(slots=True)
class _History:
    """The outcomes so far, folded."""

    lately: deque[Outcome] = field(default_factory=deque)  # within the window
    failed: int = 0  # of these
    openings: int = 0  # in a row, without a quiet window in between
    open_until: datetime | None = None
    on_trial: bool = False
    trials_passed: int = 0

    def add(self, outcome: Outcome) -> None:
        at, failure = outcome
        self._forget(at)
        self.lately.append(outcome)
        self.failed += failure is not None
        if self.open_until is not None and at < self.open_until:  # it was on its way when the breaker opened
            self.trials_passed = 0 if failure else self.trials_passed + 1
            if self.trials_passed >= SUCCESSES_TO_CLOSE:
                self._close()
        elif self.open_until is not None or self.on_trial:
            self.open_until, self.on_trial = None, True
            self.trials_passed += 1
            if failure:
                self._open(at)
            elif self.trials_passed >= SUCCESSES_TO_CLOSE:
                self._close()
        elif failure and self.failed >= max(FAILURES_TO_OPEN, SHARE_TO_OPEN * len(self.lately)):
            self._open(at)

    def at(self, now: datetime) -> None:
        """Let time pass without an outcome."""
        self._forget(now)
        if self.open_until is not None and now >= self.open_until:
            self.open_until, self.on_trial = None, True

    @property
    def failures_in_a_row(self) -> list[Outcome]:
        """Return the last outcomes as far as they are failures."""
        ended = next(groupby(reversed(self.lately), key=lambda outcome: outcome[1] is not None), None)
        return list(ended[1])[::-1] if ended and ended[0] else []

    def _open(self, at: datetime) -> None:
        seconds = min(FIRST_OPEN_SECONDS * 2 ** min(self.openings, 16), LONGEST_OPEN_SECONDS)
        self.openings += 1
        self.open_until, self.on_trial, self.trials_passed = at + timedelta(seconds=seconds), False, 0

    def _close(self) -> None:
        """What has failed of late still counts: at the next failure it opens again, and for longer."""
        self.open_until, self.on_trial, self.trials_passed = None, False, 0

    def _forget(self, now: datetime) -> None:
        if self.open_until is not None or self.on_trial:
            return
        while self.lately and self.lately[0][0] <= now - WINDOW:
            self.failed -= self.lately.popleft()[1] is not None
        if not self.failed:
            self.openings = 0


def breaker_at(outcomes: Iterable[Outcome], now: datetime) -> Breaker:
    """Return the breaker's state at `now`, from the outcomes of a runtime's creates within `MEMORY`, oldest first."""
    history = _History()
    for outcome in outcomes:
        history.add(outcome)
    history.at(now)
    failed = [kind for _, kind in history.lately if kind]
    what = _in_words(failed)
    if history.open_until is not None:
        until = history.open_until
        return Breaker(True, False, until, len(failed), f"breaker open until {until:%H:%M:%S}, {what}")
    if history.on_trial:
        return Breaker(False, True, None, len(failed), f"breaker half-open: one create on trial after {what}")
    row = history.failures_in_a_row
    if not row:
        return CLOSED
    retry_at = row[-1][0] + timedelta(seconds=FIRST_DELAY_SECONDS * 2 ** min(len(row) - 1, FAILURES_TO_OPEN))
    waits = f"waits until {retry_at:%H:%M:%S}, {_in_words([kind for _, kind in row if kind])}"
    return Breaker(False, False, retry_at if retry_at > now else None, len(row), waits)


def _in_words(failed: list[FailureKind]) -> str:
    def each() -> Iterator[str]:
        for kind, count in Counter(kind.value for kind in failed).most_common():
            yield f"{count} {kind} failure{'s' if count > 1 else ''}"

    return ", ".join(each())
