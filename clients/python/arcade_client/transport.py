"""What both transports share: how requests are handed to httpx, and its errors told in ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from arcade_client.errors import ConnectionFailed, UnexpectedAnswer
from arcade_client.wire import Answer, Request, Site

CONNECT_SECONDS = 5.0
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def http_request(request: Request, timeout_seconds: float, silence_seconds: float | None = None) -> dict[str, Any]:
    """The arguments of httpx's `stream`."""
    connect = min(CONNECT_SECONDS, timeout_seconds)
    return {
        "method": request.method,
        "url": request.url,
        "headers": dict(request.headers),
        "content": request.body,
        "timeout": httpx.Timeout(silence_seconds or timeout_seconds, connect=connect, pool=connect),
    }


def head_of(response: httpx.Response, body: bytes) -> Answer:
    return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)


@contextmanager
def connection_errors(site: Site) -> Iterator[None]:
    """Tell httpx's errors in ours: ConnectionFailed, and UnexpectedAnswer for what can't be read."""
    try:
        yield
    except NOT_SENT as error:
        why = error or type(error).__name__
        raise ConnectionFailed(f"Can't connect to {site.shown_url}: {why}", was_sent=False) from error
    except httpx.TimeoutException as error:
        raise ConnectionFailed("The arcade did not answer in time.", was_sent=True) from error
    except httpx.TransportError as error:
        raise ConnectionFailed(f"The connection was cut: {error or type(error).__name__}", was_sent=True) from error
    except httpx.RequestError as error:  # an answer that is not packed as it says
        raise UnexpectedAnswer(f"The answer can't be read: {error or type(error).__name__}") from error


class Deadline:
    """For answers that trickle: httpx limits the time between two parts, not of all."""

    def __init__(self, clock: Callable[[], float], timeout_seconds: float) -> None:
        self.clock, self.until = clock, clock() + timeout_seconds

    def passed_by(self, part: bytes) -> bytes:
        """The part itself. Raises ConnectionFailed when it came too late."""
        if self.clock() > self.until:
            raise ConnectionFailed("The arcade did not answer in time.", was_sent=True)
        return part
