"""The way to a game inside its sandbox, and what may pass along it.

The token that goes with every request opens the sandbox's shell, too. So a path that could leave the game's port is not
cleaned up but refused, and headers pass by name: what is not listed stays here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import httpx

Headers = list[tuple[bytes, bytes]]

# What browsers write as it is, and encoded characters except a dot, a slash, a backslash or a control character.
SEGMENT = re.compile(rb"(?:[\w.~!$&'()*+,;=:@|^\[\]-]|%(?!2[ef]|5c|[01][0-9a-f]|7f)[0-9a-f]{2})*", re.IGNORECASE)
# The agent decodes a path once, and then these would begin a query, end the path, or begin an encoded character.
DECODED_BY_AGENT = re.compile(rb"%(3f|23|25)", re.IGNORECASE)
ENCODED_ONCE_MORE = re.compile(r"%([0-9a-f]{2}|u)", re.IGNORECASE)
NOT_AS_IT_IS = re.compile(rb"[|^\[\]\\]")  # browsers write these, RFC 3986 does not
# Also with what some servers cut off: parameters, blanks.
DOTS = re.compile(r"[.\s]+|[.\s]*;.*", re.DOTALL)
LEADING_OUT = frozenset("./\\%")
QUERY = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:@/?%|{}\[\]\\^`-]*")
HEADER_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
LONGEST_TARGET_BYTES = 8_000
NO_BODY = frozenset({204, 205, 304})
ADMISSION_PATH = "/api/processes"

REQUEST_HEADERS = frozenset(
    {
        b"accept",
        b"accept-language",
        b"cache-control",
        b"content-type",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"last-event-id",
        b"range",
        b"user-agent",
    }
)
RESPONSE_HEADERS = frozenset(
    {
        b"accept-ranges",
        b"cache-control",
        b"content-disposition",
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-range",
        b"content-type",
        b"etag",
        b"expires",
        b"last-modified",
        b"retry-after",
        b"vary",
    }
)


class ForbiddenPath(ValueError):
    """It could lead out of the game's port."""


def is_plain(path: bytes, query: bytes = b"") -> bool:
    """Whether every server reads it as the same path, below where it is put."""
    segments = path.split(b"/")
    return (
        all(segments[:-1])
        and all(SEGMENT.fullmatch(segment) and _is_unambiguous(segment) for segment in segments)
        and QUERY.fullmatch(query) is not None
    )


def _is_unambiguous(segment: bytes) -> bool:
    """Whether it stays one name however it is decoded: UTF-8 without the spellings that it forbids, and no wide dots or
    slashes, which some systems narrow."""
    try:
        name = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        return False
    narrowed = unicodedata.normalize("NFKC", name)
    return not (
        DOTS.fullmatch(name)
        or ENCODED_ONCE_MORE.search(name)
        or any(narrowed.count(mark) != name.count(mark) for mark in LEADING_OUT)
    )


def _written_out(text: bytes) -> bytes:
    return NOT_AS_IT_IS.sub(lambda found: b"%%%02X" % found[0][0], text)


@dataclass(frozen=True, slots=True)
class Upstream:
    """The place of one run's game: the sandbox's address, its token, the game's port."""

    url: str
    token: str = field(repr=False)
    port: int

    def target(self, path: bytes, query: bytes = b"") -> httpx.URL:
        """The address of `path`, which is what follows `/play/<run>/` as the client wrote it. Raises ForbiddenPath."""
        if not is_plain(path, query) or len(path) + len(query) > LONGEST_TARGET_BYTES:
            raise ForbiddenPath("The address has a part that is not passed on.")
        decoded_once = _written_out(DECODED_BY_AGENT.sub(rb"%25\1", path))
        raw = b"/proxy/%d/%s" % (self.port, decoded_once) + (b"?" + query.replace(b"\\", b"%5C") if query else b"")
        url = httpx.URL(self.url).copy_with(raw_path=raw)
        if url.raw_path != raw:  # a library that reads it otherwise than we do
            raise ForbiddenPath("The address can be read in more than one way.")
        return url

    @property
    def admission_url(self) -> str:
        """An address that the agent itself answers, to be asked whether it takes the token."""
        return self.url + ADMISSION_PATH

    def request_headers(self, given: Iterable[tuple[bytes, bytes]]) -> Headers:
        """Of a client's headers those that pass, and the token. A packed answer would not come through the agent."""
        passing = [
            (name, value) for name, value in given if name.lower() in REQUEST_HEADERS and HEADER_VALUE.fullmatch(value)
        ]
        return [*passing, (b"accept-encoding", b"identity"), (b"authorization", f"Bearer {self.token}".encode())]


def response_headers(given: Iterable[tuple[bytes, bytes]], status: int = 200) -> Headers:
    """Of a game's headers those that pass. A length that the game said of a body in chunks may be wrong: what is beyond
    it would be taken for the next answer on the same connection. So would one of an answer that has no body."""
    named = [(name.lower(), value) for name, value in given]
    passing = RESPONSE_HEADERS
    if status in NO_BODY or any(name == b"transfer-encoding" for name, _ in named):
        passing -= {b"content-length"}
    return [(name, value) for name, value in named if name in passing]


def inner_location(location: str, path: bytes, port: int) -> bytes | None:
    """Return where a redirect that came for `path` leads, as what follows `/play/<run>/`; None when it leads
    out of it."""
    own = f"localhost:{port}"
    try:
        leads_to = urlsplit(urljoin(f"http://{own}/{path.decode('ascii')}", location))
        inner, query = leads_to.path.removeprefix("/").encode("ascii"), leads_to.query.encode("ascii")
    except ValueError:
        return None
    is_inside = leads_to.scheme == "http" and leads_to.netloc in (own, f"127.0.0.1:{port}")
    if not is_inside or not is_plain(inner, query):
        return None
    return inner + (b"?" + query if query else b"")
