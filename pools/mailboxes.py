"""Wake those who wait for rows the moment the rows are committed, so that nobody polls.

A wake-up carries nothing and may be lost: it only says "look now". Who waits sets a limit and looks anyway.
By Redis where REDIS_URL is set. Else SQLite: a unix datagram to every mailbox on this machine, which are all there can
be. PostgreSQL: NOTIFY, which no pooler in transaction mode passes on.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import socket
import stat
import tempfile
from functools import partial
from pathlib import Path
from typing import Protocol

from django.conf import settings
from django.db import connection, connections, transaction

from pools import clock, pooling, redis_wakes
from pools.together import Together

logger = logging.getLogger(__name__)

LONGEST_ADDRESS_BYTES = 100  # a unix socket's path: 104 on macOS, 108 on Linux
SOCKET_NAME_BYTES = 25
POLL_SECONDS = 0.2
PROVEN_SECONDS = 5.0  # how long a quiet connection is believed to be one to the server that is written to
TASKS = "tasks"  # the channel of those who run tasks


class Mailbox(Protocol):
    def wait(self, seconds: float) -> None:
        """Return at the next wake-up, or at one since the last wait, or after `seconds`."""


def wake_on_commit(channel: str, using: str = "default") -> None:
    """Wake every mailbox of `channel` when the current transaction commits; at once outside of one."""
    if settings.REDIS_URL:
        transaction.on_commit(partial(redis_wakes.publish, channel), using=using, robust=True)
    elif connections[using].vendor == "postgresql":
        with connections[using].cursor() as cursor:
            cursor.execute(f"NOTIFY {_postgresql_name(channel)}")
    else:
        transaction.on_commit(partial(_send_datagrams, channel), using=using, robust=True)


def wake_together(batch: Together, channel: str) -> None:
    """The same, with what else goes in one round trip."""
    if connection.vendor == "postgresql" and not settings.REDIS_URL:
        batch.add(f"NOTIFY {_postgresql_name(channel)}")
    else:
        wake_on_commit(channel)


def open_mailbox(channel: str, using: str = "default") -> Mailbox:
    """A mailbox of the calling process, not to be used after a fork. Raises OperationalError of Django's."""
    if settings.REDIS_URL:
        return redis_wakes.RedisMailbox(channel)
    if connections[using].vendor == "postgresql":
        with connections[using].wrap_database_errors:
            return ListeningMailbox(channel, using)
    try:
        return SocketMailbox(channel)
    except OSError as error:
        logger.warning("No wake-ups here (%s): looking every %g s instead.", error, POLL_SECONDS)
        return PollingMailbox()


def socket_folder(channel: str) -> Path:
    """Return the folder of a channel's mailboxes: under VAR_DIR, or a short path that stands for it. Raises OSError."""
    folder: Path = settings.VAR_DIR / "wake" / channel
    if len(os.fsencode(folder)) + SOCKET_NAME_BYTES > LONGEST_ADDRESS_BYTES:
        digest = hashlib.sha256(os.fsencode(settings.VAR_DIR)).hexdigest()[:12]
        ours = Path(tempfile.gettempdir()) / f"orchestrator-{os.getuid()}-{digest}"
        ours.mkdir(mode=0o700, exist_ok=True)
        if (found := ours.lstat()).st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            raise PermissionError(f"{ours} is somebody else's")  # anybody may make a folder or a link of that name
        folder = ours / channel
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _send_datagrams(channel: str) -> None:
    try:
        folder = socket_folder(channel)
    except OSError:
        return  # so nobody waits there either
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        for path in folder.glob("*.sock"):
            try:
                sender.sendto(b"!", str(path))
            except BlockingIOError:
                pass  # it is full, so its reader will wake
            except (ConnectionRefusedError, FileNotFoundError):
                path.unlink(missing_ok=True)  # its process is gone


def _postgresql_name(channel: str) -> str:
    return f"orchestrator_{channel}"


class SocketMailbox:
    def __init__(self, channel: str) -> None:
        # Not the process id alone: containers that share the folder may have the same.
        path = socket_folder(channel) / f"{os.getpid()}-{secrets.token_hex(4)}.sock"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))

    def wait(self, seconds: float) -> None:
        try:
            self.socket.settimeout(seconds)
            self.socket.recv(1)
            self.socket.setblocking(False)
            while self.socket.recv(1):  # one look answers all of them
                pass
        except (TimeoutError, BlockingIOError):
            pass


class ListeningMailbox:
    """A PostgreSQL connection of its own, made anew when it breaks."""

    def __init__(self, channel: str, using: str) -> None:
        self.channel, self.using = _postgresql_name(channel), using
        self._connect()
        if pooling.are_sessions_shared(using):
            logger.warning(pooling.SHARED)

    def _connect(self) -> None:
        self.connection = pooling.connect(self.using)
        self.connection.execute(f"LISTEN {self.channel}")
        self.proven_at_seconds = clock.monotonic()

    def wait(self, seconds: float) -> None:
        import psycopg

        try:
            if self.connection.closed:
                self._connect()
            elif clock.monotonic() - self.proven_at_seconds > PROVEN_SECONDS:
                self._prove()
            for _ in self.connection.notifies(timeout=seconds, stop_after=1):
                pass
        except psycopg.Error:
            self.connection.close()
            clock.sleep(seconds)

    def _prove(self) -> None:
        """Leave a server that has become read-only: nobody writes there, so nobody would wake us."""
        self.proven_at_seconds = clock.monotonic()
        row = self.connection.execute("SELECT current_setting('transaction_read_only')").fetchone()
        if row != ("off",):
            self.connection.close()
            self._connect()


class PollingMailbox:
    def wait(self, seconds: float) -> None:
        clock.sleep(min(seconds, POLL_SECONDS))
