"""Errors as programs get them: one JSON shape, `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):
    """An answer that is an error. Raise it anywhere below the API; whoever answers makes it JSON with `as_json`."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str = "",
        errors: Sequence[Mapping[str, str]] = (),
        limit: str = "",
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.code = status, detail, code
        self.errors, self.limit, self.retry_after_seconds = errors, limit, retry_after_seconds

    @classmethod
    def field(cls, field: str, message: str, *, code: str = "") -> Problem:
        """One thing in the request is not as it must be."""
        return cls(422, f"{field}: {message}", code=code, errors=[{"field": field, "message": message}])

    def as_json(self) -> dict[str, Any]:
        """`type`, `title`, `status`, `detail`; where they say more `code`, `errors`, `limit`, `retry_after_seconds`."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.code:
            body["code"] = self.code
        if self.errors:
            body["errors"] = list(self.errors)
        if self.limit:
            body["limit"] = self.limit
        if self.retry_after_seconds is not None:
            body["retry_after_seconds"] = self.retry_after_seconds
        return body

    def headers(self) -> dict[str, str]:
        """Return the headers that go along with the body."""
        return {} if self.retry_after_seconds is None else {"Retry-After": str(self.retry_after_seconds)}
