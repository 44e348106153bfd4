"""The id of the request that is being answered: in its answer, in the log's lines, and in what it had written down."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

HEADER = "X-Request-ID"
SANE = re.compile(r"[A-Za-z0-9._:/+=-]{1,64}")  # what can't be mistaken for anything else in a line of a log

_current: ContextVar[str] = ContextVar("request_id", default="")


def current() -> str:
    """Empty where no request is being answered: in workers and turns."""
    return _current.get()


def taken(said: str) -> str:
    """The id that a client sent along, if it is short and printable; else a new one."""
    return said if SANE.fullmatch(said) else secrets.token_hex(8)


@contextmanager
def answering(request_id: str) -> Iterator[None]:
    token = _current.set(request_id)
    try:
        yield
    finally:
        _current.reset(token)


def noted(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a line that is written down, with the request that caused it."""
    request_id = current()
    return {**data, "request_id": request_id} if request_id else dict(data)
