"""Only the API's own words count, and a refused token only when it was refused twice. Dates are fitted, lists paced."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pools.cloud import app_platform
from pools.cloud.app_platform import DigitalOcean
from pools.cloud.budget import RequestBudget
from pools.cloud.errors import CloudUnavailable, IncompleteListing, Unauthorized
from pools.cloud.records import AppSpec
from tests.contract.conftest import TOKEN
from tests.contract.stub_server import Reply, Request, StubServer
from tests.contract.test_app_platform_answers import CALLS, FRESH, answer_everything, error, every_call
from tests.contract.test_app_platform_listing import account, page

APPS = "/v2/apps"
HTML = {"Content-Type": "text/html"}
REFUSED = error(401, "Unable to authenticate you")
IN_BETWEEN = {
    "html": (b"<html>Attention Required! | Cloudflare</html>", HTML),
    "nothing": (b"", {}),
    "text": (b"default backend", {"Content-Type": "text/plain"}),
    "another json": (b'{"error": "blocked"}', {"Content-Type": "application/json"}),
    "a json list": (b"[]", {"Content-Type": "application/json"}),
}


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_platform, "CONFIRM_SECONDS", 0.05)


@every_call
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
@pytest.mark.parametrize("kind", IN_BETWEEN)
def test_what_something_in_between_answers_is_no_verdict(
    kind: str, status: int, call: Any, stub: StubServer, cloud: DigitalOcean, spec: AppSpec
):
    """An edge's 403 ended launches as a refused token; its 400 to a proposal freed a name that was taken."""
    body, headers = IN_BETWEEN[kind]
    answer_everything(stub, Reply(status, body, headers))
    with pytest.raises(CloudUnavailable, match=str(status)):
        call(cloud, spec)
    assert len(stub.requests) == 1


READS: dict[str, tuple[str, dict[str, Any]]] = {
    "apps": (APPS, {"apps": [], "meta": {"total": 0}}),
    "get": (f"{APPS}/a1", {"app": {**FRESH, "active_deployment": {"phase": "ACTIVE"}}}),
}


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("status", [401, 403])
def test_a_read_that_was_refused_once_is_read_a_moment_later(
    status: int, name: str, stub: StubServer, cloud: DigitalOcean, spec: AppSpec
):
    """A single 401 failed launches within 2 s."""
    path, body = READS[name]
    stub.on("GET", path, error(status, "Unable to authenticate you"), Reply(200, body))
    CALLS[name](cloud, spec)
    assert len(stub.requests) == 2


def test_a_create_that_was_refused_once_is_not_sent_again_to_find_out(
    stub: StubServer, cloud: DigitalOcean, spec: AppSpec
):
    stub.on("POST", APPS, REFUSED)
    stub.on("POST", f"{APPS}/propose", Reply(200, {"app_name_available": True}))
    with pytest.raises(CloudUnavailable, match="took it a moment later"):
        cloud.create(spec)
    assert [request.path for request in stub.requests] == [APPS, f"{APPS}/propose"]


def test_a_token_that_is_known_to_be_refused_is_not_asked_about_twice(stub: StubServer, cloud: DigitalOcean):
    fine = Reply(200, {"apps": [], "meta": {"total": 0}})
    stub.on("GET", APPS, REFUSED, REFUSED, REFUSED, fine, REFUSED, fine)
    for requests in (2, 3):
        with pytest.raises(Unauthorized):
            cloud.apps()
        assert len(stub.requests) == requests
    cloud.apps()
    cloud.apps()
    assert len(stub.requests) == 6


@pytest.mark.parametrize(
    "date",
    [
        "9999-12-31T23:59:59-10:00",
        "0001-01-01T00:00:00+14:00",
        "0001-01-01T00:00:00Z",
        "1066-10-14T09:00:00Z",
        "9998-01-01T00:00:00Z",
        "garbage",
        "",
        17,
        None,
        {},
    ],
)
def test_a_date_that_no_database_takes_costs_nothing_but_itself(date: Any, stub: StubServer, cloud: DigitalOcean):
    """It ended every turn on PostgreSQL for good, and the admin with it."""
    odd = {**FRESH, "created_at": date, "updated_at": date}
    stub.on("GET", APPS, Reply(200, {"apps": [odd, {**FRESH, "id": "b2"}], "meta": {"total": 2}}))
    first, second = cloud.apps()
    assert abs(first.created_at - datetime.now(UTC)).total_seconds() < 60
    assert first.updated_at is None
    assert second.created_at == datetime(2026, 1, 1, 10, tzinfo=UTC)


# The pace of lists that fail.


def torn(count: int) -> Any:
    """A server whose second page lost the app at its seam to the first, after that was read."""
    whole = account(count)

    def reply(request: Request) -> Reply:
        if request.query["page"] == "2":
            return page(range(201, 400), count, more=True)
        return whole(request)

    return reply


def test_a_torn_list_of_many_pages_is_not_read_again_at_once(stub: StubServer):
    """2,862 of the 5,000 requests of an hour went into asking again."""
    clock = [1_800_000_000.0]
    cloud = DigitalOcean(TOKEN, stub.url, RequestBudget(clock=lambda: clock[0]), now=lambda: clock[0])
    stub.on("GET", APPS, torn(1200))
    for _ in range(600):  # a turn each second
        with pytest.raises(IncompleteListing, match="announced 1200 apps and showed 1199"):
            cloud.apps()
        clock[0] += 1
    assert len(stub.requests) < 900 / 6 + 20  # 900 an hour
    stub.on("GET", APPS, account(1200))
    clock[0] += 60
    assert len(cloud.apps()) == 1200


def test_a_list_that_was_torn_once_is_whole_a_few_seconds_later(stub: StubServer):
    clock = [1_800_000_000.0]
    cloud = DigitalOcean(TOKEN, stub.url, now=lambda: clock[0])
    stub.on("GET", APPS, torn(1200))
    with pytest.raises(IncompleteListing):
        cloud.apps()
    stub.on("GET", APPS, account(1200))
    clock[0] += 6
    assert len(cloud.apps()) == 1200
    assert len(stub.requests) == 12 + 1  # the torn one showed that it was not done on its last page


def test_a_clock_that_is_set_back_does_not_keep_lists_from_being_read(stub: StubServer):
    clock = [1_800_000_000.0]
    cloud = DigitalOcean(TOKEN, stub.url, now=lambda: clock[0])
    stub.on("GET", APPS, torn(1200))
    with pytest.raises(IncompleteListing):
        cloud.apps()
    stub.on("GET", APPS, account(1200))
    clock[0] -= 3600
    assert len(cloud.apps()) == 1200
