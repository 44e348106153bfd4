"""Lines as server-sent events: the text that a browser's EventSource reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pools import clock
from pools.moments import as_text
from runs.live.hub import Line

RETRY_MS = 2_000
PART_CHARACTERS = 32_768
# Some proxies pass nothing on before they have a few KiB: without this they would hold back the beginning.
PADDING = ":" + " " * 2_048 + "\n"
BEGINNING = f"{PADDING}retry: {RETRY_MS}\n\n"
KEEPALIVE = "event: keepalive\ndata:\n\n"  # the first demo's heartbeat
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


def is_wanted(accept: str) -> bool:
    """Whether a client takes them, by its header Accept."""
    return any(part.partition(";")[0].strip().lower() == "text/event-stream" for part in accept.split(","))


def parts(lines: Sequence[Line]) -> Iterator[str]:
    """As many lines at a time as a connection takes at once; a heartbeat when there are none.

    A heartbeat has no id, so a reader's cursor stays. By the one that comes at once a browser's EventSource knows that
    nothing on the way holds the stream back. What a line is to the first demo has none either, and comes before it: who
    was cut off between the two gets both again.
    """
    if not lines:
        yield f'event: heartbeat\ndata: {{"kind":"heartbeat","at":"{as_text(clock.now())}"}}\n\n{KEEPALIVE}'
    part = ""
    for line in lines:
        part += "".join(f"event: {name}\ndata: {data}\n\n" for name, data in line.demo)
        part += f"id: {line.seq}\nevent: {line.kind}\ndata: {line.json}\n\n"
        if len(part) >= PART_CHARACTERS or line is lines[-1]:
            yield part
            part = ""
