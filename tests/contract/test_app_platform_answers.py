"""What App Platform may answer, well or badly, and what the boundary makes of it."""

from __future__ import annotations

import logging
import multiprocessing
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import HTTPServer
from typing import Any

import pytest

from pools.cloud.app_platform import DigitalOcean
from pools.cloud.budget import RequestBudget
from pools.cloud.errors import (
    CloudError,
    CloudUnavailable,
    InvalidSpec,
    NameTaken,
    OverQuota,
    RateLimited,
    Unauthorized,
)
from pools.cloud.records import AppSpec, Phase, Proposal
from tests.contract.conftest import TOKEN
from tests.contract.stub_server import Reply, Request, StubServer

APPS, ONE_APP = "/v2/apps", "/v2/apps/a1"
FRESH = {
    "id": "a1",
    "spec": {"name": "sandbox-0123abcd", "region": "syd"},
    "created_at": "2026-01-01T10:00:00Z",
    "pending_deployment": {"id": "d1", "phase": "PENDING_BUILD"},
}
NOT_FOUND = Reply(404, {"id": "not_found", "message": "The resource you requested could not be found."})
HTML = Reply(200, b"<html><body>Just a moment...</body></html>", {"Content-Type": "text/html"})
UNUSABLE_SUCCESSES = {
    "html": HTML,
    "html that claims to be json": Reply(200, b"<html>", {"Content-Type": "application/json"}),
    "json cut in the middle": Reply(200, b'{"app": {"id": "a', {"Content-Type": "application/json"}),
    "nothing": Reply(200),
    "a body that ends before its length": Reply(200, {"app": FRESH}, cut_short_by=10),
    "a list": Reply(200, [1, 2]),
    "another object": Reply(200, {"id": "server_error", "message": "?"}),
    "an app without an id": Reply(200, {"app": {"spec": {"name": "x"}}}),
    "null": Reply(200, {"app": None}),
    "gzip that is none": Reply(200, b"no", {"Content-Encoding": "gzip", "Content-Type": "application/json"}),
    "xml": Reply(200, b"<a><b></a>", {"Content-Type": "application/xml"}),
    "deep nesting": Reply(200, b"[" * 200_000, {"Content-Type": "application/json"}),
}

