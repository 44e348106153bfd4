"""App Platform's API, as the local cloud speaks it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest, MockResponse

from tests.fixtures.local_cloud import LocalCloudProcess
from tests.fixtures.waiting import until
from tests.integration.localcloud.conftest import AGENT_TOKEN, Api, deployment_of, sandbox_spec

ORDER = ["PENDING_BUILD", "BUILDING", "PENDING_DEPLOY", "DEPLOYING", "ACTIVE"]


def test_every_answer_is_one_that_the_public_contract_knows(paper_api: Api, contract: OpenAPI):
    def check(method: str, path: str, **options: Any) -> Any:
        answer = paper_api.request(method, path, **options)
        request = answer.request
        mock = MockRequest(
            "https://api.digitalocean.com",
            method.lower(),
            request.url.path,
            args=dict(request.url.params),
            headers=dict(request.headers),
            data=request.content or None,
        )
        seen = MockResponse(answer.content, answer.status_code, dict(answer.headers), "application/json")
        contract.validate_response(mock, seen)
        assert answer.status_code == 200
        assert "null" not in answer.text
        return answer.json()

    app = check("POST", "/v2/apps", json={"spec": sandbox_spec()})["app"]
    one = f"/v2/apps/{app['id']}"
    paper_api.until_active(app["id"])
    check("GET", "/v2/apps", params={"page": 1, "per_page": 200})
    check("GET", one)
    check("PUT", one, json={"spec": sandbox_spec()})
    check("POST", f"{one}/deployments", json={"force_build": True})
    deployments = check("GET", f"{one}/deployments", params={"per_page": 1})["deployments"]
    check("GET", f"{one}/deployments/{deployments[0]['id']}")
    check("GET", f"{one}/logs", params={"type": "RUN"})
    check("GET", "/v2/apps/regions")
    check("GET", "/v2/apps/tiers/instance_sizes")
    check("GET", "/v2/apps/tiers/instance_sizes/apps-s-1vcpu-1gb")
    check("POST", "/v2/apps/propose", json={"spec": sandbox_spec("another-name")})
    check("DELETE", one)


def test_the_contract_would_have_caught_a_wrong_answer(contract: OpenAPI):
    """So that the test above can fail."""
    request = MockRequest("https://api.digitalocean.com", "get", "/v2/apps/regions")
    wrong = MockResponse(b'{"regions": "none"}', 200, {}, "application/json")
    with pytest.raises(Exception, match=r"[Rr]esponse|[Dd]ata|[Ii]nvalid"):
        contract.validate_response(request, wrong)


def test_a_deployment_goes_through_its_phases_in_order_and_then_has_an_address(
    local_cloud: LocalCloudProcess, api: Api
):
    local_cloud.control.settings(deploy_seconds=4)
    created = api.make(sandbox_spec())
    assert created["pending_deployment"]["phase"] == "PENDING_BUILD"
    seen: list[str] = []

    def is_active() -> bool:
        app = api.app(created["id"])
        phase = deployment_of(app)["phase"]
        if phase not in seen:
            seen.append(phase)
        assert ("live_url" in app) == (phase == "ACTIVE")
        return phase == "ACTIVE"

    until(is_active, "the app is active", every=0.01)
    assert seen == [phase for phase in ORDER if phase in seen]
    assert len(seen) >= 3
    url = api.app(created["id"])["live_url"]
    assert httpx.get(f"{url}/health", trust_env=False).json()["status"] == "healthy"


def test_what_does_not_apply_is_absent(paper_cloud: LocalCloudProcess, paper_api: Api):
    paper_cloud.control.settings(deploy_seconds=600)
    app = paper_api.make(sandbox_spec())
    assert app.keys() >= {"id", "spec", "created_at", "updated_at", "pending_deployment", "region", "tier_slug"}
    assert not app.keys() & {
        "active_deployment",
        "in_progress_deployment",
        "default_ingress",
        "live_url",
        "live_domain",
    }


def test_secrets_come_back_encrypted_and_others_as_they_were_given(paper_api: Api):
    app = paper_api.make(sandbox_spec(ORCHESTRATOR_ID="staging"))
    envs = {env["key"]: env["value"] for env in app["spec"]["services"][0]["envs"]}
    assert envs["ORCHESTRATOR_ID"] == "staging"
    assert envs["SANDBOX_API_TOKEN"].startswith("EV[1:")
    assert AGENT_TOKEN not in paper_api.get("/v2/apps").text + paper_api.get(f"/v2/apps/{app['id']}/deployments").text


def test_an_app_that_is_updated_with_what_the_api_showed_keeps_its_secrets(api: Api):
    app = api.until_active(api.make(sandbox_spec())["id"])
    api.put(f"/v2/apps/{app['id']}", json={"spec": app["spec"]})

    def runs_anew() -> bool:
        seen = api.app(app["id"])["active_deployment"]
        return seen["id"] != app["active_deployment"]["id"]

    until(runs_anew, "the new deployment is active")
    headers = {"Authorization": f"Bearer {AGENT_TOKEN}"}
    url = api.app(app["id"])["live_url"]
    assert httpx.get(f"{url}/api/processes", headers=headers, trust_env=False).status_code == 200
    phases = [deployment["phase"] for deployment in api.get(f"/v2/apps/{app['id']}/deployments").json()["deployments"]]
    assert phases == ["ACTIVE", "SUPERSEDED"]


def test_pages_hold_every_app_once_and_link_to_each_other(paper_cloud: LocalCloudProcess, paper_api: Api):
    ids = paper_cloud.control.make_apps(45)
    assert len(paper_api.get("/v2/apps").json()["apps"]) == 20
    seen: list[str] = []
    page: dict[str, Any] = paper_api.get("/v2/apps", params={"per_page": 15}).json()
    assert "prev" not in page["links"]["pages"]
    while True:
        assert page["meta"]["total"] == 45
        seen += [app["id"] for app in page["apps"]]
        if "next" not in page["links"]["pages"]:
            break
        page = paper_api.get(page["links"]["pages"]["next"]).json()
    assert sorted(seen) == sorted(ids)
    assert page["links"]["pages"].keys() == {"first", "prev"}
    everything = paper_api.get("/v2/apps", params={"per_page": 200}).json()
    assert (len(everything["apps"]), everything["links"]) == (45, {"pages": {}})
    assert paper_api.get("/v2/apps", params={"page": 9, "per_page": 200}).json()["apps"] == []


@pytest.mark.parametrize("query", [{"per_page": 201}, {"per_page": 0}, {"page": 0}, {"page": "x"}, {"per_page": "²"}])
def test_a_page_that_can_not_be_is_refused(paper_api: Api, query: dict[str, Any]):
    answer = paper_api.get("/v2/apps", params=query)
    assert answer.status_code == 400
    assert next(iter(query)) in answer.json()["message"]


def test_a_name_is_given_once_and_free_again_after_the_deletion(paper_api: Api):
    app = paper_api.make(sandbox_spec())
    answer = paper_api.post("/v2/apps", json={"spec": sandbox_spec()})
    assert (answer.status_code, answer.json()["id"]) == (409, "conflict")
    assert answer.json()["message"] == "App name already exists"
    assert paper_api.delete(f"/v2/apps/{app['id']}").json() == {"id": app["id"]}
    paper_api.make(sandbox_spec())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "Sandbox"}, "name"),
        ({"name": "s"}, "name"),
        ({"name": 7}, "name"),
        ({"region": "moon"}, "region"),
        ({"services": []}, "component"),
        ({"services": "sandbox"}, "services"),
        ({"services": [{"name": "sandbox"}]}, "services[0]"),
        ({"colour": "red"}, "colour"),
        ({"instance_size_slug": "huge"}, "instance_size_slug"),
        ({"instance_size_slug": ["huge"]}, "instance_size_slug"),
        ({"instance_count": 0}, "instance_count"),
        ({"http_port": "8080"}, "http_port"),
        ({"image": {"registry_type": "GHCR"}}, "image.repository"),
        ({"image": {"registry_type": "FLOPPY", "repository": "a"}}, "image.registry_type"),
        ({"envs": [{"value": "x"}]}, "envs[0].key"),
        ({"envs": [{"key": "A", "value": 5}]}, "envs[0].value"),
        ({"envs": [{"key": "A", "value": "x", "type": "ODD"}]}, "envs[0]"),
        ({"envz": []}, "envz"),
    ],
)
def test_a_spec_that_is_wrong_is_refused_naming_the_field(shared_paper: Api, change: dict[str, Any], field: str):
    spec = sandbox_spec()
    place = spec if change.keys() & {"name", "region", "services", "colour"} else spec["services"][0]
    place |= change
    for path in ("/v2/apps", "/v2/apps/propose"):
        answer = shared_paper.post(path, json={"spec": spec})
        assert (answer.status_code, answer.json()["id"]) == (400, "bad_request")
        assert field in answer.json()["message"]
    assert shared_paper.names() == []


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"spec": null}', b"\xff"])
def test_a_body_that_is_no_spec_is_refused(shared_paper: Api, content: bytes):
    assert shared_paper.post("/v2/apps", content=content).status_code == 400


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "token-for-tests", "Basic token-for-tests"])
def test_without_the_token_nothing_opens(paper_cloud: LocalCloudProcess, authorization: str):
    headers = {"Authorization": authorization} if authorization else {}
    for method, path in (("GET", "/v2/apps"), ("POST", "/v2/apps"), ("GET", "/v2/nothing"), ("DELETE", "/v2/apps/x")):
        answer = httpx.request(method, f"{paper_cloud.url}{path}", headers=headers, trust_env=False)
        assert (answer.status_code, answer.json()["id"]) == (401, "unauthorized")


CALLS = {  # what each takes, as the public description has it
    "app:read": [("GET", "/v2/apps"), ("GET", "/v2/apps/regions"), ("POST", "/v2/apps/propose"), ("GET", "{one}")],
    "app:create": [("POST", "/v2/apps")],
    "app:update": [("PUT", "{one}"), ("POST", "{one}/deployments")],
    "app:delete": [("DELETE", "{one}")],
}


@pytest.mark.parametrize("missing", CALLS)
def test_a_token_without_a_scope_is_refused_what_takes_it_and_nothing_else(
    paper_cloud: LocalCloudProcess, paper_api: Api, missing: str
):
    paper_cloud.control.settings(scopes={paper_cloud.token: [scope for scope in CALLS if scope != missing]})
    for scope, calls in CALLS.items():
        for method, path in calls:
            one = "/v2/apps/00000000-0000-4000-8000-000000000009"
            answer = paper_api.request(
                method, path.format(one=one), json={"spec": {}} if method in ("POST", "PUT") else None
            )
            assert (answer.status_code == 403) == (scope == missing), f"{method} {path}: {answer.text}"
            assert answer.status_code != 403 or scope in answer.json()["message"]


def test_scopes_that_are_none_are_refused(paper_cloud: LocalCloudProcess):
    for wrong in ({"t": ["app:fly"]}, {"t": "app:read"}, []):
        with pytest.raises(ValueError, match="app:read"):
            paper_cloud.control.settings(scopes=wrong)


def test_an_image_that_does_not_exist_is_refused_when_it_is_proposed(paper_api: Api):
    answer = paper_api.post("/v2/apps/propose", json={"spec": sandbox_spec(runtime="cobol")})
    assert (answer.status_code, answer.json()["id"]) == (400, "bad_request")
    assert "bikramkgupta/sandbox-cobol-service:latest not found" in answer.json()["message"]


def test_what_is_not_there_is_a_404_with_a_body(shared_paper: Api):
    unknown = "/v2/apps/00000000-0000-4000-8000-000000000009"
    for method, path in (
        ("GET", unknown),
        ("DELETE", unknown),
        ("GET", f"{unknown}/deployments"),
        ("GET", f"{unknown}/logs"),
        ("GET", "/v2/apps/tiers/instance_sizes/huge"),
        ("GET", "/v2/droplets"),
        ("PATCH", "/v2/apps"),
    ):
        answer = shared_paper.request(method, path)
        assert (answer.status_code, answer.json()["id"]) == (404, "not_found"), path
        assert answer.json()["message"]
    put = shared_paper.put(unknown, json={"spec": sandbox_spec()})
    assert put.status_code == 404


def test_an_image_that_does_not_exist_ends_in_error_and_never_has_an_address(api: Api):
    app = api.make(sandbox_spec(runtime="cobol"))
    failed = until(
        lambda: seen if deployment_of(seen := api.app(app["id"]))["phase"] == "ERROR" else None, "the deployment failed"
    )
    assert not failed.keys() & {"active_deployment", "live_url"}
    steps = failed["pending_deployment"]["progress"]["steps"]
    assert "pull" in steps[0]["reason"]["message"]


def test_a_canceled_first_deployment_never_runs(local_cloud: LocalCloudProcess, api: Api):
    local_cloud.control.settings(deploy_seconds=30)
    app = api.make(sandbox_spec())
    deployments = f"/v2/apps/{app['id']}/deployments"
    first = api.get(deployments).json()["deployments"][0]["id"]
    assert api.post(f"{deployments}/{first}/cancel").json()["deployment"]["phase"] == "CANCELED"
    assert api.post(f"{deployments}/{first}/cancel").status_code == 400
    assert api.app(app["id"])["pending_deployment"]["phase"] == "CANCELED"
    assert local_cloud.apps()[0]["pid"] is None


def test_a_spec_is_priced_without_creating_anything(paper_api: Api):
    proposal = paper_api.post("/v2/apps/propose", json={"spec": sandbox_spec()}).json()
    assert (proposal["app_name_available"], proposal["app_cost"]) == (True, 12)
    assert paper_api.names() == []
    paper_api.make(sandbox_spec())
    again = paper_api.post("/v2/apps/propose", json={"spec": sandbox_spec()}).json()
    assert again["app_name_available"] is False
    assert again["app_name_suggestion"] != sandbox_spec()["name"]


def test_prices_are_strings_and_a_month_has_672_hours(paper_api: Api):
    sizes = {size["slug"]: size for size in paper_api.get("/v2/apps/tiers/instance_sizes").json()["instance_sizes"]}
    assert sizes["apps-s-1vcpu-1gb"]["usd_per_month"] == "12.00"
    assert sizes["apps-s-1vcpu-1gb"]["usd_per_second"] == "0.000004960317"


def test_limits_are_told_with_every_answer(paper_cloud: LocalCloudProcess, paper_api: Api):
    before = int(paper_api.get("/v2/apps").headers["ratelimit-remaining"])
    answer = paper_api.get("/v2/apps/nothing")
    assert int(answer.headers["ratelimit-remaining"]) == before - 1
    assert answer.headers["ratelimit-limit"] == "5000"
    paper_cloud.control.settings(requests_per_minute=1)
    refused = paper_api.get("/v2/apps")
    assert (refused.status_code, refused.json()["id"]) == (429, "too_many_requests")
    assert int(refused.headers["retry-after"]) > 0


def test_logs_are_there_from_the_phase_on_that_writes_them(paper_cloud: LocalCloudProcess, paper_api: Api):
    paper_cloud.fault(operation="create", stuck="BUILDING")
    app = paper_api.make(sandbox_spec())
    logs = f"/v2/apps/{app['id']}/logs"
    assert paper_api.get(logs, params={"type": "RUN"}).status_code == 400
    assert paper_api.get(logs, params={"type": "SONG"}).status_code == 400
    paper_cloud.control.change_app(app["id"], stuck="")
    paper_api.until_active(app["id"])
    url = paper_api.get(logs, params={"type": "RUN"}).json()["live_url"]
    assert "ACTIVE" in paper_api.get(url).text
