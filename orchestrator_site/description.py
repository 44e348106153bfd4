"""The API's description: what Ninja writes of the shapes, and beside them errors, examples, rights, headers, tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings

from orchestrator_site.examples import example_of
from pools.described import CODES, KEY, KEY_HEADER, RUN_TOKEN, SESSION, described, header
from pools.problem_codes import CODES as MEANINGS
from pools.problem_codes import code_of_status
from pools.problems import CONTENT_TYPE, Problem
from pools.schemas import ProblemOut

JSON = "application/json"
# Whatever is asked for.
CODES_EVERYWHERE = (
    *("bad_request", "host_not_allowed", "key_unknown", "key_expired", "key_revoked", "method_not_allowed"),
    *("too_slow", "too_large", "address_too_long", "headers_too_large", "unavailable"),
)
CODES_OF_CHANGES = ("foreign_page",)
CODES_OF_PARTS = ("not_found",)  # where a part of the address can be none
FIELDS = {"unknown_game": "game", "reason_needed": "reason", "bad_cursor": "cursor", "invalid": "limit"}
LIMIT, DIGEST, AGAIN_SECONDS = "MAX_ACTIVE_PER_CLIENT", "3fa9c1d20b7c6f3e", 12

TAGS = {
    "runs": "Launch a game, follow it, give it more time, end it.",
    "events": "What happens, line by line, from a cursor.",
    "webhooks": "The same, sent to an address of yours.",
    "games": "What can be played.",
    "pools": "The warm pools: how they are set and how they stand. With a key, or signed in.",
    "fleet": "All sandboxes, the plan of the next turn, and the orchestrator log.",
    "usage": "What was used, and what it cost.",
    "audit": "Who did what, and why. With a key, or signed in.",
    "errors": "The codes of errors, and what to do about each.",
}
HEADERS: Mapping[str, tuple[str, str | int]] = {
    "X-Request-ID": ("The id of this request: the one that was sent, or a new one", "order-7"),
    "RateLimit": ("What is left of the client's limits", '"MAX_ACTIVE_PER_CLIENT";r=1;t=412'),
    "RateLimit-Policy": ("The client's limits", '"MAX_ACTIVE_PER_CLIENT";q=2;qu="concurrent-requests"'),
    "Retry-After": ("Seconds until it is worth asking again", AGAIN_SECONDS),
    "ETag": ("What the settings are: for `If-Match` and `If-None-Match`", '"3fa9c1d20b7c6f3e"'),
    "Preference-Applied": ("How long the answer waited at the most, where `Prefer` asked for it", "wait=30"),
    "Allow": ("The methods that the address takes", "GET, HEAD, OPTIONS"),
}
ALWAYS, OF_ERRORS = "X-Request-ID", {405: "Allow", 429: "Retry-After", 503: "Retry-After"}


def describe(schema: dict[str, Any]) -> None:
    """Complete what Ninja wrote."""
    components = schema["components"]
    shapes = components["schemas"]
    shapes["ProblemOut"] = ProblemOut.model_json_schema()
    components["headers"] = {name: _header(name, *told) for name, told in HEADERS.items()}
    components["securitySchemes"] = _security_schemes()
    schema["tags"] = [{"name": name, "description": told} for name, told in TAGS.items()]
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            _describe(path, method, operation)
            for content in _contents(operation):
                if "allOf" in content["schema"]:  # so is a body that may be left out, together with its default
                    [content["schema"]] = content["schema"]["allOf"]
                content.setdefault("example", example_of(content["schema"], shapes))


def _describe(path: str, method: str, operation: dict[str, Any]) -> None:
    """The errors of an operation, who may call it, and the headers that each answer has."""
    if CODES not in operation:
        operation.update({"security": described()["security"], CODES: []})
    responses = operation["responses"]
    codes = [*CODES_EVERYWHERE, *operation.pop(CODES)]
    codes += CODES_OF_CHANGES if method != "get" else ()
    codes += CODES_OF_PARTS if "{" in path else ()
    for status in {MEANINGS[code].status for code in codes} | {int(each) for each in responses if int(each) >= 400}:
        own = [code for code in codes if MEANINGS[code].status == status] or [code_of_status(status)]
        responses[status] = responses.get(status, {}) | _error(own)
        if status in OF_ERRORS:
            _add_header(responses[status], OF_ERRORS[status])
    for response in responses.values():
        _add_header(response, ALWAYS)
    operation["responses"] = dict(sorted(responses.items()))


def _add_header(response: dict[str, Any], name: str) -> None:
    response["headers"] = {**response.get("headers", {}), name: header(name)}


def _error(codes: Iterable[str]) -> dict[str, Any]:
    """An error as it is sent with each of these codes."""
    found = sorted(set(codes))
    examples = {code: {"summary": MEANINGS[code].title, "value": _problem(code).as_json()} for code in found}
    shape = {"$ref": "#/components/schemas/ProblemOut"}
    return {
        "description": "; ".join(MEANINGS[code].title for code in found),
        "content": {CONTENT_TYPE: {"schema": shape, "examples": examples}},
    }


def _problem(code: str) -> Problem:
    meaning = MEANINGS[code]
    field = FIELDS.get(code)
    return Problem(
        meaning.status,
        f"{meaning.title}.",
        code=code,
        errors=[{"field": field, "message": meaning.title}] if field else (),
        limit=LIMIT if code == "limit_reached" else "",
        retry_after_seconds=AGAIN_SECONDS if meaning.is_retryable and meaning.status in OF_ERRORS else None,
        digest=DIGEST if code == "plan_changed" else "",
    )


def _contents(operation: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """The JSON that it takes and answers, errors aside."""
    for part in (operation.get("requestBody", {}), *operation["responses"].values()):
        if JSON in part.get("content", {}):
            yield part["content"][JSON]


def _header(name: str, told: str, example: str | int) -> dict[str, Any]:
    kind = "integer" if isinstance(example, int) else "string"
    return {"description": told, "schema": {"type": kind}, "example": example, "required": name == ALWAYS}


def _security_schemes() -> dict[str, dict[str, str]]:
    bearer = {"type": "http", "scheme": "bearer"}
    return {
        KEY: bearer | {"bearerFormat": "key_…", "description": "An API key: `Authorization: Bearer key_…`."},
        KEY_HEADER: {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "The same key, where `Authorization` is taken already.",
        },
        RUN_TOKEN: bearer
        | {"bearerFormat": "run_…", "description": "The `token` of a launch's answer: it is good for that run alone."},
        SESSION: {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "Operators who are signed in at /admin/.",
        },
    }
