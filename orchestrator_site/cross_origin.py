"""Which pages of other sites may use the API: those of CORS_ALLOWED_ORIGINS, and as nobody in particular.

Starlette's middleware, since it stands in front of everything: Django's never see a stream or a game. No credentials
are allowed, and what cookies a browser sends all the same are not looked at.
"""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from functools import partial, update_wrapper
from typing import Any

from django.conf import settings
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from pools.problems import CONTENT_TYPE, Problem
from pools.request_ids import HEADER
from runs.origins import is_own_origin

API, HEALTH = "/api/", "/health"
METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
REQUEST_HEADERS = (
    *("Authorization", "Cache-Control", "Content-Type", "Idempotency-Key", "If-Match", "Last-Event-ID", "Prefer"),
    *("X-API-Key", HEADER),
)
ANSWER_HEADERS = ("ETag", "Preference-Applied", "RateLimit", "RateLimit-Policy", "Retry-After", HEADER)


class CrossOrigin:
    """The ASGI application, which answers pages of other sites as far as the settings let it."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self.shared = _Shared(
            application,
            allow_origins=settings.CORS_ALLOWED_ORIGINS,
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=ANSWER_HEADERS,
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        is_for_programs = scope["type"] == "http" and (scope["path"].startswith(API) or scope["path"] == HEALTH)
        if is_for_programs and settings.CORS_ALLOWED_ORIGINS:
            await self.shared(_as_nobody(scope), receive, send)
        else:
            await self.application(scope, receive, send)


def _as_nobody(scope: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Without its cookies, if it is from a page of another site."""
    headers = dict(scope["headers"])
    origin, host = (headers.get(name, b"").decode("latin-1") for name in (b"origin", b"host"))
    if not origin or is_own_origin(origin, host):
        return scope
    return {**scope, "headers": [(name, value) for name, value in scope["headers"] if name != b"cookie"]}


class _Shared(CORSMiddleware):
    async def simple_response(self, scope: Any, receive: Any, send: Any, request_headers: Headers) -> None:
        sent = partial(self.send, send=send, request_headers=request_headers)
        await self.app(scope, receive, update_wrapper(sent, send))  # what lies behind it stays in sight

    def preflight_response(self, request_headers: Headers) -> Response:
        """Refusals are problems, as everywhere in the API."""
        response = super().preflight_response(request_headers)
        if response.status_code == 200:
            return response
        detail = (
            f"{bytes(response.body).decode()}. Pages of other sites may use the API if CORS_ALLOWED_ORIGINS names them."
        )
        body = json.dumps(Problem(403, detail, code="foreign_page").as_json())
        return Response(body, 403, media_type=CONTENT_TYPE, headers={"Vary": response.headers["Vary"]})
