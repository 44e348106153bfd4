"""HTTP as its RFCs say."""

from __future__ import annotations

import pytest

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


def test_a_method_that_an_address_does_not_take_is_told_which_it_takes(web: Web) -> None:
    with web.client() as client:
        refused = client.put("/api/games")
    assert refused.status_code == 405
    assert "GET" in refused.headers["allow"]
    assert refused.headers["content-type"] == "application/problem+json"
