"""One request to App Platform through pydo, and what came back: the only module that imports pydo.

pydo makes the request and signs it. The way it sends one and reads the answer is not used: it waits for as long as an
answer trickles and unpacks whatever comes. It returns a 404 as if it were an app and `None` for an empty 200, raises on
201, 202 and 204, throws JSONDecodeError at HTML and DeserializationError at an odd header. In the place of its last
layer, ours sends the request within one deadline, and leaves with the raw answer, for us to judge.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httpx

from pools import clock
from pools.cloud import bounded, metrics
from pools.cloud.budget import RequestBudget, Share
from pools.cloud.changes import require_for
from pools.cloud.errors import CloudUnavailable, RateLimited
from pools.cloud.fitting import fitted
from pools.traces import span

API_URL = "https://api.digitalocean.com"
TIMEOUT_SECONDS = 30.0  # for the whole request; pydo's default is 300 for each attempt's each wait
# A page of 200 apps whose specs have 60 long variables, each told three times, has 16 MiB; sandboxes' have 0.5.
ANSWER_BYTES = 32 * 1024**2
QUOTED_CHARACTERS = 300  # of an answer's own message, in ours

_clients: dict[tuple[str, str, float], Any] = {}

PRINTABLE_ASCII = re.compile(r"[ -~]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the cloud. `body` is its JSON; None when there is none that can be read.

    `message` is the cloud's own words, for people: never empty, never with the token in it.
    """

    status: int
    body: Any
    message: str
    headers: Mapping[str, str]

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_verdict(self) -> bool:
        """Whether the API itself says no: an error of its shape. HTML, text or nothing comes from something in between,
        and proves nothing."""
        body = self.body
        return isinstance(body, dict) and isinstance(body.get("id"), str) and isinstance(body.get("message"), str)

    @property
    def says_not_found(self) -> bool:
        """Errors that are no verdicts are never answers: they are raised."""
        return self.status == 404


def preload() -> None:
    """Load what the first request would load, for processes that are forked from this one."""
    import pydo  # noqa: F401


class AnswerKept(Exception):
    """The way out of pydo once the answer is at hand."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class Sender:
    """What pydo takes for its transport. Raises AnswerKept, or CloudUnavailable without an answer."""

    def __init__(self, endpoint: str, token: str, timeout_seconds: float) -> None:
        self._endpoint, self._token, self._timeout_seconds = endpoint, token, timeout_seconds

    def send(self, request: Any, **options: Any) -> NoReturn:
        """Send a request of azure's, once."""
        began = False
        try:
            with bounded.client_for(self._endpoint, is_loopback=is_loopback(self._endpoint)) as client:
                # Not chained: these errors carry the request, and with it the token.
                sent = client.build_request(
                    request.method,
                    request.url,
                    headers={**request.headers, "Accept-Encoding": "identity"},
                    content=request.content,
                    timeout=bounded.timeout(self._timeout_seconds),
                )
                response = client.send(sent, stream=True)
                began = True
                try:
                    content = bounded.whole(response, ANSWER_BYTES)
                finally:
                    response.close()
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise CloudUnavailable(f"The cloud could not be reached at {self._endpoint}.") from None
        except httpx.TimeoutException:
            trouble = "'s answer took longer than" if began else " did not answer within"
            raise CloudUnavailable(f"The cloud{trouble} {self._timeout_seconds:g} s.") from None
        except bounded.TooLarge as error:
            raise CloudUnavailable(f"The cloud's answer is too long: {error}.") from None
        except httpx.DecodingError:
            raise CloudUnavailable("The cloud's answer was packed, and can't be unpacked.") from None
        except httpx.HTTPError:
            raise CloudUnavailable("The connection to the cloud broke before its answer was complete.") from None
        raise AnswerKept(read_answer(response, content, self._token))

    def open(self) -> None:
        """Connections are this process's, opened when they are needed."""

    def close(self) -> None:
        """They stay for the next client."""


# Listings leave some to deletions, these to questions about one app, and all to creates.
SHARES = {
    "list": Share.LISTING,
    "delete": Share.DELETING,
    "validate_app_spec": Share.DELETING,
    "create": Share.CREATING,
}


