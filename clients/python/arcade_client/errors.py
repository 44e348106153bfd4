"""What can go wrong, each with a type of its own: `except LimitReached`, or `except ArcadeError` for all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arcade_client.shapes import RunFields


class ArcadeError(Exception):
    """Anything that went wrong between this program and the arcade."""


class ConnectionFailed(ArcadeError):
    """The arcade can't be reached, or the connection was cut. `was_sent`: it may have read the request."""

    def __init__(self, message: str, *, was_sent: bool) -> None:
        super().__init__(message)
        self.was_sent = was_sent


class UnexpectedAnswer(ArcadeError):
    """Something answered, but not as the arcade does. Check the base URL."""


class WaitedTooLong(ArcadeError):
    """The run did not get that far in the time given. `run` is how it stood last."""

    def __init__(self, message: str, run: RunFields) -> None:
        super().__init__(message)
        self.run = run


class RunOver(ArcadeError):
    """The run was over before it got that far. `run.end_code` says why."""

    def __init__(self, message: str, run: RunFields) -> None:
        super().__init__(message)
        self.run = run


class SignatureInvalid(ArcadeError):
    """This webhook was not sent by the arcade, or long ago, or it was changed on the way."""


class Problem(ArcadeError):
    """The arcade refused. Go by the class or by `code`; sentences may change at any time.

    `retryable` is None when the answer was not the arcade's own and so does not say (a proxy's, for example). `raw` is
    the JSON of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        remedy: str = "",
        retryable: bool | None = None,
        limit: str = "",
        retry_after_seconds: float | None = None,
        request_id: str = "",
        errors: Sequence[Mapping[str, str]] = (),
        raw: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.remedy = status, code, detail, remedy
        self.retryable, self.limit, self.retry_after_seconds = retryable, limit, retry_after_seconds
        self.request_id, self.errors, self.raw = request_id, tuple(errors), raw or {}

    def as_json(self) -> dict[str, Any]:
        """As the answer had it, without what it did not say."""
        said = {
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "remedy": self.remedy,
            "retryable": self.retryable,
            "limit": self.limit,
            "retry_after_seconds": self.retry_after_seconds,
            "request_id": self.request_id,
            "errors": list(self.errors),
        }
        return {name: value for name, value in said.items() if value not in (None, "", [])}


class Unauthorized(Problem):
    """No key was sent, or one that is not good any more."""


class Forbidden(Problem):
    """The key, or whoever asks, may not do that."""


class NotYours(Forbidden):
    """The run is somebody else's."""


class NotFound(Problem):
    """There is no such thing."""


class Conflict(Problem):
    """Not possible as things stand."""


class NoPool(Conflict):
    """No pool serves the launch, and it was to start no other way."""


class PlanChanged(Conflict):
    """Another plan is due by now. Read it, then decide again."""


class Changed(Conflict):
    """Somebody else changed it since it was read. Read it again, then decide again."""


class Invalid(Problem):
    """A field is not as it must be: `errors` names it."""


class UnknownGame(Invalid):
    """There is no such game."""


class TooMany(Problem):
    """Not now: there are too many. `retry_after_seconds` says when to ask again."""


class LimitReached(TooMany):
    """`limit` names the limit that was reached."""


class PoolEmpty(TooMany):
    """No warm sandbox is ready."""


class Unavailable(Problem):
    """The arcade can't do it now, for reasons of its own."""


class Maintenance(Unavailable):
    """No launches for now."""


OF_CODE: Mapping[str, type[Problem]] = {
    "not_yours": NotYours,
    "unknown_game": UnknownGame,
    "limit_reached": LimitReached,
    "pool_empty": PoolEmpty,
    "no_pool": NoPool,
    "plan_changed": PlanChanged,
    "maintenance": Maintenance,
}
OF_STATUS: Mapping[int, type[Problem]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: Changed,
    422: Invalid,
    429: TooMany,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def problem_class(code: str, status: int) -> type[Problem]:
    """By the code where it has a class of its own, else by the status."""
    return OF_CODE.get(code) or OF_STATUS.get(status, Problem)
