"""One HTTP request to a process in the sandbox, without a client library: the agent must stay small."""

from __future__ import annotations

import asyncio
import http.client
import io
import socket

Headers = list[tuple[str, str]]


class UpstreamDown(Exception):
    """Nothing listens, or it hung up."""


class UpstreamSlow(Exception):
    """It did not answer in time."""


async def fetch(port: int, method: str, target: str, headers: Headers, body: bytes) -> tuple[int, Headers, bytes]:
    """Ask the process on that loopback port; the whole answer is read. Raises UpstreamDown, UpstreamSlow."""
    return await asyncio.to_thread(_fetch, port, method, target, headers, body)


def _fetch(port: int, method: str, target: str, headers: Headers, body: bytes) -> tuple[int, Headers, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.connect()
        if hasattr(socket, "TCP_QUICKACK"):  # a server that sends head and body apart would wait 40 ms for our ACK
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", f"localhost:{port}")
        for name, value in headers:
            connection.putheader(name, value)
        if body or method in ("POST", "PUT", "PATCH"):
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(io.BytesIO(body) if body else None)
        response = connection.getresponse()
        return response.status, response.getheaders(), response.read()
    except TimeoutError as error:
        raise UpstreamSlow from error
    except (OSError, http.client.HTTPException) as error:
        raise UpstreamDown from error
    finally:
        connection.close()
