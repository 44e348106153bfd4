"""What we send, held against App Platform's public OpenAPI description; and its own examples, read by us."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest

from pools.cloud.app_platform import DigitalOcean
from pools.cloud.app_spec import NAME, app_spec, region_slug
from pools.cloud.records import AppSpec
from tests.contract.stub_server import Reply, Request, StubServer

API = "https://api.digitalocean.com"


def mock(request: Request) -> MockRequest:
    return MockRequest(
        API,
        request.method.lower(),
        request.path,
        args=request.query,
        headers=request.headers,
        data=request.content or None,
        content_type=request.headers.get("content-type", "application/json"),
    )


def operation(document: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    return document["paths"][path][method]


def examples(document: dict[str, Any], method: str, path: str) -> list[dict[str, Any]]:
    content = operation(document, method, path)["responses"]["200"]["content"]["application/json"]
    return [example["value"] for example in content.get("examples", {}).values()] or [content["example"]]


def test_every_request_we_send_is_one_that_the_contract_knows(
    stub: StubServer, cloud: DigitalOcean, spec: AppSpec, contract: OpenAPI
):
    app = {"id": "4f6c71e2-1e90-4762-9fee-6cc4a0a9f2cf", "spec": {"name": spec.name}}
    stub.on("GET", "/v2/apps", Reply(200, {"apps": [], "meta": {"total": 0}}))
    stub.on("POST", "/v2/apps", Reply(200, {"app": app}))
    stub.on("GET", "/v2/apps/[^/]+", Reply(200, {"app": app}))
    stub.on("DELETE", "/v2/apps/[^/]+", Reply(200, {"id": app["id"]}))
    stub.on("GET", "/v2/apps/[^/]+/deployments", Reply(200, {"deployments": []}))
    stub.on("POST", "/v2/apps/propose", Reply(200, {"app_name_available": True}))
    cloud.apps()
    cloud.create(spec)
    cloud.get(app["id"])
    cloud.delete(app["id"])
    cloud.propose(spec)
    assert len(stub.requests) == 6
    for request in stub.requests:
        contract.validate_request(mock(request))


def test_the_contract_would_have_caught_a_bad_spec(contract: OpenAPI, spec: AppSpec):
    """So that the test above can fail."""
    headers = {"content-type": "application/json", "authorization": "Bearer token"}
    for wrong in ({"name": "NO"}, {"region": "syd1"}, {"services": [{"name": "sandbox", "http_port": "x"}]}):
        content = json.dumps({"spec": app_spec(spec) | wrong}).encode()
        request = Request("POST", "/v2/apps", headers, content, 0)
        with pytest.raises(Exception, match=r"[Rr]equest body"):
            contract.validate_request(mock(request))


def test_our_rule_for_names_is_the_clouds(contract_document: dict[str, Any]):
    body = operation(contract_document, "post", "/v2/apps")["requestBody"]["content"]["application/json"]
    name = body["schema"]["properties"]["spec"]["properties"]["name"]
    assert f"^{NAME.pattern}$" == name["pattern"]


def test_every_region_of_the_contract_is_one_for_us(contract_document: dict[str, Any], spec: AppSpec):
    body = operation(contract_document, "post", "/v2/apps")["requestBody"]["content"]["application/json"]
    regions = body["schema"]["properties"]["spec"]["properties"]["region"]["enum"]
    assert [region_slug(region) for region in regions] == regions
    assert [app_spec(replace(spec, region=f"{region}1"))["region"] for region in regions] == regions


def test_the_contracts_own_examples_are_read(
    stub: StubServer, cloud: DigitalOcean, spec: AppSpec, contract_document: dict[str, Any]
):
    def serve(method: str, path: str, *at: str) -> dict[str, Any]:
        example = examples(contract_document, method, path)[0]
        stub.on(method.upper(), at[0] if at else path, Reply(200, example))
        return example

    listed = serve("get", "/v2/apps")["apps"]
    fetched = examples(contract_document, "get", "/v2/apps/{id}")[0]["app"]
    serve("get", "/v2/apps/{id}", f"/v2/apps/{fetched['id']}")
    serve("post", "/v2/apps/propose")
    assert [app.id for app in cloud.apps()] == [app["id"] for app in listed]
    got = cloud.get(fetched["id"])
    assert got is not None
    assert (got.id, got.name) == (fetched["id"], fetched["spec"]["name"])
    assert cloud.propose(spec).name_is_available is True