Call = Callable[[DigitalOcean, AppSpec], object]
CALLS: dict[str, Call] = {
    "apps": lambda cloud, spec: cloud.apps(),
    "get": lambda cloud, spec: cloud.get("a1"),
    "create": lambda cloud, spec: cloud.create(spec),
    "delete": lambda cloud, spec: cloud.delete("a1"),
    "propose": lambda cloud, spec: cloud.propose(spec),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pools.cloud.app_platform.CONFIRM_SECONDS", 0.01)


def answer_everything(stub: StubServer, *replies: Reply) -> None:
    for method in ("GET", "POST", "DELETE"):
        stub.on(method, ".*", *replies)


def error(status: int, message: str, **headers: str) -> Reply:
    return Reply(status, {"id": "x", "message": message}, {k.replace("_", "-"): v for k, v in headers.items()})


# Create: asked once, whatever happens.


def test_a_created_app_is_told_from_the_answer(stub: StubServer, cloud: DigitalOcean, spec: AppSpec):
    stub.on("POST", APPS, Reply(200, {"app": FRESH}))
    app = cloud.create(spec)
    assert (app.id, app.name, app.phase) == ("a1", "sandbox-0123abcd", Phase.PENDING_BUILD)
    (request,) = stub.requests
    assert request.json["spec"]["name"] == spec.name
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == "application/json"


@pytest.mark.parametrize("status", [201, 202])
def test_a_success_that_pydo_takes_for_a_failure_is_a_success(
    status: int, stub: StubServer, cloud: DigitalOcean, spec: AppSpec
):
    stub.on("POST", APPS, Reply(status, {"app": FRESH}))
    assert cloud.create(spec).id == "a1"


def test_odd_headers_do_not_lose_an_answer(stub: StubServer, cloud: DigitalOcean, spec: AppSpec):
    """pydo reads these as integers, after the app has been created."""
    odd = {"ratelimit-limit": "many", "ratelimit-remaining": "1.5", "ratelimit-reset": ""}
    stub.on("POST", APPS, Reply(200, {"app": FRESH}, odd))
    assert cloud.create(spec).id == "a1"


@pytest.mark.parametrize(
    "reply",
    [
        error(500, "?"),
        error(500, "?", Retry_After="1"),
        error(502, "?"),
        error(503, "?", Retry_After="1"),
        error(504, "?"),
        error(429, "?"),
        error(429, "?", Retry_After="1"),
        error(409, "?", Retry_After="1"),
        error(422, "?", Retry_After="1"),
        error(408, "?", Retry_After="1"),
        Reply(307, None, {"Location": "/v2/apps"}),
        Reply(302, None, {"Location": "/v2/apps"}),
        Reply(hang_up=True),
        Reply(200, {"app": FRESH}, cut_short_by=5),
        HTML,
    ],
)
def test_a_create_is_sent_once_whatever_the_answer(reply: Reply, stub: StubServer, cloud: DigitalOcean, spec: AppSpec):
    """By default pydo sends it up to four times, and sleeps as long as Retry-After says."""
    answer_everything(stub, reply)
    began = time.monotonic()
    with pytest.raises(CloudError):
        cloud.create(spec)
    assert [(request.method, request.path) for request in stub.requests] == [("POST", APPS)]
    assert time.monotonic() - began < 20


def test_a_create_that_is_never_answered_is_given_up_and_not_repeated(stub: StubServer, spec: AppSpec):
    answer_everything(stub, Reply(silent=True))
    cloud = DigitalOcean(TOKEN, stub.url, timeout_seconds=0.3)
    with pytest.raises(CloudUnavailable, match=r"did not answer within 0.3 s"):
        cloud.create(spec)
    assert stub.count("POST") == 1


@pytest.mark.parametrize("reply", UNUSABLE_SUCCESSES.values(), ids=UNUSABLE_SUCCESSES.keys())
def test_a_create_whose_answer_can_not_be_read_may_have_had_its_effect(
    reply: Reply, stub: StubServer, cloud: DigitalOcean, spec: AppSpec
):
    stub.on("POST", APPS, reply)
    with pytest.raises(CloudUnavailable):
        cloud.create(spec)


def test_an_answer_about_another_app_is_not_believed(stub: StubServer, cloud: DigitalOcean, spec: AppSpec):
    """Its id would be kept as ours, and deleted with the sandbox."""
    other = FRESH | {"id": "b2", "spec": {"name": "web"}}
    stub.on("POST", APPS, Reply(200, {"app": other}))
    with pytest.raises(CloudUnavailable, match="another app, web"):
        cloud.create(spec)
    stub.on("GET", f"{APPS}/a1", Reply(200, {"app": other}))
    with pytest.raises(CloudUnavailable, match="another app, web"):
        cloud.get("a1")


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        (error(409, "App name already exists"), NameTaken, "sandbox-0123abcd"),
        (error(400, "error validating app spec: region"), InvalidSpec, "error validating app spec: region"),
        (error(422, "name exceeds the maximum length"), InvalidSpec, "maximum length"),
        (error(400, "services[0].instance_count is above its limit"), InvalidSpec, "instance_count"),
        (error(422, "You have reached the maximum number of apps"), OverQuota, "can't hold one more app"),
        (error(422, "account limit exceeded"), OverQuota, "account limit"),
        (error(400, "app quota reached"), OverQuota, "quota"),
        (error(403, "You have reached your app limit"), OverQuota, "app limit"),
        (error(403, "You are not authorized to perform this operation"), Unauthorized, "not authorized"),
        (error(401, "Unable to authenticate you"), Unauthorized, "Unable to authenticate you"),
        (error(402, "Please pay"), CloudUnavailable, "Please pay"),
        (NOT_FOUND, CloudUnavailable, "404"),
        (Reply(500), CloudUnavailable, "500"),
    ],
)
def test_a_refused_create_says_why(
    reply: Reply, kind: type[CloudError], says: str, stub: StubServer, cloud: DigitalOcean, spec: AppSpec
):
    stub.on("POST", f"{APPS}(/propose)?", reply)
    with pytest.raises(CloudError, match=says) as refused:
        cloud.create(spec)
    assert type(refused.value) is kind


def test_an_impossible_spec_is_not_even_sent(stub: StubServer, cloud: DigitalOcean, spec: AppSpec):
    with pytest.raises(InvalidSpec):
        cloud.create(AppSpec("NO", spec.owner, spec.image, spec.region, spec.size, spec.token))
    assert stub.requests == []


# Get and delete: a 404 is not an app.


def test_an_app_that_is_gone_is_none(stub: StubServer, cloud: DigitalOcean):
    """pydo returns the error's body as if it were the app."""
    stub.on("GET", ONE_APP, NOT_FOUND)
    assert cloud.get("a1") is None


