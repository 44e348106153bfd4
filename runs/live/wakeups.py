"""Tell those who stream events that there are new rows. A wake-up carries nothing and may be lost: readers go back to
the rows by their cursor, and look once a second in any case.

With REDIS_URL it goes through Redis, else by the database's own way (`pools.mailboxes`).
"""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import Any

from django.conf import settings
from django.db import transaction

from pools.mailboxes import Mailbox, open_mailbox, wake_on_commit, wake_together
from pools.together import Together

logger = logging.getLogger(__name__)

CHANNEL = "events"
REDIS_PATIENCE_SECONDS = 0.5
REDIS_PAUSE_SECONDS = 5.0  # after a failure nobody waits for Redis again so soon
# A subscription only listens: without these it would never notice that Redis, or the link to it, is gone for good.
KEEPALIVE = {
    getattr(socket, option): value
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if hasattr(socket, option)
}


def wake_readers() -> None:
    """Wake every reader, in every process, when the current transaction commits."""
    if not settings.REDIS_URL:
        wake_on_commit(CHANNEL)
    else:
        transaction.on_commit(_publish, robust=True)


def wake_readers_together(batch: Together) -> None:
    """The same, with what else goes in one round trip."""
    if not settings.REDIS_URL:
        wake_together(batch, CHANNEL)
    else:
        transaction.on_commit(_publish, robust=True)


def open_readers_mailbox() -> Mailbox:
    """Where this process hears of new rows."""
    return RedisMailbox() if settings.REDIS_URL else open_mailbox(CHANNEL)


def _channel() -> str:
    """Orchestrators that share a Redis do not wake each other."""
    return f"orchestrator:{settings.ORCHESTRATOR_ID}:{CHANNEL}"


class _Publisher:
    """One connection a process."""

    def __init__(self) -> None:
        self._pid = 0
        self._client: Any = None
        self._resting_until_seconds = 0.0

    def __call__(self) -> None:
        import redis

        if time.monotonic() < self._resting_until_seconds:
            return
        if self._pid != os.getpid():
            self._pid, self._client = os.getpid(), _connect()
        try:
            self._client.publish(_channel(), b"!")
        except redis.RedisError as error:
            self._resting_until_seconds = time.monotonic() + REDIS_PAUSE_SECONDS
            logger.warning("Redis can't be reached (%s): events may show up a second late.", error)


_publish = _Publisher()


def _connect() -> Any:
    import redis

    patience = REDIS_PATIENCE_SECONDS
    how: dict[str, Any] = {"socket_timeout": patience, "socket_connect_timeout": patience}
    if not settings.REDIS_URL.startswith("unix:"):
        how |= {"socket_keepalive": True, "socket_keepalive_options": KEEPALIVE}
    return redis.Redis.from_url(settings.REDIS_URL, **how)


class RedisMailbox:
    """A subscription of its own, made anew when it breaks."""

    def __init__(self) -> None:
        self._subscription: Any = None

    def wait(self, seconds: float) -> None:
        import redis

        try:
            if self._subscription is None:
                self._subscription = _connect().pubsub(ignore_subscribe_messages=True)
                self._subscription.subscribe(_channel())
                return  # look at once: what was published before is not heard
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                if self._subscription.get_message(timeout=left):
                    break
            while self._subscription.get_message(timeout=0):
                pass
        except (redis.RedisError, OSError):
            self._subscription = None
            time.sleep(seconds)
