"""Server-sent events, as they come from agents that we did not write."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools.cloud.errors import AgentError
from pools.cloud.sse import LONGEST_LINE_BYTES, events

STREAM = (
    ": hello\n\n"
    'event: stdout\r\ndata: {"line": "één"}\r\n\r\n'
    "id: 7\nevent:stderr\ndata:first\ndata: second\nretry: 10\n\n"
    "data\n\n"
    "event: nothing\n\n"
    "data: a\u2028b\x0cc\n\n"
    "event: exit\ndata: 0\n\n"
    "data: cut short"
).encode()
EVENTS = [
    ("stdout", '{"line": "één"}'),
    ("stderr", "first\nsecond"),
    ("message", ""),
    ("message", "a\u2028b\x0cc"),
    ("exit", "0"),
]


@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_are_the_same_however_the_stream_is_cut(cuts):
    edges = [0, *sorted(cuts), len(STREAM)]
    assert list(events(STREAM[a:b] for a, b in pairwise(edges))) == EVENTS


def test_bytes_that_are_no_text_do_not_stop_the_stream():
    assert [event.data for event in events([b"data: \xff\xfe\n\ndata: next\n\n"])] == ["\ufffd\ufffd", "next"]


def test_a_line_that_never_ends_is_not_kept():
    sent = 0

    def chunks():
        nonlocal sent
        while True:
            sent += 65536
            yield b"x" * 65536

    with pytest.raises(AgentError):
        list(events(chunks()))
    assert sent <= 2 * LONGEST_LINE_BYTES
