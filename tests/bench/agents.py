"""A stand-in for the agents of any number of sandboxes, in one process: it answers what a launch and a player ask.

Every address 127.x.y.z is one sandbox, so that each costs its first connection, as it does in the cloud. Run it as
`python -m tests.bench.agents`; it prints its port, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import sys

PAGE = (
    b"<!doctype html><html><head><title>Snake</title></head><body><canvas id='board'></canvas><script>"
    + b"/* as long as a small game's page */ " * 100
    + b"</script></body></html>"
)
PID = 11
BACKLOG = 1024


def _answer(body: bytes, kind: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (kind, len(body), body)


HEALTH = _answer(b'{"status":"healthy","mode":"service","timestamp":0}')
PROCESSES = _answer(b'[{"pid":%d,"command":"game","status":"running","log_file":"/tmp/game.log"}]' % PID)
DONE = _answer(b'{"success":true,"exit_code":0,"stdout":"","stderr":""}')
GAME = _answer(PAGE, b"text/html; charset=utf-8")


class Agent(asyncio.Protocol):
    """One connection. Requests come one after the other; a body is waited for and not looked at."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.came = b""

    def data_received(self, data: bytes) -> None:
        self.came += data
        while (end := self.came.find(b"\r\n\r\n")) >= 0:
            head = self.came[:end].lower()
            length, at = 0, head.find(b"content-length:")
            if at >= 0:
                length = int(head[at + 15 :].split(b"\r\n", 1)[0])
            if len(self.came) < end + 4 + length:
                return
            path = self.came[:end].split(b" ", 2)[1]
            self.came = self.came[end + 4 + length :]
            self.transport.write(answer(path))


def answer(path: bytes) -> bytes:
    if path.startswith(b"/proxy/"):
        return GAME
    if path == b"/health":
        return HEALTH
    return PROCESSES if path == b"/api/processes" else DONE


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Agent, "0.0.0.0", 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
