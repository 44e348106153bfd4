"""Who asks and how, as the proxies in front say it; and nothing of what a client says in their words.

Each proxy adds the address that it was asked from at the right of X-Forwarded-For. So with N trusted ones, the N-th
from the right is what the outermost of them saw; whatever stands before that was sent by the client. Words that only
servers may say to each other are dropped here, before anything reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from django.conf import settings

DROPPED = frozenset({b"forwarded", b"x-real-ip", b"daphne-root-path", b"x-script-name"})
DROPPED_PREFIX = b"x-forwarded-"
SCHEMES = {"http": "ws", "https": "wss"}

Headers = Sequence[tuple[bytes, bytes]]


def said_by_proxies(headers: Headers, name: bytes, proxies: int) -> str:
    """What the outermost trusted proxy said; what the first one did, if they were fewer. Empty when none spoke."""
    values = b",".join(value for key, value in headers if key == name).decode("latin-1").split(",")
    return values[-min(proxies, len(values))].strip() if proxies else ""


def client_address(headers: Headers, proxies: int) -> str:
    """An IP address; empty when there is none that can be believed."""
    said = said_by_proxies(headers, b"x-forwarded-for", proxies)
    if said.startswith("["):  # [2001:db8::1]:4711, as some write it
        said = said[1:].partition("]")[0]
    elif said.count(":") == 1:
        said = said.partition(":")[0]
    try:
        return str(ip_address(said))
    except ValueError:
        return ""


def is_over_https(headers: Headers, proxies: int) -> bool:
    """As the proxies say. Where they don't, it is as PUBLIC_URL says: this server itself speaks http only."""
    said = said_by_proxies(headers, b"x-forwarded-proto", proxies).lower()
    return said == "https" if said in SCHEMES else settings.HTTPS_ONLY


class BehindProxies:
    """The ASGI application, whose scope says who asks."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        if scope["type"] in ("http", "websocket"):
            headers, proxies = scope["headers"], settings.TRUSTED_PROXIES
            scheme = "https" if is_over_https(headers, proxies) else "http"
            address = client_address(headers, proxies)
            scope = {
                **scope,
                # The site stands at the root of its host. Daphne reads a prefix from a header that anybody may send.
                "root_path": "",
                "scheme": scheme if scope["type"] == "http" else SCHEMES[scheme],
                "client": [address, 0] if address else scope.get("client"),
                "headers": [
                    (name, value)
                    for name, value in headers
                    if name not in DROPPED and not name.startswith(DROPPED_PREFIX)
                ],
            }
        return await self.application(scope, receive, send)
