"""What is asked of a sandbox, and what is never asked: its token opens a shell."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.localcloud.agent.proxy import target_of
from runs.play.upstream import ForbiddenPath, Upstream, inner_location, is_plain, response_headers
from tests.fixtures.addresses import CLIMBING, PLAIN

GAME = Upstream("https://sandbox-0000beef-x.ondigitalocean.app", "the-token", 5000)
OURS = [(b"accept-encoding", b"identity"), (b"authorization", b"Bearer the-token")]
BELOW = "https://sandbox-0000beef-x.ondigitalocean.app/proxy/5000/"


@pytest.mark.parametrize("path", PLAIN)
def test_a_games_address_is_passed_on_as_it_was_written(path: bytes):
    assert str(GAME.target(path).raw_path, "ascii") == "/proxy/5000/" + path.decode()
    assert GAME.target(path).host == "sandbox-0000beef-x.ondigitalocean.app"


@pytest.mark.parametrize("path", CLIMBING)
def test_an_address_that_could_lead_out_of_the_games_port_is_refused(path: bytes):
    with pytest.raises(ForbiddenPath):
        GAME.target(path)


@pytest.mark.parametrize(
    "query", [b"a=1&b=2", b"q=%2e%2e%2f", b"u=http://evil.example/../..", b"x=%0d%0a", b"?", b"a[]=1", b"q=100%"]
)
def test_a_query_leads_nowhere_and_is_passed_on(query: bytes):
    assert GAME.target(b"a", query).raw_path == b"/proxy/5000/a?" + query


@pytest.mark.parametrize("query", [b"a\r\nb", b"a b", b"a\x00", b"a#b", b"\xff", b'"'])
def test_a_query_that_is_none_is_refused(query: bytes):
    with pytest.raises(ForbiddenPath):
        GAME.target(b"a", query)


def test_an_address_without_end_is_refused():
    with pytest.raises(ForbiddenPath):
        GAME.target(b"a" * 8_001)


@given(st.binary(max_size=40) | st.text("./\\%25ef;cC0aAu?#@: \r\n\t2", max_size=40).map(str.encode))
def test_whatever_is_asked_for_it_stays_below_the_games_port(path: bytes):
    try:
        url = GAME.target(path)
    except ForbiddenPath:
        return
    written = re.sub(rb"%(5B|5C|5D|5E|7C)", lambda found: bytes([int(found[1], 16)]), url.raw_path)
    assert re.sub(rb"%25(3f|23|25)", rb"%\1", written, flags=re.IGNORECASE) == b"/proxy/5000/" + path
    assert url.netloc == b"sandbox-0000beef-x.ondigitalocean.app"
    # However often it is decoded, and however its slashes are read.
    decoded = str(url)
    for _ in range(4):
        segments = decoded.removeprefix(BELOW).replace("\\", "/").split("/")
        assert decoded.startswith(BELOW)
        assert not any(segment.strip(". ") == "" for segment in segments[:-1])
        assert segments[-1] == "" or segments[-1].strip(". ") != ""
        decoded = unquote(decoded)


def test_a_question_mark_or_a_hash_in_a_name_stays_one_behind_the_agent_that_decodes_it():
    assert GAME.target(b"a%3Fb%23c%3f.txt", b"x=%3F").raw_path == b"/proxy/5000/a%253Fb%2523c%253f.txt?x=%3F"


@pytest.mark.parametrize(
    ("path", "asked_for"),
    [
        (b"level[1].json", b"level%5B1%5D.json"),
        (b"a|b^c.png", b"a%7Cb%5Ec.png"),
        (b"50%25.png", b"50%2525.png"),
        (b"100%25", b"100%2525"),
        (b"%25%20off.png", b"%2525%20off.png"),
    ],
)
def test_harmless_names_reach_the_game_behind_the_agent_that_decodes_them(path: bytes, asked_for: bytes):
    raw = GAME.target(path).raw_path
    assert raw == b"/proxy/5000/" + asked_for
    behind = target_of(unquote(raw.decode()).removeprefix("/proxy/5000/"), "")
    assert unquote(behind) == "/" + unquote(path.decode())


def test_a_backslash_in_a_query_is_passed_on():
    assert GAME.target(b"a", b"path=C:\\dir").raw_path == b"/proxy/5000/a?path=C:%5Cdir"


# Headers.


@pytest.mark.parametrize(
    "name",
    [
        "Authorization", "Connection", "Content-Length", "Cookie", "Cookie2", "Expect", "Forwarded", "Host",
        "Keep-Alive", "Origin", "Proxy", "Proxy-Authorization", "Proxy-Connection", "Referer", "TE",
        "Trailer", "Transfer-Encoding", "Upgrade", "Via", "X-Forwarded-For", "X-Forwarded-Host",
        "X-Forwarded-Proto", "X-HTTP-Method-Override", "X-Original-URL", "X-Real-IP", "X-Rewrite-URL",
        "X-CSRFToken", "Sec-WebSocket-Key", "CF-Connecting-IP",
    ],
)  # fmt: skip
def test_a_header_that_a_game_has_no_business_with_stays_here(name: str):
    for spelling in (name, name.lower(), name.upper()):
        assert GAME.request_headers([(spelling.encode(), b"x")]) == OURS


def test_the_token_is_ours_and_the_only_one():
    given_headers = [(b"Authorization", b"Bearer stolen"), (b"AUTHORIZATION", b"Basic eDp5"), (b"Accept", b"*/*")]
    assert GAME.request_headers(given_headers) == [(b"Accept", b"*/*"), *OURS]


def test_a_game_is_asked_for_its_answer_as_it_is_whatever_the_browser_takes():
    """The agent unpacks what is packed and keeps its length: a browser got a reset connection."""
    assert GAME.request_headers([(b"Accept-Encoding", b"gzip, br")]) == OURS


@pytest.mark.parametrize("value", [b"a\r\nX-Evil: 1", b"a\nb", b"a\x00b", b"a\x0bb", b"a\x7fb"])
def test_a_header_that_is_more_than_one_stays_here(value: bytes):
    assert GAME.request_headers([(b"accept", value)]) == OURS


@pytest.mark.parametrize(
    "name",
    [
        "Set-Cookie", "Set-Cookie2", "Content-Security-Policy", "Content-Security-Policy-Report-Only",
        "Location", "Refresh", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials",
        "Clear-Site-Data", "Alt-Svc", "Strict-Transport-Security", "Public-Key-Pins",
        "Service-Worker-Allowed", "Link", "Report-To", "NEL", "Permissions-Policy", "Referrer-Policy",
        "X-Frame-Options", "X-XSS-Protection", "X-Accel-Redirect", "X-Sendfile", "WWW-Authenticate",
        "Connection", "Transfer-Encoding", "Upgrade", "Trailer", "Server", "Content-Location",
        "Cross-Origin-Resource-Policy", "SourceMap", "Critical-CH", "Origin-Agent-Cluster", "Set-Login",
    ],
)  # fmt: skip
def test_a_game_says_nothing_to_browsers_that_is_ours_to_say(name: str):
    assert response_headers([(name.encode(), b"x"), (name.upper().encode(), b"y")]) == []


def test_a_games_own_headers_pass():
    given_headers = [(b"Content-Type", b"text/css"), (b"ETag", b'"1"'), (b"Content-Length", b"3")]
    assert response_headers(given_headers) == [
        (b"content-type", b"text/css"),
        (b"etag", b'"1"'),
        (b"content-length", b"3"),
    ]


def test_a_length_beside_chunks_is_dropped():
    """What the game sends beyond it would be taken for the next answer on the connection."""
    given_headers = [(b"Content-Length", b"3"), (b"Transfer-Encoding", b"chunked")]
    assert response_headers(given_headers) == []


def test_the_token_is_not_in_what_a_log_would_say():
    assert "the-token" not in repr(GAME)


@pytest.mark.parametrize("status", [204, 205, 304])
def test_an_answer_without_a_body_has_no_length(status: int):
    assert response_headers([(b"Content-Length", b"3"), (b"ETag", b'"1"')], status) == [(b"etag", b'"1"')]


# Redirects.


@pytest.mark.parametrize(
    ("location", "inner"),
    [
        ("/start", b"start"),
        ("next", b"levels/next"),
        ("../start", b"start"),
        ("?level=2", b"levels/one?level=2"),
        ("./", b"levels/"),
        ("/", b""),
        ("http://localhost:5000/start?x=1", b"start?x=1"),
        ("http://127.0.0.1:5000/start", b"start"),
        ("http://localhost:5000", b""),
        ("/start#there", b"start"),
        # Browsers would climb no higher than the root either.
        ("/../../../api/exec", b"api/exec"),
    ],
)
def test_a_redirect_inside_the_game_is_followed_there(location: str, inner: bytes):
    assert inner_location(location, b"levels/one", 5000) == inner


@pytest.mark.parametrize(
    "location",
    [
        "http://evil.example/",
        "https://localhost:5000/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example/",
        "/\t/evil.example/",
        "\t//evil.example/",
        "http:\\\\evil.example/",
        "http://localhost:5000@evil.example/",
        "http://evil.example#@localhost:5000/",
        "http://user@localhost:5000/",
        "http://localhost:8080/api/exec",
        "http://localhost/",
        "http://localhost:5000.evil.example/",
        "http://[::1]:5000/",
        "http://[",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "ws://localhost:5000/",
        "/a//b",
        "/%2e%2e/api",
        "/..%2f",
        "/a%00",
        "/a%0d%0aSet-Cookie:%20x=1",
        "/a\r\nSet-Cookie: x",
        "/ünter",
        "/a b",
        "/x, /y",
    ],
)
def test_a_redirect_that_leads_out_is_known(location: str):
    assert inner_location(location, b"levels/one", 5000) is None


@pytest.mark.parametrize("location", ["///evil.example/", "http:///evil.example/", "http:evil.example/"])
def test_a_redirect_that_browsers_read_otherwise_becomes_one_that_all_read_alike(location: str):
    assert (inner_location(location, b"", 5000) or b"evil.example/") == b"evil.example/"


@given(st.text(max_size=30) | st.text("/\\:.@%2ef5htp \t\r\nlocahs0#?;", max_size=30))
def test_whatever_a_redirect_says_what_it_becomes_is_plain(location: str):
    found = inner_location(location, b"levels/one", 5000)
    if found is not None:
        path, _, query = found.partition(b"?")
        assert is_plain(path, query)
        GAME.target(path, query)
