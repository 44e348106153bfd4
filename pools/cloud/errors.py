"""Everything that can go wrong at the cloud's boundary. Each carries a sentence for people as its message."""

from __future__ import annotations


class CloudError(Exception):
    """Any trouble with the cloud; `str(error)` is a sentence a person understands."""


class CloudUnavailable(CloudError):
    """Nothing useful came back: refused, timed out, 5xx, HTML. The request may have had its effect anyhow."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class RateLimited(CloudUnavailable):
    """The cloud answered 429, or our own request budget is spent: the request had no effect."""


class IncompleteListing(CloudError):
    """The list of apps could not be read to its end; nothing may be concluded from what is missing in it."""


class NameTaken(CloudError):
    """An app of that name exists already (409): perhaps ours, from a create whose answer was lost."""


class InvalidSpec(CloudError):
    """The cloud refused the spec (400, 422)."""


class OverQuota(CloudError):
    """The account may not hold one more app (403 or 422 that speaks of a limit)."""


class Unauthorized(CloudError):
    """The token is wrong, expired, or lacks a scope: refused (401, 403) twice, a moment apart."""


class AgentError(Exception):
    """Any trouble with a sandbox's agent; `str(error)` is a sentence a person understands."""


class AgentUnavailable(AgentError):
    """The agent did not answer: refused, not resolved yet, timed out, 5xx from the edge."""


class AgentRefused(AgentError):
    """The agent answered 401, 403 or 503-without-a-token: we hold the wrong token, or it has none."""


class CommandTimedOut(AgentError):
    """The command ran longer than it was given (408, or an `error` event with code TIMEOUT)."""
