"""Where webhooks may lead: out, to public addresses alone."""

from __future__ import annotations

import httpcore
import httpx
from django.conf import settings

from pools.cloud.bounded import Punctual
from pools.cloud.outward import require_public
from pools.problems import Problem

LONGEST_URL = 500
HIGHEST_PORT = 65_535
LOOKUP_SECONDS = 3.0  # for whoever sets an address
DEFAULT_PORTS = {"http": 80, "https": 443}


class Outward(Punctual):
    """Opens connections to public addresses alone: it is the very address that was looked at which is connected to, so
    a name that resolves to another one a moment later leads nowhere else."""

    def addresses(self, host: str, port: int, seconds: float | None = None) -> list[str]:
        found = super().addresses(host, port, seconds)
        if not settings.WEBHOOKS_MAY_GO_INSIDE:
            require_public(host, found)
        return found


def require_allowed(url: str) -> None:
    """Raises Problem that names the field `url`, for one that is none or leads inside."""
    target = _parsed(url)
    try:
        Outward().addresses(target.raw_host.decode(), target.port or DEFAULT_PORTS[target.scheme], LOOKUP_SECONDS)
    except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
        raise Problem.field("url", str(error), code="bad_target") from None


def _parsed(url: str) -> httpx.URL:
    if len(url) > LONGEST_URL:
        raise _bad(f"it has more than {LONGEST_URL} characters")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise _bad("it has characters that an address has not")
    try:
        target = httpx.URL(url)
        host = target.host  # it is decoded here
    except (httpx.InvalidURL, UnicodeError) as error:
        raise _bad(str(error)) from None
    if target.scheme not in DEFAULT_PORTS or not host:
        raise _bad("it must begin with https:// or http://, and name a host")
    if target.port is not None and not 0 < target.port <= HIGHEST_PORT:
        raise _bad(f"its port must be from 1 to {HIGHEST_PORT}")
    if target.userinfo:
        raise _bad("a name and password in it would be shown: leave them out")
    if target.fragment:
        raise _bad("what follows # is never sent: leave it out")
    return target


def _bad(why: str) -> Problem:
    return Problem.field("url", why, code="bad_target")
