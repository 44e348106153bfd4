"""Wake-ups by Redis (or Valkey), where REDIS_URL is set: nothing of them needs a session of PostgreSQL's."""

from __future__ import annotations

import logging
import os
import socket
from contextlib import closing
from typing import Any

from django.conf import settings

from pools import clock

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 0.5
PAUSE_SECONDS = 5.0  # after a failure nobody waits for Redis again so soon
# A subscription only listens: without these it would never notice that Redis, or the link to it, is gone for good.
KEEPALIVE = {
    getattr(socket, option): value
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if hasattr(socket, option)
}


def _name(channel: str) -> str:
    """Orchestrators that share a Redis do not wake each other."""
    return f"orchestrator:{settings.ORCHESTRATOR_ID}:{channel}"


class _Publisher:
    """One connection a process."""

    def __init__(self) -> None:
        self._pid = 0
        self._client: Any = None
        self._resting_until_seconds = 0.0

    def __call__(self, channel: str) -> None:
        import redis

        if clock.monotonic() < self._resting_until_seconds:
            return
        if self._pid != os.getpid():
            self._pid, self._client = os.getpid(), _connect()
        try:
            self._client.publish(_name(channel), b"!")
        except redis.RedisError as error:
            self._resting_until_seconds = clock.monotonic() + PAUSE_SECONDS
            logger.warning("Redis can't be reached (%s): events and tasks may be a second late.", error)


publish = _Publisher()


def _connect() -> Any:
    import redis

    how: dict[str, Any] = {"socket_timeout": PATIENCE_SECONDS, "socket_connect_timeout": PATIENCE_SECONDS}
    if not settings.REDIS_URL.startswith("unix:"):
        how |= {"socket_keepalive": True, "socket_keepalive_options": KEEPALIVE}
    return redis.Redis.from_url(settings.REDIS_URL, **how)


def is_there() -> bool:
    """Whether Redis answers."""
    import redis

    try:
        with closing(_connect()) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


class RedisMailbox:
    """A subscription of its own, made anew when it breaks."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self._subscription: Any = None

    def wait(self, seconds: float) -> None:
        import redis

        try:
            if self._subscription is None:
                self._subscription = _connect().pubsub(ignore_subscribe_messages=True)
                self._subscription.subscribe(_name(self.channel))
                return  # look at once: what was published before is not heard
            until = clock.monotonic() + seconds
            while (left := until - clock.monotonic()) > 0:
                if self._subscription.get_message(timeout=left):
                    break
            while self._subscription.get_message(timeout=0):
                pass
        except (redis.RedisError, OSError):
            self._subscription = None
            clock.sleep(seconds)
