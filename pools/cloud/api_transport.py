"""One request to App Platform through pydo, and what came back: the only module that imports pydo.

pydo's own reading of an answer is not used. It returns a 404 as if it were an app and `None` for an empty
200, raises on 201, 202 and 204, throws JSONDecodeError at HTML and DeserializationError at an odd header.
A hook keeps the raw answer instead, and we judge that.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn
from urllib.parse import urlsplit

from pools.cloud.budget import RequestBudget
from pools.cloud.errors import CloudUnavailable, RateLimited, Unauthorized

API_URL = "https://api.digitalocean.com"
CONNECT_TIMEOUT_SECONDS = 5.0
READ_TIMEOUT_SECONDS = 30.0  # pydo's default is 300 per attempt
QUOTED_CHARACTERS = 300  # of an answer's own message, in ours

_clients: dict[tuple[int, str, str, float, float], Any] = {}

PRINTABLE_ASCII = re.compile(r"[ -~]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the cloud. `body` is its JSON; None when there is none that can be read.

    `message` is the cloud's own words, for people: never empty, never with the token in it.
    """

    status: int
    body: Any
    is_empty: bool
    message: str
    headers: Mapping[str, str]

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def says_not_found(self) -> bool:
        """A 404 of the API itself; HTML or text comes from something in between, and proves nothing."""
        return self.status == 404 and (isinstance(self.body, dict) or self.is_empty)


class AnswerKept(Exception):
    """The way out of pydo once the answer is at hand."""


class Wire:
    """Sends requests, each exactly once. Thread-safe, and safe to use on both sides of a fork."""

    def __init__(
        self,
        token: str,
        endpoint: str | None = None,
        budget: RequestBudget | None = None,
        *,
        now: Callable[[], float] = time.time,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
        read_timeout_seconds: float = READ_TIMEOUT_SECONDS,
    ) -> None:
        self._token = token.strip()
        if not PRINTABLE_ASCII.fullmatch(self._token):
            raise ValueError("The DigitalOcean token is empty or holds characters that a header can't carry.")
        self.endpoint = checked_endpoint(endpoint or API_URL)
        self.budget = budget or RequestBudget()
        self._now = now
        self._connect_timeout_seconds = connect_timeout_seconds
        self._read_timeout_seconds = read_timeout_seconds

    def __repr__(self) -> str:
        return f"<Wire to {self.endpoint}>"

    def send(self, operation: str, *args: object, **kwargs: object) -> Answer:
        """Call `operation` of pydo's apps, once. Raises without an answer, on 401, 429, 5xx and redirects."""
        self.budget.spend()
        kept: list[Answer] = []
        method = getattr(self._client().apps, operation)

        def keep(response: Any) -> NoReturn:
            kept.append(self._answer(response))
            raise AnswerKept  # the layers above would decode the same JSON twice more

        try:
            method(*args, raw_response_hook=keep, **kwargs)
        except Exception as error:  # more than AzureError; whatever it is, `kept` tells what happened
            if not kept:
                # Not chained: azure's errors carry the request, and with it the token.
                raise CloudUnavailable(self._why_no_answer(error)) from None
        answer = kept[-1]
        if answer.status == 429:
            self._refused_for_now(answer)
        self.budget.relax()
        if answer.status == 401:
            raise Unauthorized(f"The cloud did not accept the token (401: {answer.message}).")
        if answer.status >= 500 or answer.status < 200 or 300 <= answer.status < 400:
            raise self.unusable(answer)
        return answer

    def unusable(self, answer: Answer, problem: str | None = None) -> CloudUnavailable:
        """The error for an answer that does not tell what the caller needs to know."""
        problem = problem or f"The cloud answered {answer.status}: {answer.message}."
        wait = retry_after_seconds(answer.headers.get("retry-after"), self._now())
        return CloudUnavailable(problem, retry_after_seconds=wait)

    def _refused_for_now(self, answer: Answer) -> NoReturn:
        asked = retry_after_seconds(answer.headers.get("retry-after"), self._now())
        wait = self.budget.obey(asked)
        raise RateLimited(
            f"The cloud gets too many requests from us (429); the next is due in {wait:.0f} s.",
            retry_after_seconds=wait,
        )

    def _client(self) -> Any:
        """This process's client: after a fork the parent's sockets are not ours. A new one takes a while to make."""
        timeouts = (self._connect_timeout_seconds, self._read_timeout_seconds)
        key = (os.getpid(), self.endpoint, self._token, *timeouts)
        client = _clients.get(key)
        return client if client is not None else _clients.setdefault(key, self._new_client())

    def _new_client(self) -> Any:
        from azure.core.credentials import AzureKeyCredential
        from azure.core.pipeline.policies import AzureKeyCredentialPolicy, SansIOHTTPPolicy
        from azure.core.pipeline.transport import RequestsTransport
        from pydo import Client

        transport = RequestsTransport(
            connection_timeout=self._connect_timeout_seconds,
            read_timeout=self._read_timeout_seconds,
            use_env_settings=not is_loopback(self.endpoint),  # no HTTP_PROXY between us and this machine
        )
        transport.open()  # here, because threads that open it later trip over each other
        silent = SansIOHTTPPolicy()
        return Client(
            self._token,
            endpoint=self.endpoint,
            transport=transport,
            # The default policy insists on https; `checked_endpoint` lets http through for loopback only.
            authentication_policy=AzureKeyCredentialPolicy(
                AzureKeyCredential(self._token), "Authorization", prefix="Bearer"
            ),
            retry_total=0,  # by default a create is sent up to four times, and any Retry-After is slept
            permit_redirects=False,
            logging_policy=silent,
            http_logging_policy=silent,
        )

    def _why_no_answer(self, error: Exception) -> str:
        from azure.core.exceptions import (
            ServiceRequestError,
            ServiceResponseError,
            ServiceResponseTimeoutError,
        )

        if isinstance(error, ServiceResponseTimeoutError):
            return f"The cloud did not answer within {self._read_timeout_seconds:g} s."
        if isinstance(error, ServiceRequestError):
            return f"The cloud could not be reached at {self.endpoint}."
        if isinstance(error, ServiceResponseError):
            return "The connection to the cloud broke before its answer was complete."
        return f"The request to the cloud failed ({type(error).__name__})."

    def _answer(self, response: Any) -> Answer:
        raw = response.http_response
        content = bytes(raw.content or b"")
        try:
            body = json.loads(content)
        except ValueError:
            body = None
        said = body.get("message") if isinstance(body, dict) else None
        message = said if isinstance(said, str) and said else "no reason that can be read"
        return Answer(
            status=int(raw.status_code),
            body=body,
            is_empty=not content.strip(),
            message=message.replace(self._token, "(token)")[:QUOTED_CHARACTERS],
            headers={str(name).lower(): str(value) for name, value in raw.headers.items()},
        )


def checked_endpoint(endpoint: str) -> str:
    """`endpoint` without trailing slash; ValueError when it is no URL, or the token would travel in clear."""
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError(f"{endpoint!r} is not the URL of an API; it looks like {API_URL}.")
    if parts.scheme == "http" and not is_loopback(endpoint):
        raise ValueError(f"{endpoint!r} is not https: the token would travel in clear. Only loopback may be http.")
    return endpoint.rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether `url` points to this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def retry_after_seconds(header: str | None, now: float) -> float | None:
    """Return the seconds that a Retry-After header asks for; None when it is absent or can't be read."""
    if header is None:
        return None
    if re.fullmatch(r"\s*\d{1,9}(\.\d+)?\s*", header):
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now)
