"""A database or a disk that can't be used for a while: 503, for whom to ask again, whatever was asked for.

Pages, the API, games and streams all come here: an error that the database or the disk is to blame for is none of the
code that met it, and goes away by itself.
"""

from __future__ import annotations

import errno
import json
import logging
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from functools import wraps
from typing import Any

from django.db import DatabaseError, InterfaceError, InternalError, OperationalError
from django.db.transaction import TransactionManagementError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.defaults import server_error

from pools.problems import CONTENT_TYPE, Problem
from pools.runbook import Section

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Application = Callable[[Any, Any, Any], Awaitable[None]]

RETRY_AFTER_SECONDS = 5
API, ADMIN = "/api/", "/admin/"
TRY_AGAIN_LATER = 1013  # a WebSocket's closing code
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
SQLITE_ERROR = 1  # "no such table" and the like: a mistake of ours, which SQLite's driver calls operational
# The server has become read-only; it ended a transaction that stood still for too long.
PASSING_STATES = frozenset({"25006", "25P03"})

DETAIL = "The database or the disk can't be used right now. Nothing was lost; try again in a moment."


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _leaves(error: Exception) -> Iterator[Exception]:
    """A consumer's tasks fail in groups; what failed in them is what counts."""
    if not isinstance(error, ExceptionGroup):
        yield error
        return
    for each in error.exceptions:
        yield from _leaves(each)


def is_unavailable(error: BaseException | None) -> bool:
    """Whether the database or the disk is to blame, and asking again may help."""
    for cause in _causes(error):
        driver = cause.__cause__
        if getattr(driver, "sqlite_errorcode", None) == sqlite3.SQLITE_CONSTRAINT_TRIGGER:
            return True  # orchestrator_site.moving: nothing is written here any more
        if isinstance(cause, OperationalError):
            return getattr(driver, "sqlite_errorcode", None) != SQLITE_ERROR
        if isinstance(cause, InterfaceError):
            return True
        if isinstance(cause, InternalError):
            return getattr(driver, "sqlstate", None) in PASSING_STATES
        if isinstance(cause, TransactionManagementError):
            continue  # what broke the transaction was before it
        if isinstance(cause, DatabaseError):
            return False
        if isinstance(cause, OSError) and cause.errno in NO_SPACE:
            return True
    return False


def answer(path: str) -> HttpResponse:
    """503: JSON for programs, a page that needs no database for people."""
    problem = Problem(503, DETAIL, retry_after_seconds=RETRY_AFTER_SECONDS)
    if path.startswith(API):
        response = HttpResponse(json.dumps(problem.as_json()), status=503, content_type=CONTENT_TYPE)
    else:
        runbook = Section.DATABASE.url if path.startswith(ADMIN) else ""
        response = HttpResponse(render_to_string("503.html", {"runbook": runbook}), status=503)
    for name, value in problem.headers().items():
        response.headers[name] = value
    response.headers["Cache-Control"] = "no-store"
    return response


def answer_alone(path: str) -> HttpResponse:
    """The same where no middleware adds what each of our answers has."""
    response = answer(path)
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'; style-src 'self'; img-src 'self'"
    return response


def _note(error: BaseException | None, what: str) -> None:
    logger.error("%s was answered with 503: %s: %s", what, type(error).__name__, str(error).strip())


class UnavailableMiddleware:
    """Answers for views. What fails in another middleware comes to `error_500`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not is_unavailable(error):
            return None
        _note(error, f"{request.method} {request.path}")
        return answer(request.path)


def error_500(request: HttpRequest) -> HttpResponse:
    """Django's last resort: a mistake of ours is a 500 and stays one."""
    return answer(request.path) if is_unavailable(sys.exception()) else server_error(request)


class OrUnavailable:
    """The ASGI applications beside Django, which answer 503 as well when they can't begin."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        has_begun = False

        @wraps(send)  # what lies behind it stays in sight
        async def sent(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self.application(scope, receive, sent)
        except Exception as error:
            blamed = next((each for each in _leaves(error) if is_unavailable(each)), None)
            if blamed is None or (has_begun and scope["type"] != "websocket"):
                raise
            _note(blamed, scope["path"])
            await _refuse(scope, send)


async def _refuse(scope: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})
        return
    response = answer_alone(scope["path"])
    headers = [(name.lower().encode(), value.encode()) for name, value in response.headers.items()]
    headers.append((b"content-length", str(len(response.content)).encode()))
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