def test_an_active_app_has_its_address(stub: StubServer, cloud: DigitalOcean):
    active = {**FRESH, "active_deployment": {"phase": "ACTIVE"}, "live_url": "https://x.ondigitalocean.app"}
    stub.on("GET", ONE_APP, Reply(200, {"app": active}))
    app = cloud.get("a1")
    assert app is not None
    assert (app.phase, app.url) == (Phase.ACTIVE, "https://x.ondigitalocean.app")
    assert app.created_at == datetime(2026, 1, 1, 10, tzinfo=UTC)
    assert len(stub.requests) == 1


def test_a_failure_that_only_the_deployment_itself_tells_is_found(stub: StubServer, cloud: DigitalOcean):
    stub.on("GET", ONE_APP, Reply(200, {"app": {"id": "a1", "spec": {"name": "x"}}}))
    failed = {"id": "d1", "phase": "ERROR", "progress": {"steps": [{"reason": {"code": "ImagePullFailed"}}]}}
    stub.on("GET", f"{ONE_APP}/deployments", Reply(200, {"deployments": [failed], "meta": {"total": 9}}))
    app = cloud.get("a1")
    assert app is not None
    assert (app.phase, app.failure) == (Phase.ERROR, "The deployment failed: ImagePullFailed")
    assert stub.requests[-1].query == {"page": "1", "per_page": "1"}


@pytest.mark.parametrize("reply", [NOT_FOUND, Reply(200, {}), Reply(200, {"deployments": []}), HTML])
def test_an_app_whose_deployments_say_nothing_is_unknown(reply: Reply, stub: StubServer, cloud: DigitalOcean):
    stub.on("GET", ONE_APP, Reply(200, {"app": {"id": "a1"}}))
    stub.on("GET", f"{ONE_APP}/deployments", reply)
    app = cloud.get("a1")
    assert app is not None
    assert app.phase is Phase.UNKNOWN


@pytest.mark.parametrize("reply", UNUSABLE_SUCCESSES.values(), ids=UNUSABLE_SUCCESSES.keys())
def test_an_app_that_can_not_be_read_is_not_taken_for_gone(reply: Reply, stub: StubServer, cloud: DigitalOcean):
    stub.on("GET", ONE_APP, reply)
    with pytest.raises(CloudUnavailable):
        cloud.get("a1")


@pytest.mark.parametrize("reply", [Reply(200, {"id": "a1"}), Reply(202, {}), Reply(204), Reply(200)])
def test_a_delete_that_worked_is_true(reply: Reply, stub: StubServer, cloud: DigitalOcean):
    stub.on("DELETE", ONE_APP, reply)
    assert cloud.delete("a1") is True
    assert stub.count("DELETE") == 1


def test_a_delete_of_what_is_gone_is_false(stub: StubServer, cloud: DigitalOcean):
    stub.on("DELETE", ONE_APP, NOT_FOUND)
    assert cloud.delete("a1") is False


@pytest.mark.parametrize("call", ["get", "delete"])
@pytest.mark.parametrize("body", [b"<html>404 Not Found</html>", b"default backend - 404"])
def test_a_404_of_something_in_between_does_not_prove_that_an_app_is_gone(
    body: bytes, call: str, stub: StubServer, cloud: DigitalOcean, spec: AppSpec
):
    answer_everything(stub, Reply(404, body, {"Content-Type": "text/html"}))
    with pytest.raises(CloudUnavailable, match="404"):
        CALLS[call](cloud, spec)


@pytest.mark.parametrize("reply", [error(500, "?"), error(503, "?", Retry_After="9"), error(409, "busy")])
def test_a_failed_delete_is_sent_once_and_is_no_success(reply: Reply, stub: StubServer, cloud: DigitalOcean):
    stub.on("DELETE", ONE_APP, reply)
    with pytest.raises(CloudUnavailable):
        cloud.delete("a1")
    assert stub.count("DELETE") == 1


@pytest.mark.parametrize("app_id", ["", ".", ".."])
def test_an_id_that_leads_elsewhere_is_never_sent(app_id: str, stub: StubServer, cloud: DigitalOcean):
    """An empty id would ask for the list."""
    for call in (cloud.get, cloud.delete):
        with pytest.raises(ValueError, match="not an app's id"):
            call(app_id)
    assert stub.requests == []


def test_an_id_stays_one_segment_of_the_path(stub: StubServer, cloud: DigitalOcean):
    stub.on("DELETE", ".*", NOT_FOUND)
    assert cloud.delete("../droplets/1?x=#") is False
    assert stub.requests[0].target == "/v2/apps/..%2Fdroplets%2F1%3Fx%3D%23"


