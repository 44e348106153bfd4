"""One request to a sandbox's agent, and what came back. Connections are shared by the whole process."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from pools import traces
from pools.cloud import bounded
from pools.cloud.api_transport import is_loopback
from pools.cloud.errors import AgentError, AgentRefused, AgentUnavailable, CommandTimedOut

ANSWER_BYTES = 8 * 1024**2
QUOTED_CHARACTERS = 300
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # some of it no database takes


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was read to its end."""

    status: int
    content: bytes

    @property
    def json(self) -> Any:
        return json_of(self.content)

    @property
    def is_the_agents(self) -> bool:
        """Whether the agent itself wrote it. HTML, text or nothing comes from the edge in front of it, and says only
        that the agent can't be reached."""
        return isinstance(self.json, dict)

    @property
    def is_not_found(self) -> bool:
        return self.status == 404 and self.is_the_agents


class AgentWire:
    """Sends requests to the agent at `url`, with its token. Thread-safe and fork-safe."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._is_loopback = is_loopback(url)
        self._keeps_secrets = self._is_loopback or url.startswith("https://")

    def call(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        params: Mapping[str, str | int] | None = None,
        timeout_seconds: float,
        may_miss: bool = False,
    ) -> Answer:
        """The whole answer; raises AgentError's kinds unless it is a success (or a 404, with `may_miss`)."""
        with self.open(method, path, json=json, params=params, timeout_seconds=timeout_seconds) as response:
            answer = Answer(response.status_code, bounded.whole(response, ANSWER_BYTES))
            if not (may_miss and answer.is_not_found):
                self.judge(answer)
            return answer

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        params: Mapping[str, str | int] | None = None,
        timeout_seconds: float,
    ) -> Iterator[httpx.Response]:
        """An answer whose body is still to be read, within the same time; trouble with it is AgentError's kind, too."""
        if not self._keeps_secrets:
            raise AgentUnavailable(f"{self.url or 'The address'} is not https: the token would travel in clear.")
        began = False
        try:
            with (
                traces.span(f"agent {method}", path=path) as span,
                bounded.client_for(self.url, is_loopback=self._is_loopback) as client,
            ):
                request = client.build_request(
                    method,
                    self.url + path,
                    json=json,
                    params=params,
                    headers={"Authorization": f"Bearer {self._token}", **traces.headers()},
                    timeout=bounded.timeout(timeout_seconds),
                )
                response = self._sent(client, request)
                began = True
                span.note(status=response.status_code)
                try:
                    yield response
                finally:
                    response.close()
        except httpx.TimeoutException:
            trouble = "'s answer took longer than" if began else " did not answer within"
            raise AgentUnavailable(f"The sandbox{trouble} {timeout_seconds:g} s.") from None
        except bounded.TooLarge as error:
            raise AgentError(f"The sandbox's answer is too long: {error}.") from None
        except httpx.ConnectError:
            raise AgentUnavailable(f"The sandbox could not be reached at {self.url}.") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise AgentUnavailable(f"The connection to the sandbox broke ({type(error).__name__}).") from None

    def check(self, response: httpx.Response) -> None:
        """Raise what an answer other than a success means; the body of a success is still to be read."""
        if not response.is_success:
            self.judge(Answer(response.status_code, bounded.whole(response, ANSWER_BYTES)))

    def judge(self, answer: Answer) -> None:
        """Raise what an answer other than a success means."""
        if 200 <= answer.status < 300:
            return
        status = answer.status
        said = f"{status}: {explanation(answer.json).replace(self._token, '(token)')}"
        if not answer.is_the_agents:
            raise AgentUnavailable(f"What answers in the place of the sandbox's agent is not it ({said}).")
        if status in (401, 403) or (status == 503 and "token" in said.lower()):
            raise AgentRefused(f"The sandbox's agent refused us ({said}).")
        if status == 408:
            raise CommandTimedOut(f"The command ran longer than it may ({said}).")
        if status >= 500:
            raise AgentUnavailable(f"The sandbox's agent is not there ({said}).")
        raise AgentError(f"The sandbox's agent could not do it ({said}).")

    def _sent(self, client: httpx.Client, request: httpx.Request) -> httpx.Response:
        try:
            return client.send(request, stream=True)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            if request.method != "GET":
                raise
            return client.send(request, stream=True)  # the other side had just closed the kept connection


def json_of(text: str | bytes) -> Any:
    """The JSON in `text`; None when it is none, or is nested beyond measure."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def explanation(data: Any) -> str:
    """Return what a JSON error says, for people."""
    said = [data.get(key) for key in ("detail", "message", "error")] if isinstance(data, dict) else []
    if said and isinstance(said[0], list):  # of a request whose fields are wrong: one entry for each
        said = [f"{_field(entry)}: {entry.get('msg')}" for entry in said[0] if isinstance(entry, dict)]
    found = next((text for text in said if isinstance(text, str) and text), "no reason given")
    return UNPRINTABLE.sub(" ", found[:QUOTED_CHARACTERS])


def _field(entry: dict[str, Any]) -> str:
    place = entry.get("loc")
    return ".".join(map(str, place)) if isinstance(place, list) else "?"
