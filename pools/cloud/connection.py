"""The account in use, from the settings: the real one when there is a token, the embedded local cloud when not."""

from __future__ import annotations

from django.conf import settings
from django.utils.crypto import salted_hmac

from pools import clock
from pools.cloud.app_platform import AppPlatform, DigitalOcean
from pools.cloud.budget import RequestBudget

NOBODY_LISTENS = 1  # a port that refuses: a cloud that is not running yet is a cloud that does not answer
_connected: dict[tuple[str, str, int], DigitalOcean] = {}


def local_token() -> str:
    """Return the token of the embedded local cloud, known to this installation only."""
    return salted_hmac("localcloud", "token", algorithm="sha256").hexdigest()


def local_endpoint() -> str:
    """Return the address of the embedded local cloud, which writes its port when it starts."""
    try:
        port = int((settings.LOCALCLOUD_DIR / "port").read_text())
    except (OSError, ValueError):
        port = NOBODY_LISTENS
    return f"http://127.0.0.1:{port}"


def account() -> tuple[str, str]:
    """The token of the account in use, and the address of its API."""
    if settings.CLOUD_IS_EMBEDDED:
        return local_token(), local_endpoint()
    return settings.DIGITALOCEAN_TOKEN, settings.DIGITALOCEAN_API_URL


def connect() -> AppPlatform:
    """The cloud. One client is kept for each process and address: its connections, and its count of what it sent."""
    token, endpoint = account()
    per_minute = settings.CLOUD_REQUESTS_PER_MINUTE
    key = (token, endpoint, per_minute)
    if key not in _connected:
        _connected[key] = DigitalOcean(token, endpoint, new_budget(), now=shared_clock)
    return _connected[key]


def new_budget() -> RequestBudget:
    """A budget that counts by the database's time: what it counts is compared across machines."""
    return RequestBudget(settings.CLOUD_REQUESTS_PER_MINUTE, clock=shared_clock)


def shared_clock() -> float:
    return clock.now().timestamp()