# Proposals.


def test_a_proposal_says_whether_the_name_is_free(stub: StubServer, cloud: DigitalOcean, spec: AppSpec):
    stub.on("POST", "/v2/apps/propose", Reply(200, {"app_name_available": True, "app_cost": 12}))
    assert cloud.propose(spec) == Proposal(name_is_available=True)


def test_a_proposal_that_is_refused_says_why(stub: StubServer, cloud: DigitalOcean, spec: AppSpec):
    stub.on("POST", "/v2/apps/propose", error(400, "no such image"))
    with pytest.raises(InvalidSpec, match="no such image"):
        cloud.propose(spec)


# All calls.


@every_call
@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_does_not_work_is_told_apart(
    status: int, call: Call, stub: StubServer, cloud: DigitalOcean, spec: AppSpec
):
    answer_everything(stub, error(status, "Unable to authenticate you"))
    with pytest.raises(Unauthorized, match=str(status)):
        call(cloud, spec)
    assert len(stub.requests) == 2


@every_call
@pytest.mark.parametrize(
    "reply",
    [error(500, "?"), error(503, "?", Retry_After="7"), Reply(524, b"<html>", {"Content-Type": "text/html"})],
)
def test_a_cloud_in_trouble_is_asked_once_and_said_to_be_so(
    reply: Reply, call: Call, stub: StubServer, cloud: DigitalOcean, spec: AppSpec
):
    answer_everything(stub, reply)
    with pytest.raises(CloudUnavailable) as failed:
        call(cloud, spec)
    assert len(stub.requests) == 1
    assert failed.value.retry_after_seconds == (7 if reply.status == 503 else None)


@every_call
def test_a_cloud_that_refuses_connections_is_unavailable_at_once(call: Call, spec: AppSpec):
    with HTTPServer(("127.0.0.1", 0), None) as closed:  # type: ignore[arg-type]  it never gets to answer
        port = closed.server_port
    began = time.monotonic()
    with pytest.raises(CloudUnavailable, match="could not be reached"):
        call(DigitalOcean(TOKEN, f"http://127.0.0.1:{port}"), spec)
    assert time.monotonic() - began < 20


@every_call
def test_a_cloud_that_hangs_up_is_unavailable(call: Call, stub: StubServer, cloud: DigitalOcean, spec: AppSpec):
    answer_everything(stub, Reply(hang_up=True))
    with pytest.raises(CloudUnavailable, match="broke"):
        call(cloud, spec)
    assert len(stub.requests) == 1


# Limits.


@every_call
def test_after_a_429_nothing_is_sent_until_the_cloud_allows_it(call: Call, stub: StubServer, spec: AppSpec):
    clock = [1_800_000_000.0]
    cloud = DigitalOcean(TOKEN, stub.url, RequestBudget(clock=lambda: clock[0]), now=lambda: clock[0])
    answer_everything(stub, error(429, "slow down", Retry_After="30"))
    for _ in range(3):
        with pytest.raises(RateLimited) as refused:
            call(cloud, spec)
        assert refused.value.retry_after_seconds == pytest.approx(30)
    assert len(stub.requests) == 1
    clock[0] += 30
    with pytest.raises(RateLimited):
        call(cloud, spec)
    assert len(stub.requests) == 2


def test_a_429_with_a_date_is_obeyed(stub: StubServer):
    clock = [datetime(2026, 1, 1, 10, tzinfo=UTC).timestamp()]
    cloud = DigitalOcean(TOKEN, stub.url, RequestBudget(clock=lambda: clock[0]), now=lambda: clock[0])
    answer_everything(stub, error(429, "?", Retry_After="Thu, 01 Jan 2026 10:00:20 GMT"))
    with pytest.raises(RateLimited) as refused:
        cloud.apps()
    assert refused.value.retry_after_seconds == pytest.approx(20)


def test_429s_without_retry_after_are_met_with_growing_delays(stub: StubServer):
    clock = [1_800_000_000.0]
    cloud = DigitalOcean(TOKEN, stub.url, RequestBudget(clock=lambda: clock[0]))
    nothing = Reply(200, {"apps": [], "meta": {"total": 0}})
    answer_everything(stub, error(429, "?"), error(429, "?"), nothing, error(429, "?"))
    waits = []
    for _ in range(2):
        with pytest.raises(RateLimited) as refused:
            cloud.apps()
        waits.append(refused.value.retry_after_seconds)
        clock[0] += waits[-1]
    stub.on("GET", ".*", nothing, error(429, "?"))
    cloud.apps()
    with pytest.raises(RateLimited) as refused:
        cloud.apps()
    assert [*waits, refused.value.retry_after_seconds] == [5, 10, 5]


