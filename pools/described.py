"""What the API's description tells of an operation beside its shapes: who may call it, the codes of its errors, its
answers' headers, and what one can do next with an answer. The site's `description` makes OpenAPI of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pools.api_keys import Scope

KEY, KEY_HEADER, SESSION, RUN_TOKEN = "api_key", "api_key_header", "session", "run_token"  # security schemes
CODES = "x-codes"  # taken out again, once the errors are described by them
NOBODY: dict[str, list[str]] = {}  # no credentials are a way, too
SCOPE_CODES = ("sign_in", "scope_missing", "operators_only")
REASON_CODES = ("invalid", "reason_needed")

Link = tuple[str, Mapping[str, str]]  # the operation that one can call next, and where its parameters are


def described(
    *codes: str,
    scope: Scope | None = None,
    is_on_run: bool = False,
    headers: Mapping[int, Sequence[str]] | None = None,
    links: Mapping[int, Sequence[Link]] | None = None,
) -> dict[str, Any]:
    """An operation's `openapi_extra`. `codes`: of the errors that are its own, beside those of every address and of
    its scope. `scope`: what a key needs; None where no key is needed. `is_on_run`: it takes the run's token."""
    responses: dict[int, dict[str, Any]] = {}
    for status, names in (headers or {}).items():
        responses.setdefault(status, {})["headers"] = {name: header(name) for name in names}
    for status, targets in (links or {}).items():
        responses.setdefault(status, {})["links"] = {
            name: {"operationId": name, "parameters": dict(parameters)} for name, parameters in targets
        }
    return {
        CODES: [*codes, *(SCOPE_CODES if scope else ())],
        "security": _security(scope, is_on_run),
        "responses": responses,
    }


def header(name: str) -> dict[str, str]:
    """Where the description has this header of answers."""
    return {"$ref": f"#/components/headers/{name}"}


def _security(scope: Scope | None, is_on_run: bool) -> list[dict[str, list[str]]]:
    scopes = [scope.value] if scope else []
    known: list[dict[str, list[str]]] = [{KEY: scopes}, {KEY_HEADER: scopes}, {SESSION: []}]
    if is_on_run:
        return [{RUN_TOKEN: []}, *known, NOBODY]
    return known if scope else [*known, NOBODY]
