"""The API as a whole: its parts, its errors in one shape, its description."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.operation import Operation

from games.models import Game
from orchestrator_site.description import describe
from orchestrator_site.methods import PREFIX
from orchestrator_site.problems_api import router as problems
from pools.alarms_api import router as alarms
from pools.api import router as fleet
from pools.audit_api import router as audit
from pools.pools_api import router as pools
from pools.problems import CONTENT_TYPE, Problem
from pools.sandboxes_api import router as sandboxes
from runs.api import router as runs
from runs.feed_api import router as feed
from runs.overview_api import router as overview
from runs.runs_api import router as lists
from runs.usage_api import router as usage
from runs.webhooks_api import router as webhooks

logger = logging.getLogger(__name__)

# Where in a request a field is, and what Ninja calls the whole of a body: not parts of the field's name.
PLACES = frozenset({"body", "query", "path", "header", "response"})


class Api(NinjaAPI):
    """Ninja's, with a description that says all there is to say."""

    def get_openapi_schema(self, **options: Any) -> Any:
        schema = super().get_openapi_schema(**options)
        describe(schema)
        if slugs := [game.slug for game in Game.objects.playable()]:
            for launch in ("LaunchIn", "LaunchAnyIn"):
                schema["components"]["schemas"][launch]["properties"]["game"]["enum"] = slugs
        return schema

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """Its function's name: clients that are generated call it so."""
        return operation.view_func.__name__


def read_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Other methods are refused as such, and not for the token of a form that they don't have."""
    return csrf_exempt(require_safe(view))


DESCRIPTION = f"""Launch games in sandboxes, follow them, end them.

Errors are `application/problem+json`, each with a `code`; `/api/problems` lists the codes and what to do. Every answer
has an `X-Request-ID`: the one that was sent, or a new one. Where GET is, HEAD and OPTIONS are, too.

This is version {settings.API_VERSION} of the API, told by sandbox-orchestrator {settings.VERSION}."""

api = Api(
    title="Sandbox orchestrator",
    version=settings.API_VERSION,
    description=DESCRIPTION,
    urls_namespace="api",
    docs_url="/docs",
    docs_decorator=read_only,
)
api.add_router("", runs)
api.add_router("", overview)
api.add_router("", lists)
api.add_router("", fleet)
api.add_router("", pools)
api.add_router("", alarms)
api.add_router("", sandboxes)
api.add_router("", usage)
api.add_router("", audit)
api.add_router("", feed)
api.add_router("", webhooks)
api.add_router("", problems)


def respond(problem: Problem) -> HttpResponse:
    body = json.dumps(problem.as_json()).encode()
    headers = problem.headers() | {"Content-Length": str(len(body))}
    return HttpResponse(body, status=problem.status, content_type=CONTENT_TYPE, headers=headers)


@api.exception_handler(Problem)
def on_problem(_request: HttpRequest, problem: Problem) -> HttpResponse:
    return respond(problem)


@api.exception_handler(ValidationError)
def on_invalid(_request: HttpRequest, error: ValidationError) -> HttpResponse:
    """422 that names each field that is not as it must be."""
    errors = [{"field": _field(entry["loc"]), "message": str(entry["msg"])} for entry in error.errors]
    detail = "; ".join(f"{each['field']}: {each['message']}" for each in errors)
    return respond(Problem(422, detail, errors=errors))


def _field(location: tuple[Any, ...]) -> str:
    named = [str(part) for part in location if part not in PLACES]
    return ".".join(named) or "body"


@api.exception_handler(HttpError)
def on_http_error(_request: HttpRequest, error: HttpError) -> HttpResponse:
    return respond(Problem(error.status_code, error.message))


@api.exception_handler(Http404)
def on_not_found(_request: HttpRequest, _error: Http404) -> HttpResponse:
    return respond(Problem(404, "There is nothing at this address."))


DETAILS = {
    400: "The request can't be understood.",
    403: "This is not allowed.",
    404: "There is nothing at this address; /api/docs says what there is.",
    405: "This address does not take this method.",
    500: "Something went wrong here. It was logged.",
}


class ProblemMiddleware:
    """Programs get every error of the API as JSON, also those that are made outside of it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        is_page = response.status_code >= 400 and response.headers.get("Content-Type") != CONTENT_TYPE
        if not is_page or not request.path.startswith(PREFIX) or (settings.DEBUG and response.status_code == 500):
            return response
        problem = respond(Problem(response.status_code, DETAILS.get(response.status_code, response.reason_phrase)))
        if "Allow" in response.headers:
            problem.headers["Allow"] = response.headers["Allow"]
        return problem
