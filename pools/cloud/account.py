"""The account in use, from the settings: the real one when there is a token, the embedded local cloud when not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.utils.crypto import salted_hmac

from pools.cloud.app_platform import AppPlatform, DigitalOcean
from pools.cloud.budget import RequestBudget
from pools.cloud.records import AppSpec
from pools.cloud.sandbox_agent import SandboxAgent

if TYPE_CHECKING:
    from pools.models import Sandbox

NOBODY_LISTENS = 1  # a port that refuses: a cloud that is not running yet is a cloud that does not answer
_connected: dict[tuple[str, str, int], DigitalOcean] = {}


def local_token() -> str:
    """What opens the embedded local cloud: known to this installation only."""
    return salted_hmac("localcloud", "token", algorithm="sha256").hexdigest()


def local_endpoint() -> str:
    """Where the embedded local cloud listens; it writes its port when it starts."""
    try:
        port = int((settings.LOCALCLOUD_DIR / "port").read_text())
    except (OSError, ValueError):
        port = NOBODY_LISTENS
    return f"http://127.0.0.1:{port}"


def connect() -> AppPlatform:
    """The cloud. One client a process and address is kept, for its connections and what it has sent (`requests.py`)."""
    if settings.CLOUD_IS_EMBEDDED:
        token, endpoint = local_token(), local_endpoint()
    else:
        token, endpoint = settings.DIGITALOCEAN_TOKEN, settings.DIGITALOCEAN_API_URL
    per_minute = settings.CLOUD_REQUESTS_PER_MINUTE
    key = (token, endpoint, per_minute)
    if key not in _connected:
        _connected[key] = DigitalOcean(token, endpoint, RequestBudget(per_minute))
    return _connected[key]


def agent_of(sandbox: Sandbox) -> SandboxAgent:
    """The agent inside a sandbox that has its address."""
    return SandboxAgent(sandbox.url, sandbox.token)


def spec_of(sandbox: Sandbox) -> AppSpec:
    """What the cloud is asked for on behalf of a row."""
    return AppSpec(
        name=sandbox.name,
        owner=settings.ORCHESTRATOR_ID,
        image=sandbox.image,
        region=sandbox.region,
        size=sandbox.size,
        token=sandbox.token,
    )
