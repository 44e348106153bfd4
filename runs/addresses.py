"""Addresses as browsers know them, from PUBLIC_URL and PLAY_URL; never from what a request says of itself.

Games live on an origin of their own, so that none can show an address of the site (`history.pushState`), and what a
browser keeps for the site is never near them. Where PLAY_URL is PUBLIC_URL, they have none and stay in their frames.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

from django.conf import settings

ANY_NAME = "*."
IPV6_PREFIX = 64  # what one household or server has: within it addresses cost nothing


def page_url(path: str) -> str:
    """The whole address of a page, or of an address of the API."""
    return f"{settings.PUBLIC_URL}{path}"


def play_path(run_id: UUID) -> str:
    return f"/play/{run_id}/"


def api_play_path(run_id: UUID) -> str:
    return f"/api/game/{run_id}/"


def play_origin(run_id: UUID) -> str:
    """Where a run's game is; with a wildcard, each has a name of its own."""
    return str(settings.PLAY_URL).replace(ANY_NAME, f"{run_id}.")


def play_url(run_id: UUID) -> str:
    return play_origin(run_id) + play_path(run_id)


def games_have_an_origin() -> bool:
    return bool(settings.PLAY_URL != settings.PUBLIC_URL)


def policy_source(url: str) -> str:
    """An origin (or an address) as a content security policy may name it: no IPv6 address can be."""
    parts = urlsplit(url)
    return f"{parts.scheme}:" if ":" in (parts.hostname or "") else url


def is_for_games(host: str, port: int | None) -> bool:
    """Whether a request came to the games' origin: by its Host; by the port it came in at, where a proxy has cut that
    from the name."""
    if not games_have_an_origin():
        return False
    return _came_to(urlsplit(settings.PLAY_URL), host, port, other=urlsplit(settings.PUBLIC_URL))


def is_for_pages(host: str, port: int | None) -> bool:
    """Whether a request came to the site's own origin. There are names beside the two: a proxy's for this server."""
    return _came_to(urlsplit(settings.PUBLIC_URL), host, port, other=urlsplit(settings.PLAY_URL))


def _came_to(wanted: SplitResult, host: str, port: int | None, *, other: SplitResult) -> bool:
    asked = _split(host)
    if asked is None or not _is_named(asked.hostname or "", wanted.hostname or ""):
        return False
    if wanted.hostname != other.hostname:
        return True
    if asked.port is not None:
        return asked.port == _port(wanted)
    if settings.PLAY_PORT and port is not None:
        return (port == settings.PLAY_PORT) == (wanted.geturl() == settings.PLAY_URL)
    return _port(wanted) == _port(urlsplit(f"{wanted.scheme}://{host}"))


def _split(host: str) -> SplitResult | None:
    try:
        parts = urlsplit(f"http://{host}")
        _ = parts.port
    except ValueError:
        return None
    return parts


def _is_named(host: str, wanted: str) -> bool:
    return host.endswith(wanted[1:]) if wanted.startswith(ANY_NAME) else host == wanted


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def network_of(address: str) -> str | None:
    """Return an IPv4 address as it is, or the first address of an IPv6 address's network; None for what is neither."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), IPV6_PREFIX), strict=False).network_address)
