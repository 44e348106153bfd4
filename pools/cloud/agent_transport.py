"""One request to a sandbox's agent, and what came back. Connections are shared by the whole process."""

from __future__ import annotations

import json
import os
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpx

from pools.cloud.api_transport import is_loopback
from pools.cloud.errors import AgentError, AgentRefused, AgentUnavailable, CommandTimedOut

CONNECT_TIMEOUT_SECONDS = 5.0
LOOPBACK_IDLE_SECONDS = 4.0  # uvicorn closes after 5: a connection is given up before it goes stale
EDGE_IDLE_SECONDS = 60.0  # the edge in front of App Platform cuts at about 100
MOST_CONNECTIONS = 200
MOST_KEPT_CONNECTIONS = 50
QUOTED_CHARACTERS = 300
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # some of it no database takes

_clients: dict[tuple[int, bool], httpx.Client] = {}


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
    ) -> httpx.Response:
        """The whole answer; raises AgentError's kinds unless it is a success (or a 404, with `may_miss`)."""
        with self.open(method, path, json=json, params=params, timeout_seconds=timeout_seconds) as response:
            response.read()
            if not (may_miss and is_not_found(response)):
                self.check(response)
            return response

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
        """An answer whose body is still to be read; trouble while reading it is AgentUnavailable, too."""
        if not self._keeps_secrets:
            raise AgentUnavailable(f"{self.url or 'The address'} is not https: the token would travel in clear.")
        client = client_for(is_loopback=self._is_loopback)
        connect_seconds = min(CONNECT_TIMEOUT_SECONDS, timeout_seconds)
        try:
            request = client.build_request(
                method,
                self.url + path,
                json=json,
                params=params,
                headers={"Authorization": f"Bearer {self._token}"},
                timeout=httpx.Timeout(timeout_seconds, connect=connect_seconds, pool=connect_seconds),
            )
            response = self._sent(client, request)
            try:
                yield response
            finally:
                response.close()
        except httpx.TimeoutException:
            raise AgentUnavailable(f"The sandbox did not answer within {timeout_seconds:g} s.") from None
        except httpx.ConnectError:
            raise AgentUnavailable(f"The sandbox could not be reached at {self.url}.") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise AgentUnavailable(f"The connection to the sandbox broke ({type(error).__name__}).") from None

    def check(self, response: httpx.Response) -> None:
        """Raise what an answer other than a success means."""
        if response.is_success:
            return
        response.read()
        status = response.status_code
        said = f"{status}: {_explanation(response).replace(self._token, '(token)')}"
        if status in (401, 403) or (status == 503 and "token" in said.lower() and _is_json(response)):
            raise AgentRefused(f"The sandbox's agent refused us ({said}).")
        if status == 408:
            raise CommandTimedOut(f"The command ran longer than it may ({said}).")
        if status >= 500 or (status == 404 and not is_not_found(response)):
            raise AgentUnavailable(f"The sandbox's agent is not there ({said}).")
        raise AgentError(f"The sandbox's agent could not do it ({said}).")

    def _sent(self, client: httpx.Client, request: httpx.Request) -> httpx.Response:
        try:
            return client.send(request, stream=True)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            if request.method != "GET":
                raise
            return client.send(request, stream=True)  # the other side had just closed the kept connection


def client_for(*, is_loopback: bool) -> httpx.Client:
    """This process's client, made at first use: one made before a fork would share its sockets."""
    key = (os.getpid(), is_loopback)
    client = _clients.get(key)
    return client if client is not None else _clients.setdefault(key, _new_client(is_loopback))


def until(response: httpx.Response, seconds: float) -> Iterator[bytes]:
    """The body in chunks, for at most that long: one that trickles would outlast every timeout of a read."""
    deadline = time.monotonic() + seconds
    for chunk in response.iter_bytes():
        yield chunk
        if time.monotonic() > deadline:
            raise AgentUnavailable(f"The sandbox's answer took longer than {seconds:g} s.")


def is_not_found(response: httpx.Response) -> bool:
    """A 404 of the agent itself. The edge's own, in HTML, only says that the app can't be reached yet."""
    return response.status_code == 404 and (_is_json(response) or not response.content)


def json_of(text: str | bytes) -> Any:
    """The JSON in `text`; None when it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def explanation(data: Any) -> str:
    """Return what a JSON error says, for people."""
    said = [data.get(key) for key in ("detail", "message", "error")] if isinstance(data, dict) else []
    found = next((text for text in said if isinstance(text, str) and text), "no reason given")
    return UNPRINTABLE.sub(" ", found[:QUOTED_CHARACTERS])


def _explanation(response: httpx.Response) -> str:
    return explanation(json_of(response.content))


def _is_json(response: httpx.Response) -> bool:
    return isinstance(json_of(response.content), dict)


def _new_client(is_loopback: bool) -> httpx.Client:
    client = httpx.Client(
        trust_env=not is_loopback,  # no HTTP_PROXY between us and this machine
        # Certificates take 60 ms to load, and loopback speaks http; https there is refused for want of them.
        verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if is_loopback else True,
        limits=httpx.Limits(
            max_connections=MOST_CONNECTIONS,
            max_keepalive_connections=MOST_KEPT_CONNECTIONS,
            keepalive_expiry=LOOPBACK_IDLE_SECONDS if is_loopback else EDGE_IDLE_SECONDS,
        ),
    )
    # A game's cookie must not reach the next sandbox: on loopback all share a host, and cookies know no ports.
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return client