class Wire:
    """Sends requests, each exactly once. Thread-safe, and safe to use on both sides of a fork."""

    def __init__(
        self,
        token: str,
        endpoint: str | None = None,
        budget: RequestBudget | None = None,
        *,
        now: Callable[[], float] = clock.wall,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._token = token.strip()
        if not PRINTABLE_ASCII.fullmatch(self._token):
            raise ValueError("The DigitalOcean token is empty or holds characters that a header can't carry.")
        self.endpoint = checked_endpoint(endpoint or API_URL)
        self.budget = budget or RequestBudget()
        self._now = now
        self._timeout_seconds = timeout_seconds

    def __repr__(self) -> str:
        return f"<Wire to {self.endpoint}>"

    def send(self, operation: str, *args: object, **kwargs: object) -> Answer:
        """Call `operation` of pydo's apps, once. Raises without an answer, on 429, 5xx and redirects, and on a refusal
        that the API did not write; and whatever `changes.only_while` is told to raise."""
        require_for(operation)
        outcome = metrics.UNAVAILABLE
        try:
            answer = self._send(operation, *args, **kwargs)
            outcome = metrics.outcome_of(answer.status)
            return answer
        except RateLimited:
            outcome = metrics.RATE_LIMITED
            raise
        finally:
            metrics.REQUESTS.add(operation, outcome)

    def _send(self, operation: str, *args: object, **kwargs: object) -> Answer:
        self.budget.spend(share=SHARES.get(operation, Share.ASKING))
        with span(f"cloud {operation}") as traced:
            answer = self._sent(operation, *args, **kwargs)
            traced.note(status=answer.status)
            return self._judged(answer)

    def _sent(self, operation: str, *args: object, **kwargs: object) -> Answer:
        method, began = getattr(self._client().apps, operation), clock.monotonic()
        try:
            method(*args, **kwargs)
        except AnswerKept as kept:
            return kept.answer
        except CloudUnavailable:
            raise
        except Exception as error:  # of pydo's, before it sent anything
            raise CloudUnavailable(f"The request to the cloud failed ({type(error).__name__}).") from None
        finally:
            metrics.SECONDS.note(clock.monotonic() - began, operation)
        raise CloudUnavailable("The request to the cloud was not sent.")

    def _judged(self, answer: Answer) -> Answer:
        if answer.status == 429:
            self._refused_for_now(answer)
        self.budget.relax()
        if answer.status >= 500 or answer.status < 200 or 300 <= answer.status < 400:
            raise self.unusable(answer)
        if not answer.is_success and not answer.is_verdict:
            raise self.unusable(answer, f"Something in front of the cloud answered {answer.status}; it is no verdict.")
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
        """One for all threads and forks: it holds no connections. A new one takes a while to make."""
        key = (self.endpoint, self._token, self._timeout_seconds)
        client = _clients.get(key)
        return client if client is not None else _clients.setdefault(key, self._new_client())

    def _new_client(self) -> Any:
        from azure.core.credentials import AzureKeyCredential
        from azure.core.pipeline.policies import AzureKeyCredentialPolicy, SansIOHTTPPolicy
        from pydo import Client

        silent = SansIOHTTPPolicy()
        return Client(
            self._token,
            endpoint=self.endpoint,
            transport=Sender(self.endpoint, self._token, self._timeout_seconds),
            # The default policy insists on https; `checked_endpoint` lets http through for loopback only.
            authentication_policy=AzureKeyCredentialPolicy(
                AzureKeyCredential(self._token), "Authorization", prefix="Bearer"
            ),
            retry_total=0,  # by default a create is sent up to four times, and any Retry-After is slept
            permit_redirects=False,
            logging_policy=silent,
            http_logging_policy=silent,
        )


def read_answer(response: httpx.Response, content: bytes, token: str) -> Answer:
    """What came back, read as far as it can be."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    said = body.get("message") if isinstance(body, dict) else None
    message = said if isinstance(said, str) and said else "no reason that can be read"
    return Answer(
        status=response.status_code,
        body=body,
        message=fitted(message.replace(token, "(token)"), QUOTED_CHARACTERS),
        headers={name.lower(): value for name, value in response.headers.items()},
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
        return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now)
    except (ValueError, OverflowError):
        return None
