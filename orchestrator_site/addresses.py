"""What PUBLIC_URL and PLAY_URL may be, beside each other and beside what the server listens on. Read by settings."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  compared, not bound
# A browser keeps these two apart, and both lead to this machine.
OTHER_LOOPBACK = {"127.0.0.1": "localhost", "localhost": "127.0.0.1", "::1": "localhost"}


def default_public_url(bind: str, port: int) -> str:
    """The address at which a browser on this machine finds the site."""
    host = "127.0.0.1" if bind in EVERYWHERE else bind
    return f"http://{f'[{host}]' if ':' in host else host}{'' if port == 80 else f':{port}'}"


def other_loopback(public_url: str) -> str:
    """The same address by this machine's other name; empty when it has none."""
    parts = urlsplit(public_url)
    other = OTHER_LOOPBACK.get(parts.hostname or "")
    return f"{parts.scheme}://{other}{f':{parts.port}' if parts.port else ''}" if other else ""


def host_pattern(url: str) -> str:
    """An address's host as ALLOWED_HOSTS names it."""
    host = urlsplit(url).hostname or ""
    return f"[{host}]" if ":" in host else host.removeprefix("*")


def contradiction(public_url: str, play_url: str, *, bind: str, port: int, proxies: int) -> str:
    """Why these can't all be meant, as a sentence that says what to do; empty when they can."""
    public, play = urlsplit(public_url), urlsplit(play_url)
    if public.scheme == "https" and play.scheme == "http":
        return (
            f"PLAY_URL is {play_url!r}, but PUBLIC_URL is {public_url!r}: no browser shows a game over http in a page "
            "over https. Begin PLAY_URL with https://."
        )
    host = public.hostname or ""
    where = f"PUBLIC_URL is {public_url!r}, but BIND is {bind!r}"
    if proxies or bind in EVERYWHERE or public.scheme == "https":
        return ""
    if _is_loopback(host) and not _is_loopback(bind):
        return f"{where}: nothing listens there. Set PUBLIC_URL={default_public_url(bind, port)}, or BIND=0.0.0.0."
    if _is_address(host) and not _is_loopback(host) and _is_loopback(bind):
        return (
            f"{where}, which only this machine reaches. Set BIND=0.0.0.0; or, behind a proxy, TRUSTED_PROXIES=1 for "
            "each proxy that sets X-Forwarded-For."
        )
    return ""


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)
