"""The spec of a sandbox, its name, and its region."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from pools.cloud.app_spec import app_name, app_spec, region_slug
from pools.cloud.errors import InvalidSpec
from pools.cloud.records import AppSpec

SPEC = AppSpec(
    name="sandbox-0123abcd",
    owner="staging",
    image="bikramkgupta/sandbox-python-service:latest",
    region="syd",
    size="apps-s-1vcpu-1gb",
    token="agent-5ecret",
)
SANDBOX_ID = UUID("0123abcd-ffff-4fff-8fff-ffffffffffff")


def envs_of(built: dict) -> dict[str, dict]:
    return {env["key"]: env for env in built["services"][0]["envs"]}


def test_a_sandbox_is_one_service_from_its_image_behind_its_agents_port():
    built = app_spec(SPEC)
    (service,) = built["services"]
    assert built["name"] == "sandbox-0123abcd"
    assert service["image"] == {
        "registry_type": "GHCR",
        "registry": "bikramkgupta",
        "repository": "sandbox-python-service",
        "tag": "latest",
    }
    assert (service["instance_count"], service["instance_size_slug"], service["http_port"]) == (1, SPEC.size, 8080)
    assert service["health_check"]["http_path"] == "/health"
    assert built["ingress"]["rules"] == [{"component": {"name": service["name"]}, "match": {"path": {"prefix": "/"}}}]


def test_the_mark_can_be_read_back_and_the_agents_token_can_not():
    envs = envs_of(app_spec(SPEC))
    assert envs["ORCHESTRATOR_ID"] | {"scope": None} == {
        "key": "ORCHESTRATOR_ID",
        "value": "staging",
        "type": "GENERAL",
        "scope": None,
    }
    assert envs["SANDBOX_API_TOKEN"] == {
        "key": "SANDBOX_API_TOKEN",
        "value": "agent-5ecret",
        "type": "SECRET",
        "scope": "RUN_TIME",
    }
    assert envs["SANDBOX_MODE"]["value"] == "service"


def test_a_repository_may_be_a_path():
    image = app_spec(replace(SPEC, image="owner/group/image:1.2"))["services"][0]["image"]
    assert (image["registry"], image["repository"], image["tag"]) == ("owner", "group/image", "1.2")


@pytest.mark.parametrize(("given", "sent"), [("syd", "syd"), ("syd1", "syd"), ("NYC3", "nyc"), (" ams ", "ams")])
def test_regions_are_sent_by_their_short_slug(given, sent):
    assert region_slug(given) == sent
    assert app_spec(replace(SPEC, region=given))["region"] == sent


@pytest.mark.parametrize("region", ["", "sydney", "s1", "syd12", "syd\n1", "../"])
def test_what_is_no_region_is_refused(region):
    with pytest.raises(InvalidSpec, match="not a region"):
        region_slug(region)


def test_a_name_comes_from_the_rows_id():
    assert app_name("sandbox-", SANDBOX_ID) == "sandbox-0123abcd"


@pytest.mark.parametrize("prefix", ["Sandbox-", "1-", "sand_box-", "x" * 25, "sand box"])
def test_a_prefix_that_makes_no_valid_name_is_refused(prefix):
    with pytest.raises(InvalidSpec, match="can't name an app"):
        app_name(prefix, SANDBOX_ID)


@pytest.mark.parametrize("name", ["", "x", "x" * 33, "X-1", "sandbox-", "-sandbox", "sandbox\n", "sand.box"])
def test_an_app_that_could_not_be_named_so_is_never_asked_for(name):
    with pytest.raises(InvalidSpec):
        app_spec(replace(SPEC, name=name))


@pytest.mark.parametrize("image", ["", "python", "owner/image", "owner/image:", "owner/image:a b", "https://x/y:z"])
def test_what_is_no_image_is_refused(image):
    with pytest.raises(InvalidSpec, match="not an image"):
        app_spec(replace(SPEC, image=image))


@pytest.mark.parametrize("missing", ["owner", "token", "size"])
def test_a_sandbox_without_a_mark_a_token_or_a_size_is_never_asked_for(missing):
    with pytest.raises(InvalidSpec):
        app_spec(replace(SPEC, **{missing: ""}))


def test_the_mark_names_the_installation_beside_its_owner():
    envs = app_spec(replace(SPEC, installation="a" * 32))["services"][0]["envs"]
    marks = {env["key"]: env["value"] for env in envs if env["type"] == "GENERAL"}
    assert marks["ORCHESTRATOR_INSTALLATION"] == "a" * 32
    assert marks["ORCHESTRATOR_ID"] == SPEC.owner
