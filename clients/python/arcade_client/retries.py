"""Whether to send a request again, and when: no clock, no randomness, nothing sent."""

from __future__ import annotations

from arcade_client.errors import ArcadeError, ConnectionFailed, Problem

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 8.0
TOO_SLOW, TOO_MANY, BAD_GATEWAY, UNAVAILABLE, GATEWAY_TIMEOUT = 408, 429, 502, 503, 504


def pause_before_retry(
    failure: ArcadeError, *, is_repeatable: bool, attempt: int, left_seconds: float, chance: float
) -> float | None:
    """How many seconds to wait before the request is sent again; None to give up.

    The pause is random between nothing and a bound that doubles (full jitter), so that clients which failed together
    do not come back together. With a Retry-After it comes after that.
    """
    if not is_worth_repeating(failure, is_repeatable=is_repeatable):
        return None
    pause = chance * min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(attempt - 1, 30))
    if isinstance(failure, Problem) and failure.retry_after_seconds is not None:
        pause += failure.retry_after_seconds
    return pause if pause < left_seconds else None


def is_worth_repeating(failure: ArcadeError, *, is_repeatable: bool) -> bool:
    """Whether the same request may succeed later, and does no harm if it did succeed unseen."""
    if isinstance(failure, ConnectionFailed):
        return is_repeatable or not failure.was_sent
    if not isinstance(failure, Problem) or failure.retryable is False:
        return False
    if failure.status == TOO_MANY:
        return failure.retry_after_seconds is not None
    if failure.status in {BAD_GATEWAY, GATEWAY_TIMEOUT}:
        return is_repeatable  # something behind may have done it
    return failure.status in {TOO_SLOW, UNAVAILABLE}
