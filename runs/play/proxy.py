"""`/play/<run>/…`: the game in its sandbox, for the player's browser.

Game code is not trusted. It gets an origin of its own that nothing else shares (CSP `sandbox`), sees none of our
cookies and sets none, and a browser loads nothing for it from anywhere but its own address. It is shown on an origin
where there are only games; where there is none, only in a frame of our page, for its script could write any of our
addresses above it. How a request gets to the game, and to nothing else, is `runs.play.upstream`'s business.

A plain ASGI application, no consumer: its safety rests on the path as the client wrote it (`raw_path`), which Channels'
router decodes; and it passes a body on as it comes.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from uuid import UUID
from weakref import WeakKeyDictionary

import httpx
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import Http404, HttpRequest, HttpResponse

from pools import agent_keys, claims, clock
from pools.about import about
from pools.cloud.sandbox_agent import may_be_the_agents_refusal
from pools.meters import OTHER
from pools.models import Sandbox
from pools.problems import Problem
from pools.traces import first_span
from runs import metrics
from runs.addresses import (
    games_have_an_origin,
    is_for_games,
    is_for_pages,
    network_of,
    page_url,
    play_origin,
    play_path,
    play_url,
    policy_source,
)
from runs.live.backpressure import Flow
from runs.live.closing import Closing, until_closing
from runs.live.database import read, write
from runs.models import OVER, Run, RunState
from runs.origins import require_allowed_host
from runs.play.client import STALL_SECONDS, Client, Receive, Scope, Send, header
from runs.play.connections import Transport, ask, connections_to, is_our_shortage
from runs.play.notices import (
    BACK_SOON,
    BUSY,
    CUT_OFF,
    DEAD,
    LEADS_OUT,
    LOCKED,
    NOT_FOR_OUR_PAGES,
    NOT_PASSED_ON,
    NOT_THERE,
    SLOW,
    STARTING,
    TOO_MANY,
    Notice,
    Refused,
)
from runs.play.packed import note_cut
from runs.play.shares import NoTurn, Shares
from runs.play.upstream import ForbiddenPath, Headers, Upstream, inner_location, response_headers

logger = logging.getLogger(__name__)

ADDRESS = re.compile(rb"/play/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?:/(.*))?", re.DOTALL)
SEAT_KEPT_SECONDS = 1.0
MOST_SEATS = 1_000
# The agent gives up after 60 s and says so.
TIMEOUT = httpx.Timeout(65, connect=5, pool=5)
# For an answer when this process stops: one whose length is known comes to its end, another may be endless.
WHOLE_SECONDS, ENDLESS_SECONDS = 60.0, 10.0
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
# A game's own requests come from an opaque origin; from ours, such a request would make its code that of our page.
RUN_BY_A_PAGE = frozenset({"script", "style", "worker", "sharedworker", "serviceworker"})
BAD_GATEWAY, UNAVAILABLE, GATEWAY_TIMEOUT = 502, 503, 504

NOSNIFF = (b"x-content-type-options", b"nosniff")
# What `_is_on_top` goes by: else Firefox shows in a tab what it has kept from a frame, and does not ask.
VARIES = (b"vary", b"sec-fetch-dest, accept, referer")
ALWAYS: Headers = [
    (b"access-control-allow-origin", b"*"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"cross-origin"),  # the game's own files are cross-origin to its opaque origin
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
]
PREFLIGHT: Headers = [
    (b"access-control-allow-methods", ", ".join(sorted(METHODS)).encode()),
    (b"access-control-allow-headers", b"cache-control, content-type, if-match, if-none-match, range"),
    (b"access-control-max-age", b"600"),
]


def frame_ancestors() -> str:
    """Which pages show a game: the site's own."""
    return f"frame-ancestors {policy_source(settings.PUBLIC_URL)}"


