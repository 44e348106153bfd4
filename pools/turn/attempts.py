"""What the cloud, or an agent, was asked for again and again: how often, what came of it last, and when the next try is
due. Pure; for rows and for facts alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from pools.ages import ago
from pools.cloud.errors import (
    CloudError,
    CloudUnavailable,
    InvalidSpec,
    NameTaken,
    OverQuota,
    RateLimited,
    Unauthorized,
)
from pools.models import BEING_CREATED, State
from pools.turn.waits import LOOK_AGAIN_SECONDS, RESEND_SECONDS

REFUSALS = frozenset(
    error.code for error in (CloudUnavailable, InvalidSpec, NameTaken, OverQuota, Unauthorized, CloudError)
)
FAILURES = REFUSALS | {RateLimited.code}
CAN_NOT_SEE = "DigitalOcean can't be seen"


class What(StrEnum):
    """What is tried."""

    CREATE = "create"
    DELETE = "delete"
    LOOK = "look"


@dataclass(frozen=True, slots=True)
class Attempt:
    """`number` tries were made, the last at `sent_at`; `error` is why that one failed, empty while it may still work.
    `next_at` is when the next is due, None while it is `held`, for that reason, or nothing is to be tried again."""

    what: What
    number: int
    sent_at: datetime | None = None
    error: str = ""
    error_code: str = ""
    next_at: datetime | None = None
    held: str = ""

    @property
    def is_refused(self) -> bool:
        return bool(self.error)

    def told(self, now: datetime) -> str:
        """Return it as a sentence without an end: attempt 4 to delete it failed: …; next at 10:42:07."""
        parts = []
        if self.number:
            outcome = f"failed: {self.error.rstrip('.')}" if self.error else ""
            outcome = outcome or (f"was sent {ago(self.sent_at, now)} ago" if self.sent_at else "was sent")
            parts.append(f"attempt {self.number} to {self.what} it {outcome}")
        if self.held:
            parts.append(f"{'next' if self.number else f'{self.what} it'} held: {self.held.rstrip('.')}")
        elif self.next_at is not None:
            when = f"at {self.next_at:%H:%M:%S}" if self.next_at > now else "with the next turn"
            parts.append(f"{'next' if self.number else f'{self.what} it'} {when}")
        return "; ".join(parts)


class Deleted(Protocol):
    """Whatever is asked to be deleted: a sandbox's row or facts, or an app's."""

    @property
    def delete_sent_at(self) -> datetime | None: ...
    @property
    def delete_attempts(self) -> int: ...
    @property
    def trouble(self) -> str: ...
    @property
    def trouble_code(self) -> str: ...


class Created(Protocol):
    """A sandbox's row or facts."""

    @property
    def state(self) -> str: ...
    @property
    def app_id(self) -> str | None: ...
    @property
    def create_sent_at(self) -> datetime | None: ...
    @property
    def create_attempts(self) -> int: ...
    @property
    def accepted_at(self) -> datetime | None: ...
    @property
    def trouble(self) -> str: ...
    @property
    def trouble_code(self) -> str: ...
    @property
    def health_failures(self) -> int: ...
    @property
    def health_checked_at(self) -> datetime | None: ...


def deletion(of: Deleted, now: datetime, held: str = "") -> Attempt:
    """Return how the deletion of what is to go stands. `held`: why no try is made now."""
    # The count began with version 0022 of the schema: what was sent before was sent once at least.
    number = max(of.delete_attempts, 1) if of.delete_sent_at else 0
    is_refused = number > 0 and of.trouble_code in FAILURES
    again_at = of.delete_sent_at + timedelta(seconds=RESEND_SECONDS) if of.delete_sent_at else now
    return Attempt(
        What.DELETE,
        number,
        of.delete_sent_at,
        error=of.trouble if is_refused else "",
        error_code=of.trouble_code if is_refused else "",
        next_at=None if held else again_at,
        held=held,
    )


def creation(of: Created, now: datetime, held: str = "") -> Attempt | None:
    """Return how the request to create it stands; None once it was taken."""
    if of.state not in BEING_CREATED or of.app_id is not None or of.accepted_at is not None:
        return None
    number = max(of.create_attempts, 1) if of.create_sent_at else of.create_attempts
    again_at = of.create_sent_at + timedelta(seconds=RESEND_SECONDS) if of.create_sent_at else now
    error = of.trouble if number else ""
    code = of.trouble_code if error else ""
    return Attempt(What.CREATE, number, of.create_sent_at, error, code, None if held else again_at, held)


def look(of: Created) -> Attempt | None:
    """Return how the looks at it stand; None while it is well."""
    if not of.health_failures or of.state not in (*BEING_CREATED, State.READY, State.IN_USE):
        return None
    next_at = of.health_checked_at + timedelta(seconds=LOOK_AGAIN_SECONDS) if of.health_checked_at else None
    code = of.trouble_code
    return Attempt(What.LOOK, of.health_failures, of.health_checked_at, of.trouble or "no answer", code, next_at)


def soonest(attempts: Iterable[Attempt]) -> datetime | None:
    """Return when the first of these is tried again."""
    return min((each.next_at for each in attempts if each.next_at is not None), default=None)


def refused(attempts: Iterable[Attempt]) -> list[Attempt]:
    """Return those whose last try failed, the most tries first."""
    return sorted((each for each in attempts if each.is_refused), key=lambda each: -each.number)
