"""The API's description: complete, true to itself, and pleasant for clients that are generated from it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from jsonschema import Draft202012Validator, FormatChecker
from ninja import Schema

from games.models import Game
from orchestrator_site.description import TAGS
from orchestrator_site.examples import MISSING, example_of
from pools.problem_codes import CODES

pytestmark = pytest.mark.django_db
PROBLEM = "application/problem+json"
VERBS = "act|apply|change|delete|end|extend|force|get|launch|list|make|retire|revoke|rotate|send|take|test"


RUN_ID = "5d0e5d4c-9d2a-4f0b-8c0e-7f2b1a3c4d5e"
PARTS = {"run_id": RUN_ID, "webhook_id": RUN_ID, "delivery_id": "msg_x", "name": "x", "code": "x"}
PARTS |= {"act": "pause", "mode": "cold", "alarm_id": "0badcafe"}


@pytest.fixture
def schema(snake: Game) -> dict[str, Any]:
    return json.loads(Client().get("/api/openapi.json").content)


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each operation, by its method and path."""
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def answers(schema: dict[str, Any]) -> Iterator[tuple[str, int, dict[str, Any]]]:
    for name, operation in operations(schema):
        for status, answer in operation["responses"].items():
            yield name, int(status), answer


def wrong(value: Any, shape: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """What a value has that its shape does not tell of, and what it lacks."""
    shapes = {
        name: each | ({"additionalProperties": False} if "properties" in each else {})
        for name, each in schema["components"]["schemas"].items()
    }
    whole = shape | {"components": {"schemas": shapes}}
    return [error.message for error in Draft202012Validator(whole, format_checker=FormatChecker()).iter_errors(value)]


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    for each in value if isinstance(value, list) else []:
        yield from strings(each)
    if isinstance(value, str):
        yield value


def test_operations_have_names_of_their_own_that_begin_with_a_verb(schema: dict[str, Any]):
    names = [operation["operationId"] for _, operation in operations(schema)]
    assert len(names) > 20
    assert sorted(set(names)) == sorted(names)
    assert [name for name in names if not re.fullmatch(f"({VERBS})(_[a-z]+)+", name)] == []


def test_operations_are_told_in_a_line_and_under_a_tag_that_is_explained(schema: dict[str, Any]):
    assert {tag["name"]: tag["description"] for tag in schema["tags"]} == TAGS
    for name, operation in operations(schema):
        assert operation["summary"], name
        assert set(operation["tags"]) <= set(TAGS), name


def test_what_is_sent_and_answered_has_an_example_as_its_shape_says(schema: dict[str, Any]):
    contents = [
        (name, operation["requestBody"]) for name, operation in operations(schema) if "requestBody" in operation
    ]
    contents += [(f"{name} {status}", answer) for name, status, answer in answers(schema) if status in (200, 201, 202)]
    assert len(contents) > 30
    for name, part in contents:
        content = part["content"]["application/json"]
        assert wrong(content["example"], content["schema"], schema) == [], name
        assert MISSING not in strings(content["example"]), f"{name}: give its texts an example in its Schema"


def test_no_two_shapes_have_one_name():
    """Ninja describes both as one of them."""
    ours = ("pools", "runs", "orchestrator_site")
    found, waiting = [], [Schema]
    while waiting:
        below = waiting.pop().__subclasses__()
        found += [each.__name__ for each in below if each.__module__.split(".")[0] in ours]
        waiting += below
    assert len(found) > 50
    assert [name for name, times in Counter(found).items() if times > 1] == []


def test_each_error_has_an_example_with_each_code_that_it_can_have(schema: dict[str, Any]):
    for name, status, answer in answers(schema):
        if status < 400:
            continue
        assert list(answer["content"]) == [PROBLEM], (name, status)
        content = answer["content"][PROBLEM]
        assert content["examples"], (name, status)
        for code, example in content["examples"].items():
            problem = example["value"]
            assert wrong(problem, content["schema"], schema) == [], (name, code)
            assert (problem["code"], problem["status"], CODES[code].status) == (code, status, status), name
            assert problem["remedy"] == CODES[code].remedy


def test_each_code_is_told_of_somewhere(schema: dict[str, Any]):
    told = {
        code
        for _, status, answer in answers(schema)
        if status >= 400
        for code in answer["content"][PROBLEM]["examples"]
    }
    assert set(CODES) - told == {
        *("internal_error", "forbidden", "too_many_requests"),  # which nobody is to count on
        *("game_unreachable", "game_not_ready"),  # of a game's own addresses
    }


def test_each_operation_says_who_may_call_it(schema: dict[str, Any]):
    schemes = schema["components"]["securitySchemes"]
    assert {(each["type"], each.get("in"), each.get("scheme")) for each in schemes.values()} == {
        ("http", None, "bearer"),
        ("apiKey", "header", None),
        ("apiKey", "cookie", None),
    }
    assert set(schemes) == {"api_key", "api_key_header", "run_token", "session"}
    for name, operation in operations(schema):
        assert operation["security"], name
        assert {scheme for way in operation["security"] for scheme in way} <= set(schemes), name


def test_what_needs_no_key_by_its_description_is_answered_without_one(schema: dict[str, Any]):
    for name, operation in operations(schema):
        method, path = name.split()
        path = path.format(**PARTS)
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
        answer = Client().generic(method, path, json.dumps(body), "application/json")
        assert (answer.status_code == 401) == ({} not in operation["security"]), (name, answer.content)


def test_each_answer_says_which_headers_it_has(schema: dict[str, Any]):
    known = set(schema["components"]["headers"])
    for name, status, answer in answers(schema):
        assert "X-Request-ID" in answer["headers"], (name, status)
        assert set(answer["headers"]) <= known, name
        assert (status in (429, 503)) <= ("Retry-After" in answer["headers"]), (name, status)
    paths = schema["paths"]
    launched = paths["/api/launch"]["post"]["responses"]["201"]["headers"]
    assert {"RateLimit", "RateLimit-Policy", "Preference-Applied"} <= set(launched)
    assert "ETag" in paths["/api/pools/{name}"]["get"]["responses"]["200"]["headers"]
    for name, header in schema["components"]["headers"].items():
        assert wrong(header["example"], header["schema"], schema) == [], name


def test_what_one_can_do_next_is_there_and_takes_what_it_is_given(schema: dict[str, Any]):
    parameters = {
        operation["operationId"]: {each["name"] for each in operation["parameters"]}
        for _, operation in operations(schema)
    }
    links = [link for _, _, answer in answers(schema) for link in answer.get("links", {}).values()]
    assert {"get_run", "delete_run", "act_on_pool", "retire_sandbox"} <= {link["operationId"] for link in links}
    for link in links:
        assert set(link["parameters"]) <= parameters[link["operationId"]], link


def test_asking_twice_gives_the_same(schema: dict[str, Any]):
    assert json.loads(Client().get("/api/openapi.json").content) == schema


def test_an_example_is_put_together_from_those_of_fields_and_shapes():
    shapes = {
        "Run": {
            "example": {"state": "running"},
            "properties": {
                "state": {"type": "string"},
                "game": {"$ref": "#/x/Game"},
                "at": {"format": "date-time", "type": "string"},
            },
            "required": ["state", "game", "at"],
        },
        "Game": {"enum": ["snake", "memory"]},
    }
    assert example_of({"type": "array", "items": {"$ref": "#/x/Run"}}, shapes) == [
        {"state": "running", "game": "snake", "at": "2026-11-27T10:00:00Z"}
    ]
