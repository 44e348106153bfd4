"""Server-sent events out of a byte stream, as a tolerant reader sees them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pools.cloud.errors import AgentError

LONGEST_LINE_BYTES = 1 << 20


class ServerSentEvent(NamedTuple):
    """One event: its name (`message` when it has none) and its data lines, joined."""

    name: str
    data: str


def events(chunks: Iterable[bytes]) -> Iterator[ServerSentEvent]:
    """The events of a stream, however it is chunked. One that the stream's end cuts short is left out."""
    name = ""
    data: list[str] = []
    size = 0
    for line in _lines(chunks):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield ServerSentEvent(name or "message", "\n".join(data))
            name, data, size = "", [], 0
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)
            size += len(value) + 1
            if size > LONGEST_LINE_BYTES:
                raise AgentError("The sandbox sent an event that does not end.")


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    # Not str.splitlines: a line of output may hold U+2028 or a form feed, which do not end a line here.
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > LONGEST_LINE_BYTES:
            raise AgentError("The sandbox sent a line of output that does not end.")
        for line in whole:
            yield line.removesuffix(b"\r").decode(errors="replace")
