"""Whether a browser's request comes from this site's own pages.

Other sites, and the games (whose origin is opaque, "null"), must not launch or end anything with a visitor's cookies. A
program that is not a browser sends no Origin and no Sec-Fetch-Site, and has no cookies to abuse. Sites that
CORS_ALLOWED_ORIGINS names may use the API, but without cookies: `orchestrator_site.cross_origin` takes them off.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from pools.problems import Problem
from runs.addresses import is_for_games


def is_allowed_host(host: str) -> bool:
    """Whether the site answers to this name (ALLOWED_HOSTS), so that a foreign name can't be pointed at it."""
    domain, _ = split_domain_port(host)
    return bool(domain) and (settings.DEBUG or validate_host(domain, settings.ALLOWED_HOSTS))


def require_allowed_host(host: str) -> None:
    """As Django does for its views: the site does not answer to names that are not its own. Raises Problem."""
    if not is_allowed_host(host):
        raise Problem(400, "The site does not answer to this host name (ALLOWED_HOSTS).", code="host_not_allowed")


def is_own_origin(origin: str, host: str) -> bool:
    """Whether `origin` is this site as the request addressed it (`host`), or one that the settings trust."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return False
    trusted = f"{parts.scheme}://{parts.netloc}".lower() in {each.lower() for each in settings.CSRF_TRUSTED_ORIGINS}
    return trusted or (parts.netloc.lower() == host.lower() and is_allowed_host(host) and not is_for_games(host, None))


def require_may_change(*, origin: str | None, fetch_site: str | None, host: str) -> None:
    """Neither other sites nor games may change anything with a visitor's browser. Raises Problem."""
    if not may_change(origin=origin, fetch_site=fetch_site, host=host):
        detail = "Browsers may do this from this site's own pages, and from those that CORS_ALLOWED_ORIGINS names."
        raise Problem(403, detail, code="foreign_page")


def may_change(*, origin: str | None, fetch_site: str | None, host: str) -> bool:
    """Whether a request that changes something may do so, from what its browser says about where it comes from."""
    if origin is not None:
        return is_own_origin(origin, host) or origin in settings.CORS_ALLOWED_ORIGINS
    return fetch_site in (None, "", "same-origin", "none")
