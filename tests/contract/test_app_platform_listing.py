"""The whole account's list over HTTP: complete, or refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from pools.cloud.app_platform import DigitalOcean
from pools.cloud.budget import RequestBudget
from pools.cloud.errors import CloudUnavailable, IncompleteListing, RateLimited, Unauthorized
from tests.contract.conftest import TOKEN
from tests.contract.stub_server import Reply, Request, StubServer

APPS = "/v2/apps"
NEXT = {"pages": {"next": "https://api.digitalocean.com/v2/apps?page=2&per_page=200"}}
HTML = Reply(200, b"<html>Just a moment...</html>", {"Content-Type": "text/html"})


def app(number: int) -> dict[str, Any]:
    mark = {"key": "ORCHESTRATOR_ID", "value": "staging"}
    return {"id": f"a{number}", "spec": {"name": f"sandbox-{number:08x}", "services": [{"envs": [mark]}]}}


def account(count: int) -> Any:
    """A server that holds `count` apps and pages them as App Platform does."""

    def reply(request: Request) -> Reply:
        page, per_page = int(request.query.get("page", 1)), int(request.query.get("per_page", 20))
        assert 1 <= per_page <= 200
        numbers = range(count)[(page - 1) * per_page : page * per_page]
        links = NEXT if page * per_page < count else {"pages": {}}
        return Reply(200, {"apps": [app(n) for n in numbers], "links": links, "meta": {"total": count}})

    return reply


def page(numbers: range, total: int, *, more: bool = False) -> Reply:
    links = NEXT if more else {"pages": {}}
    return Reply(200, {"apps": [app(n) for n in numbers], "links": links, "meta": {"total": total}})


@pytest.mark.parametrize(("count", "requests"), [(0, 1), (1, 1), (200, 1), (201, 2), (1000, 5)])
def test_the_list_takes_one_request_for_200_apps(count: int, requests: int, stub: StubServer, cloud: DigitalOcean):
    stub.on("GET", APPS, account(count))
    apps = cloud.apps()
    assert [seen.id for seen in apps] == [f"a{number}" for number in range(count)]
    assert {seen.owner for seen in apps} <= {"staging"}
    assert len(stub.requests) == requests


BROKEN_PAGES = {
    "html": HTML,
    "nothing": Reply(200),
    "json cut in the middle": Reply(200, b'{"apps": [{"id": "a1"', {"Content-Type": "application/json"}),
    "no apps": Reply(200, {"meta": {"total": 3}}),
    "an error with status 200": Reply(200, {"id": "server_error", "message": "?"}),
    "fewer than announced": page(range(2), total=3),
    "more than announced": page(range(3), total=2),
    "suspiciously empty": page(range(0), total=3),
}


@pytest.mark.parametrize("reply", BROKEN_PAGES.values(), ids=BROKEN_PAGES.keys())
def test_a_broken_list_is_refused(reply: Reply, stub: StubServer, cloud: DigitalOcean):
    stub.on("GET", APPS, reply)
    with pytest.raises(IncompleteListing, match=r"The list of apps is not complete: .+\."):
        cloud.apps()


@pytest.mark.parametrize("reply", BROKEN_PAGES.values(), ids=BROKEN_PAGES.keys())
def test_a_list_that_was_broken_for_a_moment_is_read_again_once(reply: Reply, stub: StubServer, cloud: DigitalOcean):
    stub.on("GET", APPS, account(3))
    whole = account(3)
    stub.on("GET", APPS, lambda request: reply if len(stub.requests) == 1 else whole(request))
    assert len(cloud.apps()) == 3


@pytest.mark.parametrize(
    "second",
    [
        Reply(500, {"id": "server_error", "message": "?"}),
        Reply(hang_up=True),
        Reply(404, {"id": "not_found", "message": "?"}),
        Reply(200, {"apps": [app(200)]}, cut_short_by=9),
        Reply(524, b"<html>", {"Content-Type": "text/html"}),
        HTML,
    ],
)
def test_a_second_page_that_fails_makes_no_shorter_list(second: Reply, stub: StubServer, cloud: DigitalOcean):
    whole = account(201)
    stub.on("GET", APPS, lambda request: second if request.query["page"] == "2" else whole(request))
    with pytest.raises(IncompleteListing, match="page 2"):
        cloud.apps()


def test_a_first_page_that_fails_is_a_cloud_in_trouble(stub: StubServer, cloud: DigitalOcean):
    stub.on("GET", APPS, Reply(500, {"id": "server_error", "message": "boom"}))
    with pytest.raises(CloudUnavailable, match="500: boom"):
        cloud.apps()


def test_a_token_that_is_withdrawn_in_the_middle_says_so(stub: StubServer, cloud: DigitalOcean):
    stub.on("GET", APPS, page(range(200), 201, more=True), Reply(401, {"id": "unauthorized", "message": "?"}))
    with pytest.raises(Unauthorized):
        cloud.apps()


def test_a_429_in_the_middle_says_when_to_come_back(stub: StubServer, cloud: DigitalOcean):
    stub.on("GET", APPS, page(range(200), 201, more=True), Reply(429, {}, {"Retry-After": "12"}))
    with pytest.raises(RateLimited) as refused:
        cloud.apps()
    assert refused.value.retry_after_seconds == pytest.approx(12)


def test_pages_that_shift_once_are_read_again(stub: StubServer, cloud: DigitalOcean):
    """An app was made while the pages were read: the last of page 1 moved to page 2, and the total grew."""
    stub.on(
        "GET",
        APPS,
        page(range(200), 201, more=True),
        page(range(199, 202), 202),
        page(range(200), 202, more=True),
        page(range(200, 202), 202),
    )
    assert len(cloud.apps()) == 202
    assert len(stub.requests) == 4


def test_pages_that_keep_shifting_are_no_list(stub: StubServer, cloud: DigitalOcean):
    """An app was deleted while the pages were read: one slipped from page 2 to page 1, and was on neither."""
    first, second = page(range(200), 250, more=True), page(range(201, 250), 249)
    stub.on("GET", APPS, lambda request: second if request.query["page"] == "2" else first)
    with pytest.raises(IncompleteListing, match="total changed from 250 to 249"):
        cloud.apps()
    assert len(stub.requests) == 4


def test_a_page_that_repeats_for_ever_does_not_hold_a_turn_for_ever(stub: StubServer, cloud: DigitalOcean):
    stub.on("GET", APPS, page(range(200), 400, more=True))
    with pytest.raises(IncompleteListing, match="repeated"):
        cloud.apps()
    assert len(stub.requests) <= 4


def test_a_server_that_ignores_per_page_is_read_to_its_end(stub: StubServer, cloud: DigitalOcean):
    def reply(request: Request) -> Reply:
        start = (int(request.query["page"]) - 1) * 20
        return page(range(start, min(start + 20, 70)), 70, more=start + 20 < 70)

    stub.on("GET", APPS, reply)
    assert len(cloud.apps()) == 70


def test_a_budget_that_ends_in_the_middle_makes_no_shorter_list(stub: StubServer):
    cloud = DigitalOcean(TOKEN, stub.url, RequestBudget(per_minute=3, clock=lambda: 1_800_000_000.0))
    stub.on("GET", APPS, account(900))
    with pytest.raises(RateLimited, match="Our own limit"):
        cloud.apps()
    assert len(stub.requests) == 2
