"""Errors as programs get them: one JSON shape, `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings

from pools.problem_codes import CODES, code_of_status

CONTENT_TYPE = "application/problem+json"
PAGES = "/api/problems/"  # where each code has its own


def type_of(code: str) -> str:
    """The address that says what a code means."""
    return f"{settings.PUBLIC_URL}{PAGES}{code}"


class Problem(Exception):
    """An answer that is an error. Raise it anywhere below the API; whoever answers makes it JSON with `as_json`.

    `code` is one of `pools.problem_codes`; by default the one that says as much as the status.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str = "",
        errors: Sequence[Mapping[str, str]] = (),
        limit: str = "",
        retry_after_seconds: int | None = None,
        headers: Mapping[str, str] | None = None,
        digest: str = "",
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.code = status, detail, code or code_of_status(status)
        self.meaning = CODES[self.code]
        self.errors, self.limit, self.retry_after_seconds = errors, limit, retry_after_seconds
        self.more_headers = headers or {}
        self.digest = digest

    @classmethod
    def field(cls, field: str, message: str, *, code: str = "") -> Problem:
        """One thing in the request is not as it must be."""
        return cls(422, f"{field}: {message}", code=code, errors=[{"field": field, "message": message}])

    def as_json(self) -> dict[str, Any]:
        """What happened and what to do; where they say more `field`, `errors`, `limit`, `retry_after_seconds`,
        `digest`."""
        body: dict[str, Any] = {
            "type": type_of(self.code),
            "title": self.meaning.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "remedy": self.meaning.remedy,
            "retryable": self.meaning.is_retryable,
        }
        if self.errors:
            body["field"] = self.errors[0]["field"]
            body["errors"] = list(self.errors)
        if self.limit:
            body["limit"] = self.limit
        if self.retry_after_seconds is not None:
            body["retry_after_seconds"] = self.retry_after_seconds
        if self.digest:
            body["digest"] = self.digest
        return body

    def headers(self) -> dict[str, str]:
        """Return the headers that go along with the body."""
        again = {} if self.retry_after_seconds is None else {"Retry-After": str(self.retry_after_seconds)}
        who = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        return {**self.more_headers, **again, **who}