def test_a_spent_budget_sends_nothing(stub: StubServer, spec: AppSpec):
    cloud = DigitalOcean(TOKEN, stub.url, RequestBudget(per_minute=5, clock=lambda: 1_800_000_000.0))
    stub.on("GET", ".*", Reply(200, {"apps": [], "meta": {"total": 0}}))
    for _ in range(4):
        cloud.apps()
    with pytest.raises(RateLimited, match="Our own limit"):
        cloud.apps()
    cloud.budget.spend()  # what listings leave is for launches
    with pytest.raises(RateLimited, match="Our own limit"):
        cloud.create(spec)
    assert len(stub.requests) == 4
    assert cloud.budget.remaining() == 0


# The token, proxies, threads, forks.


def everything_said(error: BaseException) -> str:
    """What a log, or a reporter that follows causes and looks into them, would show."""
    said = "".join(traceback.format_exception(error))
    link: BaseException | None = error
    while link is not None:
        request = getattr(getattr(link, "inner_exception", None), "request", None)
        said += repr(link) + repr(vars(link)) + repr(getattr(request, "headers", ""))
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return said


@pytest.mark.parametrize(
    "reply",
    [
        lambda request: error(400, f"bad header {request.headers['authorization']} {request.content.decode()}"),
        lambda request: error(401, f"bad token {request.headers['authorization']}"),
        lambda request: error(403, f"bad limit {request.headers['authorization']} {request.content.decode()}"),
        lambda request: error(500, request.headers["authorization"]),
        lambda request: error(429, request.headers["authorization"]),
        lambda request: Reply(200, request.headers["authorization"].encode()),
        Reply(hang_up=True),
    ],
)
def test_no_token_is_in_an_error_even_when_the_cloud_echoes_it(
    reply: Any, stub: StubServer, cloud: DigitalOcean, spec: AppSpec
):
    answer_everything(stub, reply)
    with pytest.raises(CloudError) as failed:
        cloud.create(spec)
    assert TOKEN not in everything_said(failed.value)
    assert spec.token not in everything_said(failed.value)


def test_no_token_is_logged_even_at_debug_level(
    stub: StubServer, cloud: DigitalOcean, spec: AppSpec, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    stub.on("POST", APPS, error(500, "?"))
    with pytest.raises(CloudUnavailable):
        cloud.create(spec)
    logged = caplog.text + "".join(str(record.__dict__) for record in caplog.records)
    assert TOKEN not in logged
    assert spec.token not in logged


def test_a_proxy_in_the_environment_does_not_see_requests_to_this_machine(
    stub: StubServer, cloud: DigitalOcean, monkeypatch: pytest.MonkeyPatch
):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    stub.on("GET", ".*", Reply(200, {"apps": [], "meta": {"total": 0}}))
    assert cloud.apps() == []


def test_threads_share_one_client_without_mixing_answers(stub: StubServer, cloud: DigitalOcean):
    def reply(request: Request) -> Reply:
        app_id = request.path.rsplit("/", 1)[-1]
        return Reply(200, {"app": {"id": app_id, "pending_deployment": {"phase": "BUILDING"}}})

    stub.on("GET", "/v2/apps/.*", reply)
    wrong: list[object] = []

    def ask(thread: int) -> None:
        for number in range(10):
            app = cloud.get(f"{thread}-{number}")
            if app is None or app.id != f"{thread}-{number}":
                wrong.append(app)

    threads = [threading.Thread(target=ask, args=(thread,)) for thread in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert len(stub.requests) == 120


def test_a_fork_does_not_share_its_parents_connection(stub: StubServer, cloud: DigitalOcean):
    """Django-Q forks its workers, and two processes that read one socket read each other's answers."""
    stub.on("GET", "/v2/apps/.*", lambda request: Reply(200, {"app": {"id": request.path.rsplit("/", 1)[-1]}}))
    stub.on("GET", "/v2/apps/.*/deployments", Reply(200, {}))
    forks = multiprocessing.get_context("fork")
    answers = forks.SimpleQueue()

    def ask(app_id: str) -> None:
        app = cloud.get(app_id)
        answers.put(app.id if app else None)

    cloud.get("parent")
    children = [forks.Process(target=ask, args=(f"child-{number}",)) for number in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0, 0, 0]
    assert sorted(answers.get() for _ in children) == [f"child-{number}" for number in range(4)]
    ports = {request.client_port for request in stub.requests}
    assert len(ports) == 5
