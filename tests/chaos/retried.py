"""Clients whose connections die at any moment, and who send each launch again under its key until they have an answer.

A connection is cut while the request is being sent, while the server works, or while it answers; by a close or by a
reset. So the client never knows whether it was heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: what is closed so is reset
ANSWER_SECONDS = 60
BODY = b'{"game": "snake"}'


@dataclass
class Told:
    """What the clients were answered: the runs by key, and how often they were cut off."""

    runs: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    refused: list[str] = field(default_factory=list)
    cuts: int = 0


def launch_all(
    port: int, keys: Sequence[str], *, at_once: int, seed: int, longest_ms: int, path: str = "/api/launch/cold"
) -> Told:
    """Launch once under each key. Half of all attempts are cut off within `longest_ms`."""
    told, dice = Told(), random.Random(seed)

    async def everybody() -> None:
        waiting = list(keys)

        async def client() -> None:
            while waiting:
                key = waiting.pop()
                while key not in told.runs and not told.refused:
                    await _attempt(port, path, key, told, dice, longest_ms)
                if dice.random() < 0.2:  # and some ask once more, though they were answered
                    await _attempt(port, path, key, told, dice, longest_ms)

        await asyncio.gather(*(client() for _ in range(at_once)))

    asyncio.run(everybody())
    return told


async def _attempt(port: int, path: str, key: str, told: Told, dice: random.Random, longest_ms: int) -> None:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Idempotency-Key: {key}\r\nContent-Length: {len(BODY)}\r\nConnection: close\r\n\r\n"
    )
    request = head.encode() + BODY
    is_cut = dice.random() < 0.5
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        if is_cut and dice.random() < 0.2:
            writer.write(request[: dice.randrange(len(request))])
            await writer.drain()
            told.cuts += 1
            return
        writer.write(request)
        await writer.drain()
        if is_cut:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(dice.choice([1, 100, 4000])), dice.uniform(0, longest_ms) / 1000)
            told.cuts += 1
            return
        answer = await asyncio.wait_for(reader.read(), ANSWER_SECONDS)
        _note(answer, key, told)
    except ConnectionError:
        told.cuts += 1
    finally:
        if is_cut and dice.random() < 0.5:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def _note(answer: bytes, key: str, told: Told) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    if status == 201:
        told.runs[key].add(json.loads(body)["run_id"])
    elif status != 503:  # a busy database: to be sent again
        told.refused.append(body.decode())
