"""`/api/game/<run>/…`: a game for programs, and for scripts of pages that CORS_ALLOWED_ORIGINS names.

It is reached as at `/play/`, and as much is let through. But nothing is shown from here: a browser that is about to
show the answer, in a tab or a frame, is led to `/play/`, for this is the site's own address. What goes wrong is told as
everywhere in the API, and with the statuses of the first demo.
"""

from __future__ import annotations

import json
import re
from uuid import UUID

from pools.problems import CONTENT_TYPE, Problem
from runs.addresses import api_play_path, play_url
from runs.origins import require_allowed_host, require_may_change
from runs.play.client import Receive, Scope, Send, header
from runs.play.notices import NOT_THERE, Notice, Refused
from runs.play.proxy import NOSNIFF, is_run_by_a_page, visit_game
from runs.play.upstream import Headers

ADDRESS = re.compile(rb"/api/game/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?:/(.*))?", re.DOTALL)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})
READING = frozenset({"GET", "HEAD"})
STATUSES = {410: 404, 504: 502}  # the first demo forgot what was over, and told no kinds of silence apart
ALWAYS: Headers = [(b"referrer-policy", b"no-referrer")]


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application."""
    try:
        require_allowed_host(header(scope, b"host"))
        await _answer(scope, receive, send)
    except Refused as refused:
        await _tell(send, problem_of(refused.notice))
    except Problem as problem:
        await _tell(send, problem)


def problem_of(notice: Notice) -> Problem:
    """What a page would say, for programs: they don't look again by themselves."""
    status = STATUSES.get(notice.status, notice.status)
    again_seconds = notice.retry_seconds or None
    detail = f"{notice.title}. {f'Ask again in {again_seconds} s.' if again_seconds else notice.detail}"
    if status == 404:
        return Problem(404, detail, code="no_such_run")
    if status == 502:
        return Problem(502, detail, code="game_unreachable", retry_after_seconds=again_seconds)
    if status == 503:
        return Problem(503, detail, code="game_not_ready", retry_after_seconds=again_seconds)
    return Problem(status, detail, retry_after_seconds=again_seconds)


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    found = ADDRESS.fullmatch(scope["raw_path"])
    if found is None:
        raise Refused(NOT_THERE)
    run_id, path = UUID(found[1].decode()), found[2] or b""
    if scope["method"] not in METHODS:
        raise Problem(405, f"Games are not asked that way: {scope['method']} is not passed on.")
    if is_run_by_a_page(scope):
        raise Problem(403, "A page of this site runs nothing of a game's.")
    if _is_shown(scope):
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        location = play_url(run_id).encode() + path + query
        await send({"type": "http.response.start", "status": 307, "headers": [*ALWAYS, (b"location", location)]})
        await send({"type": "http.response.body"})
        return
    if scope["method"] not in READING:
        origin = header(scope, b"origin") or None
        require_may_change(origin=origin, fetch_site=header(scope, b"sec-fetch-site"), host=header(scope, b"host"))
    await visit_game(scope, receive, send, run_id, path, base=api_play_path(run_id), always=ALWAYS)


def _is_shown(scope: Scope) -> bool:
    """Whether a browser is about to show the answer, and not to hand it to a script. Over plain http, browsers say so
    to this machine only; else what asks for a page is taken for one."""
    if said := header(scope, b"sec-fetch-mode"):
        return said == "navigate"
    is_a_form = scope["method"] not in READING  # it has an Origin, as a script's request has
    return "text/html" in header(scope, b"accept") and (is_a_form or not header(scope, b"origin"))


async def _tell(send: Send, problem: Problem) -> None:
    body = json.dumps(problem.as_json()).encode()
    headers: Headers = [
        (b"content-type", CONTENT_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *((name.lower().encode(), value.encode()) for name, value in problem.headers().items()),
        NOSNIFF,
        *ALWAYS,
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