def own_headers() -> Headers:
    """Of what is no game's."""
    # Without `allow-scripts` (there are none) a browser does not look again by itself.
    policy = f"sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; {frame_ancestors()}"
    return [*ALWAYS, (b"content-security-policy", policy.encode())]


def play_address(_request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Gives the address its name in Django, which is never asked for it where `runs.routing` is in front."""
    raise Http404(f"Games are served beside Django, run {run_id} too.")


@dataclass(frozen=True, slots=True)
class Seat:
    """A run as the proxy knows it: its state, and the way to its game while it runs."""

    state: str
    end_reason: str
    upstream: Upstream | None
    is_back_soon: bool = False  # its game stopped, and is being started again


# Each page of a game begins with it; Django's own way to this statement takes longer than the database.
SEAT_SQL = """
SELECT r.state, r.end_reason, r.deploy_lease_until IS NOT NULL, COALESCE(r.port, g.port), r.sandbox_id,
  s.url, s.token_key
FROM runs_run r JOIN games_game g ON g.id = r.game_id LEFT JOIN pools_sandbox s ON s.id = r.sandbox_id
WHERE r.id = %s"""


def seat_of(run_id: UUID) -> Seat | None:
    """None when there is no such run."""
    with connection.cursor() as cursor:
        cursor.execute(SEAT_SQL, [Run._meta.pk.get_db_prep_value(run_id, connection)])
        row = cursor.fetchone()
    if row is None:
        return None
    state, end_reason, is_deployed, port, sandbox_id, url, token_key = row
    upstream = None
    is_back_soon = state == RunState.RUNNING and bool(is_deployed)
    if state == RunState.RUNNING and sandbox_id is not None and not is_back_soon:
        token = agent_keys.token(Sandbox._meta.pk.to_python(sandbox_id), token_key)
        upstream = Upstream(url, token, port)
    return Seat(state, end_reason, upstream, is_back_soon)


def note_dead(run_id: UUID) -> None:
    """A player met a dead end: have the sandbox looked at, at once."""
    run = Run.objects.played().filter(pk=run_id).first()
    if run is not None and run.sandbox_id is not None:
        claims.suspect(run.sandbox_id, "a player's request found no game", clock.now())


async def _note_dead(visit: Visit) -> None:
    _seats.pop(visit.run_id, None)
    try:
        await write(note_dead, visit.run_id)
    except DatabaseError:
        logger.warning("That a game does not answer could not be noted.", exc_info=True)


_seats: dict[UUID, tuple[float, Seat]] = {}


async def _seat(run_id: UUID) -> Seat | None:
    """As `seat_of`, which a running game asks once a second at the most."""
    until, seat = _seats.get(run_id, (0.0, None))
    if seat is not None and clock.monotonic() < until:
        return seat
    seat = await read(seat_of, run_id)
    if seat is not None and seat.upstream is not None:
        if len(_seats) >= MOST_SEATS:
            _seats.clear()
        _seats[run_id] = (clock.monotonic() + SEAT_KEPT_SECONDS, seat)
    return seat


@dataclass(frozen=True, slots=True)
class Visit:
    """One request to one game; `path` is what follows `base`, the game's own address here, as the client wrote it.
    `always` are our headers of each answer."""

    scope: Scope
    run_id: UUID
    path: bytes
    upstream: Upstream
    base: str
    always: Headers
    began_at_seconds: float

    def request(self, body: AsyncIterator[bytes]) -> httpx.Request:
        """Return the request for the game. Raises ForbiddenPath."""
        url = self.upstream.target(self.path, self.scope["query_string"])
        headers = self.upstream.request_headers(self.scope["headers"])
        has_body = True
        if length := header(self.scope, b"content-length"):
            headers.append((b"content-length", length.encode()))
            has_body = int(length) > 0
        elif not header(self.scope, b"transfer-encoding"):
            has_body = False
        timeout = {"timeout": TIMEOUT.as_dict()}
        content = body if has_body else None
        return httpx.Request(self.scope["method"], url, headers=headers, content=content, extensions=timeout)

    def headers(self, response: httpx.Response) -> Headers:
        """Return the headers of our answer. Raises Refused for a redirect that leads out of the game."""
        headers = [*response_headers(response.headers.raw, response.status_code), NOSNIFF, *self.always]
        # An opaque origin, and nothing to load from but the game's own address.
        own = policy_source(play_url(self.run_id))
        policy = (
            "sandbox allow-scripts allow-pointer-lock; "
            f"default-src {own} data: blob: 'unsafe-inline' 'unsafe-eval'; "
            f"form-action 'none'; base-uri 'none'; {frame_ancestors()}"
        )
        headers.append((b"content-security-policy", policy.encode()))
        if not is_for_games(*_place(self.scope)):
            headers.append(VARIES)
        if location := response.headers.get("location"):
            inner = inner_location(location, self.path, self.upstream.port)
            if inner is None:
                raise Refused(LEADS_OUT)
            headers.append((b"location", self.base.encode() + inner))
        return headers


async def play(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application."""
    try:
        require_allowed_host(header(scope, b"host"))
        await _play(scope, receive, send)
    except Refused as refused:
        await _show(send, refused.notice)
    except Problem as problem:
        await _show(send, Notice(problem.status, "This is not an address of ours", problem.detail))


async def _play(scope: Scope, receive: Receive, send: Send) -> None:
    found = ADDRESS.fullmatch(scope["raw_path"])
    if found is None:
        raise Refused(NOT_THERE)
    run_id, path = UUID(found[1].decode()), found[2]
    if is_run_by_a_page(scope):
        raise Refused(NOT_FOR_OUR_PAGES)
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    if leads_to := _games_own_address(scope, run_id):
        await _redirect(send, 307, leads_to.encode() + (path or b"") + query)
        return
    if path is None:
        await _redirect(send, 308, b"/play/%s/%s" % (found[1], query))
        return
    if scope["method"] == "OPTIONS" and header(scope, b"access-control-request-method"):
        await send({"type": "http.response.start", "status": 204, "headers": [*own_headers(), *PREFLIGHT]})
        await send({"type": "http.response.body"})
        return
    if scope["method"] not in METHODS:
        raise Refused(Notice(405, "Games are not asked that way", f"{scope['method']} is not passed on."))
    await visit_game(scope, receive, send, run_id, path, base=play_path(run_id), always=ALWAYS)


def is_run_by_a_page(scope: Scope) -> bool:
    """Whether a page of ours is about to run the answer, as code of its own."""
    return header(scope, b"sec-fetch-site") == "same-origin" and header(scope, b"sec-fetch-dest") in RUN_BY_A_PAGE


async def visit_game(
    scope: Scope, receive: Receive, send: Send, run_id: UUID, path: bytes, *, base: str, always: Headers
) -> None:
    """Pass a request on to a run's game, and its answer back. `path` is what follows `base` in its address. Raises
    Refused."""
    outcome = OTHER
    try:
        outcome = await _visit_game(scope, receive, send, run_id, path, base=base, always=always)
    except Refused as refused:
        outcome = refused.notice.code
        raise
    except asyncio.CancelledError:  # the server's way to say it
        outcome = metrics.LEFT
        raise
    finally:
        metrics.PROXIED.add(outcome)


async def _visit_game(
    scope: Scope, receive: Receive, send: Send, run_id: UUID, path: bytes, *, base: str, always: Headers
) -> str:
    """Return the outcome, as the metrics have it."""
    began_at_seconds = clock.monotonic()
    client = Client(scope, receive)
    with about(run=run_id), first_span("first request to the game", run_id):
        visit = Visit(scope, run_id, path, _upstream(await _seat(run_id)), base, always, began_at_seconds)
        try:
            request = visit.request(client.body())
        except ForbiddenPath:
            raise Refused(NOT_PASSED_ON) from None
        if isinstance(request.stream, httpx.ByteStream):  # it has no body
            client.drop_the_rest()
        return await client.while_there(_in_turn(visit, request, send, client)) or metrics.LEFT


def _games_own_address(scope: Scope, run_id: UUID) -> str:
    """Where the game is instead, for a browser that asks at the site's address; empty for who may be answered here.

    Raises Refused for what is not shown here.
    """
    host, port = _place(scope)
    if is_for_games(host, port):
        if play_origin(run_id) != settings.PLAY_URL and not host.startswith(f"{run_id}."):
            raise Refused(NOT_THERE)  # with a wildcard, one game has no address under another's name
        return play_url(run_id) if settings.HTTPS_ONLY and scope["scheme"] == "http" else ""
    if games_have_an_origin() and is_for_pages(host, port):
        return play_url(run_id) if _is_a_browser(scope) else ""
    if _is_on_top(scope):
        raise Refused(
            Notice(
                403,
                "Games are shown in their frame",
                "Here they have no address of their own, and what looks like a page of this site might be a game.",
                link=page_url(f"/runs/{run_id}/"),
            )
        )
    return ""


def _place(scope: Scope) -> tuple[str, int | None]:
    """By which name and at which port of ours a request came."""
    return header(scope, b"host"), (scope.get("server") or (None, None))[1]


def _is_a_browser(scope: Scope) -> bool:
    """Whether what answers would have an origin. Programs have none, and are told nothing else."""
    said = (b"sec-fetch-dest", b"sec-fetch-mode", b"origin")
    return any(header(scope, name) for name in said) or "text/html" in header(scope, b"accept")


def _is_on_top(scope: Scope) -> bool:
    """Whether a browser is about to show the answer as a page, and not in a frame of ours. Over plain http, browsers
    say so to this machine only; else a frame's first request is known by the page that it comes from."""
    if said := header(scope, b"sec-fetch-dest"):
        return said == "document"
    is_a_page = "text/html" in header(scope, b"accept") and scope["method"] in ("GET", "HEAD")
    return is_a_page and not header(scope, b"referer").startswith(f"{settings.PUBLIC_URL}/")


def _network(scope: Scope) -> str:
    """Where the request comes from; all whose address is not known are one."""
    address, _ = scope.get("client") or ("", 0)
    return network_of(address) or ""


def _upstream(seat: Seat | None) -> Upstream:
    """The way to the game. Raises Refused when there is none (yet, or any more)."""
    if seat is None:
        raise Refused(NOT_THERE)
    if seat.state in OVER:
        raise Refused(Notice(410, "This game is over", seat.end_reason, code="over"))
    if seat.upstream is None:
        raise Refused(BACK_SOON if seat.is_back_soon else STARTING)
    return seat.upstream


async def _in_turn(visit: Visit, request: httpx.Request, send: Send, client: Client) -> str:
    """Pass it on when the game has its turn, so that one that hangs holds up no other."""
    shares = _shares.setdefault(asyncio.get_running_loop(), Shares())
    try:
        async with shares.turn(visit.run_id, _network(visit.scope)):
            return await _pass_on(visit, request, send, client)
    except NoTurn as none:
        raise Refused(TOO_MANY if none.is_own else BUSY) from None


async def _pass_on(visit: Visit, request: httpx.Request, send: Send, client: Client) -> str:
    async with connections_to(visit.upstream.url) as transport:
        return await _exchange(transport, visit, request, send, client)


async def _exchange(transport: Transport, visit: Visit, request: httpx.Request, send: Send, client: Client) -> str:
    try:
        response = await ask(transport, request)
    except httpx.ReadTimeout:
        raise Refused(SLOW) from None
    except httpx.HTTPError as error:
        if is_our_shortage(error):
            raise Refused(BUSY) from None
        await _note_dead(visit)
        raise Refused(DEAD) from None
    client.drop_the_rest()
    try:
        if may_be_the_agents_refusal(response.status_code, response.headers.get("content-type", "")):
            await _require_admission(transport, visit.upstream)
        if response.status_code == BAD_GATEWAY:
            await _note_dead(visit)
            raise Refused(DEAD)
        if response.status_code == GATEWAY_TIMEOUT:
            raise Refused(SLOW)
        if response.status_code == UNAVAILABLE:
            await _note_dead(visit)  # the game's own word, or the edge's for a container that is gone
        headers = visit.headers(response)
        chunks = response.aiter_raw()
        chunk = await _first(visit, chunks)
        metrics.FIRST_BYTE.note(clock.monotonic() - visit.began_at_seconds)
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        with Flow(send) as flow:
            try:
                async with until_closing(_patience_seconds(response)):
                    while chunk is not None:
                        await flow.ready(STALL_SECONDS)
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                        chunk = await anext(chunks, None)
            except (httpx.HTTPError, Closing) as ended:
                if not (isinstance(ended, Closing) and _is_event_stream(response)):
                    flow.cut()  # the client must not take a part for the whole
                    return CUT_OFF.code
        await send({"type": "http.response.body"})
        return metrics.PASSED
    finally:
        await response.aclose()


def _is_event_stream(response: httpx.Response) -> bool:
    """Whether a browser that has read it to its end comes back for more."""
    content_type: str = response.headers.get("content-type", "")
    return content_type.partition(";")[0].strip().lower() == "text/event-stream"


def _patience_seconds(response: httpx.Response) -> float:
    """How long it may go on when this process stops. One whose length is known ends; others may be endless."""
    if _is_event_stream(response):
        return 0
    return WHOLE_SECONDS if "content-length" in response.headers else ENDLESS_SECONDS


async def _require_admission(transport: Transport, upstream: Upstream) -> None:
    """Raises Refused when it is the agent that does not take our token, and not the game that refuses its player."""
    headers, timeout = upstream.request_headers([]), {"timeout": TIMEOUT.as_dict()}
    request = httpx.Request("GET", upstream.admission_url, headers=headers, extensions=timeout)
    try:
        response = await ask(transport, request)
    except httpx.HTTPError as error:
        raise Refused(BUSY if is_our_shortage(error) else DEAD) from None
    await response.aclose()
    if may_be_the_agents_refusal(response.status_code, response.headers.get("content-type", "")):
        raise Refused(LOCKED)


async def _first(visit: Visit, chunks: AsyncIterator[bytes]) -> bytes | None:
    """The beginning of a body; None when it is empty. Raises Refused for one that ends before it has begun."""
    try:
        return await anext(chunks, None)
    except httpx.ReadTimeout:
        raise Refused(SLOW) from None
    except httpx.HTTPError:
        try:
            await write(note_cut, visit.run_id, f"/{visit.path.decode('ascii')}")
        except DatabaseError:
            logger.warning("That an answer breaks off could not be noted.", exc_info=True)
        raise Refused(CUT_OFF) from None


_shares: WeakKeyDictionary[asyncio.AbstractEventLoop, Shares] = WeakKeyDictionary()


async def _show(send: Send, notice: Notice) -> None:
    headers: Headers = [*own_headers(), (b"cache-control", b"no-store")]
    if notice.retry_seconds:
        headers.append((b"retry-after", str(notice.retry_seconds).encode()))
    await _answer(send, notice.status, notice.page(), "text/html; charset=utf-8", headers)


async def _redirect(send: Send, status: int, location: bytes) -> None:
    await _answer(send, status, b"", "text/plain", [*own_headers(), (b"location", location)])


async def _answer(
    send: Send, status: int, body: bytes, content_type: str, headers: Iterable[tuple[bytes, bytes]]
) -> None:
    """A whole answer at once."""
    start: Headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body)).encode()),
        NOSNIFF,
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
