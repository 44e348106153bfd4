"""Readers of event streams that know nothing of the product: plain HTTP, plain sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx

from tests.fixtures.web import PLAIN


class Sent(NamedTuple):
    """One server-sent event as the specification reads it."""

    event: str
    id: str
    data: Any


def server_sent(lines: Iterator[str]) -> Iterator[Sent]:
    """Those for readers of ours. What is there for the first demo alone has no kind."""
    return (sent for sent in all_sent(lines) if sent.data and "kind" in sent.data)


def all_sent(lines: Iterator[str]) -> Iterator[Sent]:
    event, last_id, data = "", "", []
    for line in lines:
        if not line:
            if data:
                text = "\n".join(data)
                yield Sent(event or "message", last_id, json.loads(text) if text else None)
            event, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            event = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            last_id = value


def read_stream(url: str, *, most: int | None = None, **options: Any) -> list[dict[str, Any]]:
    """The events of a stream, heartbeats aside, until it ends or there are so many."""
    read: list[dict[str, Any]] = []
    with httpx.stream("GET", url, **PLAIN, **options) as answer:
        assert answer.status_code == 200, answer.read()
        for sent in server_sent(answer.iter_lines()):
            if sent.event != "heartbeat":
                assert sent.id == str(sent.data["seq"])
                assert sent.event in (sent.data["kind"], "message")
                read.append(sent.data)
            if most is not None and len(read) >= most:
                break
    return read
