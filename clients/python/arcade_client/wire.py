"""Between what is asked for and how it is sent: requests, answers, and the steps that a transport takes.

A call is a generator. It yields steps, gets their results sent in, and returns what the caller wanted. So everything
that decides is written once, and a transport only does what it is told: one with threads, one with asyncio.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from random import random
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import urlencode, urlsplit

from arcade_client.errors import ArcadeError, Problem, UnexpectedAnswer, problem_class

T = TypeVar("T")
VERSION = "0.1.0"
LOCATION_CHARACTERS = 200  # enough of it to see where it leads


@dataclass(slots=True)
class Contact:
    """Whether an arcade has answered yet. Until it has, a call is given up after `first_seconds` without a connection:
    its address may be wrong. One that has answered is being restarted, and comes back."""

    first_seconds: float = math.inf
    is_made: bool = False

    @property
    def seconds(self) -> float:
        return math.inf if self.is_made else self.first_seconds


@dataclass(frozen=True, slots=True)
class Site:
    """Which arcade is asked, and how long. `chance` is a number from 0 to 1, `clock` counts seconds."""

    base_url: str
    key: str | None = field(default=None, repr=False)
    timeout_seconds: float = 30.0
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random
    contact: Contact = field(default_factory=Contact, compare=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"the address is {self.base_url!r}; it must be as http://host:port or https://host")
        _ = parts.port  # a ValueError when it is none
        if self.key is not None and not (self.key.isascii() and self.key.isprintable()):
            raise ValueError("the key has characters that no key has")

    @property
    def shown_url(self) -> str:
        """Where it is, without a password that the address may have."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        body: Any = None,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        is_repeatable: bool | None = None,
    ) -> Request:
        """A request to this arcade. Parts of the query and the body that are None are left out; a list in the query is
        said once for each of its values."""
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        if isinstance(body, dict):
            body = {name: value for name, value in body.items() if value is not None}
        bearer = self.key or token
        return Request(
            method,
            self.base_url.rstrip("/") + path + (f"?{urlencode(asked, doseq=True)}" if asked else ""),
            {
                "Accept": "application/json",
                "User-Agent": f"arcade-client/{VERSION}",
                **({} if body is None else {"Content-Type": "application/json"}),
                **({"Authorization": f"Bearer {bearer}"} if bearer else {}),
                **(headers or {}),
            },
            None if body is None else json.dumps(body).encode(),
            method == "GET" if is_repeatable is None else is_repeatable,
        )


@dataclass(frozen=True, slots=True)
class Request:
    """`is_repeatable`: sent twice, it does no more than sent once."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None
    is_repeatable: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` have small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300

    def failure(self) -> ArcadeError:
        """An answer that is not good, as an error. Redirects are not followed: nobody asked for what is behind one."""
        if self.status >= 400:
            return self.problem()
        location = self.headers.get("location", "")[:LOCATION_CHARACTERS]
        leads = f" that leads to {location}" if location else ""
        return UnexpectedAnswer(f"An answer of the arcade's was expected, and status {self.status} came{leads}.")

    def json(self) -> Any:
        """Raises UnexpectedAnswer."""
        try:
            return json.loads(self.body)
        except ValueError:
            what = self.headers.get("content-type", "something")
            raise UnexpectedAnswer(f"JSON was expected, and {what} came (status {self.status}).") from None

    def problem(self) -> Problem:
        """The answer as an error, whoever made it."""
        try:
            said = json.loads(self.body)
        except ValueError:
            said = {}
        if not isinstance(said, Mapping):
            said = {}
        code = str(said.get("code") or "")
        retryable = said.get("retryable")
        return problem_class(code, self.status)(
            self.status,
            code or f"http_{self.status}",
            str(said.get("detail") or said.get("title") or f"Answered with status {self.status}."),
            remedy=str(said.get("remedy") or ""),
            retryable=retryable if isinstance(retryable, bool) else None,
            limit=str(said.get("limit") or ""),
            retry_after_seconds=self._retry_after_seconds(said.get("retry_after_seconds")),
            request_id=self.headers.get("x-request-id", ""),
            errors=errors if isinstance(errors := said.get("errors"), list) else (),
            raw=said,
        )

    def _retry_after_seconds(self, said: Any) -> float | None:
        header = self.headers.get("retry-after", "").strip()
        if header.isascii() and header.isdigit():
            return float(header)
        try:  # a date; by the clock of whoever sent it, for ours may be wrong
            then, now = (parsedate_to_datetime(each) for each in (header, self.headers.get("date", "")))
            return max(0.0, (then - now).total_seconds())
        except (ValueError, TypeError):
            return max(0.0, float(said)) if isinstance(said, int | float) else None


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request; the result is an Answer. Raises ConnectionFailed, also when it takes longer."""

    request: Request
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Open:
    """Send a request whose answer is read line by line; the result is an Answer, without a body if it is good.
    What was open before is closed. Raises ConnectionFailed."""

    request: Request
    timeout_seconds: float
    silence_seconds: float


@dataclass(frozen=True, slots=True)
class NextLine:
    """The result is the next line of what is open, None at its end. Raises ConnectionFailed, also after a silence."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait. No result."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Item(Generic[T]):
    """Hand something to the caller, who may take as long as they like. No result."""

    value: T


Step: TypeAlias = Send | Open | NextLine | Pause
Call: TypeAlias = Generator[Step, Any, T]
Feed: TypeAlias = Generator[Step | Item[T], Any, None]
