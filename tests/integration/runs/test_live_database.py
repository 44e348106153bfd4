"""The threads that read for streams and games."""

from __future__ import annotations

import asyncio
import threading

import pytest
from django.db import OperationalError, connection

from runs.live.database import THREADS, read, write

pytestmark = pytest.mark.django_db(transaction=True)


async def test_who_waited_for_a_lock_in_vain_does_not_wait_a_second_time():
    asked: list[int] = []

    def locked() -> None:
        connection.ensure_connection()
        asked.append(1)
        raise OperationalError("database is locked")

    with pytest.raises(OperationalError):
        await read(locked)
    assert len(asked) == 1


async def test_a_connection_that_broke_is_made_anew_and_asked_once_more():
    asked: list[int] = []

    def broken_once() -> str:
        connection.ensure_connection()
        asked.append(1)
        if len(asked) == 1:
            connection.connection.close()
            connection.connection = None
            raise OperationalError("the server closed the connection")
        return "found"

    assert await read(broken_once) == "found"


async def test_no_reader_waits_for_those_that_write():
    """Four that met a dead game waited for a lock, and every game and stream with them."""
    may_go_on = threading.Event()
    writing = [asyncio.ensure_future(write(may_go_on.wait, 30)) for _ in range(2 * THREADS)]
    try:
        async with asyncio.timeout(20):
            assert await read(lambda: "read") == "read"
    finally:
        may_go_on.set()
        await asyncio.gather(*writing)
