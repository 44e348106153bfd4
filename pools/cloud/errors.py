"""Everything that can go wrong at the cloud's boundary. Each has a code, and a sentence for people."""

from __future__ import annotations


class CloudError(Exception):
    """Any trouble with the cloud; `str(error)` is a sentence a person understands."""

    code = "cloud_error"


class CloudUnavailable(CloudError):
    """Nothing useful came back: refused, timed out, 5xx, HTML. The request may have had its effect anyhow."""

    code = "unavailable"

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class RateLimited(CloudUnavailable):
    """The cloud answered 429, or our own request budget is spent: the request had no effect."""

    code = "rate_limited"


class IncompleteListing(CloudError):
    """The list of apps could not be read to its end; nothing may be concluded from what is missing in it."""

    code = "incomplete"


class EmptyListing(CloudError):
    """The list of apps is empty though some of ours were expected: it is not believed."""

    code = "empty_listing"

    def __init__(self) -> None:
        super().__init__("the listing is empty, though sandboxes were expected")


class NameTaken(CloudError):
    """An app of that name exists already (409): perhaps ours, from a create whose answer was lost."""

    code = "name_taken"


class InvalidSpec(CloudError):
    """The spec is refused, by the cloud (400, 422) or here before it is sent. `said` is the cloud's own text."""

    code = "invalid_spec"

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said


class OverQuota(CloudError):
    """The account may not hold one more app (403 or 422 that speaks of a limit)."""

    code = "over_quota"


class Unauthorized(CloudError):
    """The token is wrong, expired, or lacks a scope: refused (401, 403) twice, a moment apart."""

    code = "unauthorized"


class AgentError(Exception):
    """Any trouble with a sandbox's agent; `str(error)` is a sentence a person understands."""

    code = "agent_error"


class AgentUnavailable(AgentError):
    """The agent did not answer: refused, not resolved yet, timed out, 5xx from the edge."""

    code = "agent_unavailable"


class AgentRefused(AgentError):
    """The agent answered 401, 403 or 503-without-a-token: we hold the wrong token, or it has none."""

    code = "agent_refused"


class SandboxEmptied(AgentError):
    """The agent answers, and what was put into its sandbox is gone: its container was restarted."""

    code = "sandbox_emptied"


class CommandTimedOut(AgentError):
    """The command ran longer than it was given (408, or an `error` event with code TIMEOUT)."""

    code = "command_timed_out"
