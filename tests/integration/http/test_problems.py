"""Programs get every error in one shape, wherever it is made, and find it again by its request's id."""

from __future__ import annotations

import json
import socket
from contextlib import closing

import httpx
import pytest
import websockets.sync.client
from django.test import Client

from pools.models import FleetEvent
from pools.problem_codes import CODES, TABLE
from runs.models import RunEvent
from runs.rights import token_of
from tests.fixtures.web import Web, new_run

pytestmark = pytest.mark.django_db(transaction=True)
NOBODYS = "00000000-0000-4000-8000-000000000000"  # no run has this id


def problem_in(answer: httpx.Response) -> dict:
    """The problem of an answer, which has what every problem has."""
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    meaning = CODES[told["code"]]
    assert (told["status"], told["title"], told["remedy"]) == (answer.status_code, meaning.title, meaning.remedy)
    assert told["retryable"] is meaning.is_retryable
    assert told["detail"]
    return told


@pytest.mark.parametrize(
    ("method", "path", "content", "code"),
    [
        ("GET", "/api/nothing", None, "not_found"),
        ("GET", f"/api/sandbox/{NOBODYS}", None, "no_such_run"),
        ("GET", "/api/sandbox/not-an-id", None, "not_found"),
        ("PUT", "/api/games", None, "method_not_allowed"),
        ("POST", "/api/launch/warm", b"{", "bad_request"),
        ("POST", "/api/launch/warm", b"[]", "invalid"),
        ("POST", "/api/launch/warm", b'{"game": "no-such-game"}', "unknown_game"),
        ("POST", "/api/launch/warm", b" " * 100_000, "too_large"),
        ("GET", "/api/pool/plan", None, "sign_in"),
        ("GET", "/api/games?" + "x" * 17_000, None, "address_too_long"),
        ("GET", f"/api/stream/{NOBODYS}", None, "no_such_run"),
        ("POST", f"/api/stream/{NOBODYS}", None, "method_not_allowed"),
        ("GET", f"/api/runs/{NOBODYS}/events?wait=1", None, "no_such_run"),
        ("GET", "/api/orchestrator/stream?after=x", None, "invalid"),
    ],
)
def test_each_error_has_a_code_and_says_what_to_do(web: Web, method: str, path: str, content: bytes | None, code: str):
    with web.client() as client:
        told = problem_in(client.request(method, path, content=content))
    assert told["code"] == code


def test_the_field_that_is_wrong_is_named(web: Web):
    with web.client() as client:
        told = problem_in(client.post("/api/launch/warm", json={"game": 7, "use_snapshot": "yes"}))
    assert told["field"] == "game"
    assert [each["field"] for each in told["errors"]] == ["game", "use_snapshot"]


def test_another_sites_page_is_told_apart_from_a_stranger(web: Web):
    with web.client() as client:
        refused = client.post("/api/launch/warm", json={"game": "snake"}, headers={"Origin": "https://evil.example"})
    assert problem_in(refused)["code"] == "foreign_page"


def test_the_type_of_a_problem_is_an_address_that_answers(web: Web):
    told = web.get("/api/nothing").json()
    path = httpx.URL(told["type"]).path
    answer = web.get(path)
    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in ("code", "title", "remedy")} == {
        "code": "not_found",
        "title": told["title"],
        "remedy": told["remedy"],
    }
    assert problem_in(web.get("/api/problems/no_such_code"))["code"] == "not_found"


def test_all_codes_are_listed(web: Web):
    assert [each["code"] for each in web.get("/api/problems").json()] == [each.code for each in TABLE]


def test_a_refused_socket_says_the_same(web: Web):
    with websockets.sync.client.connect(f"{web.address}/ws/runs/{NOBODYS}/") as connection:
        told = json.loads(connection.recv(timeout=10))
    assert (told["kind"], told["code"], told["status"]) == ("error", "no_such_run", 404)


def test_a_head_that_is_too_large_is_a_problem_too(web: Web):
    with web.client() as client:
        refused = client.get("/api/games", headers={f"X-{n}": "x" * 9_000 for n in range(5)})
    assert problem_in(refused)["code"] == "headers_too_large"
    assert refused.headers["x-request-id"]


def test_a_head_with_letters_that_none_may_have_is_a_problem_too(web: Web):
    with closing(socket.create_connection(("127.0.0.1", web.port), timeout=10)) as connection:
        connection.sendall(b"GET /api/games HTTP/1.1\r\nHost: 127.0.0.1\r\nX Y: z\r\nConnection: close\r\n\r\n")
        received = b""
        while data := connection.recv(65536):
            received += data
    head, body = received.split(b"\r\n\r\n", 1)
    assert b"application/problem+json" in head
    assert json.loads(body)["code"] == "bad_request"


# The id of a request.


@pytest.mark.parametrize("path", ["/api/games", "/api/nothing", "/", "/health/live", "/nothing", "/static/nothing"])
def test_each_answer_brings_the_id_that_its_request_had(web: Web, path: str):
    assert web.get(path, headers={"X-Request-ID": "order-7/2"}).headers["x-request-id"] == "order-7/2"
    ids = {web.get(path).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2, "a new one each time"


@pytest.mark.parametrize("path", [f"/api/stream/{NOBODYS}", f"/play/{NOBODYS}/", "/api/launch/warm"])
def test_so_does_what_is_answered_beside_django(web: Web, path: str):
    assert web.get(path, headers={"X-Request-ID": "abc"}).headers["x-request-id"] == "abc"


@pytest.mark.parametrize("said", ["x" * 65, "two words", 'a"b', "a]b", "", "ünter"])
def test_an_id_that_is_long_or_not_plain_is_not_taken(web: Web, said: str):
    answered = web.get("/api/games", headers={"X-Request-ID": said.encode()}).headers["x-request-id"]
    assert answered != said
    assert len(answered) == 16


def test_the_log_says_which_request_a_line_is_of(web: Web):
    web.get("/api/nothing-like-it", headers={"X-Request-ID": "find-me-7"})
    assert "/api/nothing-like-it [request find-me-7]" in web.log.read_text()


def test_what_a_request_had_written_down_has_its_id(web: Web):
    run = new_run(state="deploying")
    token = token_of(run.id)
    with web.client() as client:
        headers = {"X-Request-ID": "the-end", "Authorization": f"Bearer {token}"}
        assert client.delete(f"/api/sandbox/{run.id}", headers=headers).status_code == 200
    assert RunEvent.objects.get(run=run, kind="end").data["request_id"] == "the-end"
    assert FleetEvent.objects.get(run_id=run.id).data["request_id"] == "the-end"


def test_what_no_request_had_written_down_has_none(transactional_db: None):
    run = new_run(state="deploying")
    Client().delete(f"/api/sandbox/{run.id}", headers={"Authorization": f"Bearer {token_of(run.id)}"})
    assert "request_id" not in RunEvent.objects.get(run=run, kind="end").data
