"""HTTP as its RFCs say."""

from __future__ import annotations

import pytest

from games.models import Game
from tests.fixtures.web import Web, new_run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    "path", ["/api/games", "/api/pool/status", "/api/openapi.json", "/api/sandbox/{run}", "/api/x"]
)
def test_head_is_answered_where_get_is_and_without_the_body(web: Web, path: str) -> None:
    path = path.format(run=new_run().id)
    got = web.get(path)
    with web.client() as client:
        headed = client.head(path)
        assert client.get("/health/live").status_code == 200, "the connection goes on"
    assert (headed.status_code, headed.content) == (got.status_code, b"")
    for name in ("content-type", "content-length"):
        assert headed.headers[name] == got.headers[name]


def test_head_of_an_answer_that_is_sent_in_parts_has_no_body_either(web: Web) -> None:
    """All but the first 64 KiB of the body were sent, and taken for the answer to the next request."""
    Game.objects.bulk_create(
        Game(slug=name, title="x" * 80, tagline="y" * 100, runtime="python", snapshot_name=name)
        for name in (f"game-{number}" for number in range(300))
    )
    with web.client() as client:
        assert client.head("/api/games").content == b""
        assert client.get("/health/live").json() == {"status": "ok"}
        assert len(client.get("/api/games").content) > 65_536


def test_a_method_that_an_address_does_not_take_is_told_which_it_takes(web: Web) -> None:
    with web.client() as client:
        refused = client.put("/api/games")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET, HEAD, OPTIONS"
    assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/api/games", "GET, HEAD, OPTIONS"),
        ("/api/openapi.json", "GET, HEAD, OPTIONS"),
        ("/api/docs", "GET, HEAD, OPTIONS"),
        ("/api/launch/warm", "OPTIONS, POST"),
        ("/api/sandbox/{run}", "DELETE, GET, HEAD, OPTIONS"),
        ("/api/runs/{run}/events", "GET, HEAD, OPTIONS"),
        ("/api/stream/{run}", "GET, HEAD, OPTIONS"),
    ],
)
def test_options_say_what_an_address_takes(web: Web, path: str, allow: str) -> None:
    path = path.format(run=new_run().id)
    with web.client() as client:
        told = client.options(path)
        refused = client.put(path)
    assert (told.status_code, told.content, told.headers["allow"]) == (204, b"", allow)
    assert (refused.status_code, refused.headers["allow"]) == (405, allow)


def test_options_of_nothing_are_not_found(web: Web) -> None:
    with web.client() as client:
        assert client.options("/api/nothing").status_code == 404
