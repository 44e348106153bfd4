"""The product's web server with less patience, so that tests of it need none."""

import httpx

from tests.fixtures.unwatched import application  # it loads the apps

# isort: split
from orchestrator_site import bodies, daphne_http
from runs.live import consumers
from runs.play import client, proxy
from tests.integration.runs.patience import (
    BODY_SECONDS,
    GAME_SECONDS,
    HEAD_SECONDS,
    HEARTBEAT_SECONDS,
    KEEP_ALIVE_SECONDS,
    STALL_SECONDS,
)

__all__ = ["application"]
consumers.HEARTBEAT_SECONDS = HEARTBEAT_SECONDS
consumers.STALL_SECONDS = STALL_SECONDS
proxy.STALL_SECONDS = client.STALL_SECONDS = STALL_SECONDS
daphne_http.HEAD_SECONDS, bodies.BODY_SECONDS = HEAD_SECONDS, BODY_SECONDS
client.BODY_SECONDS = BODY_SECONDS
daphne_http.KEEP_ALIVE_SECONDS = KEEP_ALIVE_SECONDS
proxy.TIMEOUT = httpx.Timeout(GAME_SECONDS)
