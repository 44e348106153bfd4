"""Each published way to run the product: its files say what they may, and every command in them is started for real."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose

from orchestrator_site import __version__, draining
from orchestrator_site.environment import known
from runs.play import proxy
from tests.fixtures import published
from tests.fixtures.published import ROOT, Published
from tests.fixtures.waiting import until
from tests.integration.deploys.conftest import Machine, by_name, stop, wait_until_healthy

WAYS = {
    "compose": published.of_compose("deploy/compose.postgres.yaml"),
    "app-platform": published.of_app_platform(),
    "systemd": published.of_systemd(),
    "kubernetes": published.of_kubernetes(),
}
COMPOSE_FILES = ("compose.yaml", "deploy/compose.postgres.yaml")


def part(way: str, *names: str) -> Published:
    processes = by_name(WAYS[way])
    return next(processes[name] for name in names if name in processes)


@pytest.mark.parametrize("way", WAYS)
def test_the_commands_of_each_way_run_healthy_and_stop_within_the_grace(way: str, machine: Machine):
    prepare, web, worker = part(way, "prepare"), part(way, "web", "web-1"), part(way, "worker", "worker-1")
    done = machine.run(prepare)
    assert done.returncode == 0, done.stderr
    assert "Operator account: operator, password " in done.stdout
    again = machine.run(prepare)
    assert "Operator account" not in again.stdout
    assert again.stdout.splitlines()[-1] == "Prepared."
    assert "3 games, nothing new" in again.stdout + again.stderr  # with LOG_FORMAT=json, a line of the log
    running = [machine.start(web), machine.start(worker)]
    wait_until_healthy(machine, web, worker)
    until(lambda: machine.get("/health/ready").status_code == 200, "all is ready", seconds=60)
    assert machine.get("/health/serving").json()["status"] == "serving"
    assert stop(*running) == [0, 0]
    assert not machine.is_healthy(web, "web")
    assert not machine.is_healthy(worker, "worker"), "it has taken its sign of life along"


def test_what_tells_the_metrics_in_kubernetes_tells_them(machine: Machine):
    assert machine.run(part("kubernetes", "prepare")).returncode == 0
    metrics = machine.start(part("kubernetes", "metrics"))
    port = int(machine.of_the_test["METRICS_PORT"])
    machine.port = port

    def tells() -> bool:
        return metrics.poll() is None and _answers(machine)

    until(tells, "it tells the metrics", seconds=30)
    assert "arcade_database_up 1.0" in machine.get("/metrics").text


def _answers(machine: Machine) -> bool:
    try:
        return machine.get("/metrics").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("way", WAYS)
def test_every_variable_in_the_files_is_one_of_the_products(way: str):
    for process in [*WAYS[way], *published.of_compose("compose.yaml")]:
        unknown = {name.removesuffix("_FILE") for name in process.environment} - set(known())
        assert not unknown, process.name


@pytest.mark.parametrize("path", COMPOSE_FILES)
def test_compose_files_are_of_the_compose_specification(path: str):
    assert PyCompose.from_yaml(yaml.safe_dump(published.documents(path)[0])).service_names()  # with what it repeats


def test_two_of_everything_that_is_ours_wait_for_what_they_need():
    services = published.documents("deploy/compose.postgres.yaml")[0]["services"]
    assert {"web-1", "web-2", "worker-1", "worker-2", "nginx", "prepare"} < set(services)
    for name in ("web-1", "web-2", "worker-1", "worker-2"):
        assert services[name]["depends_on"]["prepare"]["condition"] == "service_completed_successfully"
        assert services[name]["stop_grace_period"] == "60s"
    upstreams = (ROOT / "deploy" / "nginx.conf").read_text()
    assert all(f"server {name}:8000" in upstreams for name in ("web-1", "web-2"))


def test_postgresql_counts_as_healthy_only_when_others_reach_it():
    """While its image makes the database, a server answers on its socket and goes again: `prepare` failed then, and
    Docker Compose gave up."""
    check = published.documents("deploy/compose.postgres.yaml")[0]["services"]["postgres"]["healthcheck"]["test"]
    assert check[:3] == ["CMD", "pg_isready", "--host=127.0.0.1"]


def test_secrets_of_the_documented_place_are_no_part_of_the_repository():
    command = ["git", "check-ignore", "--quiet", "deploy/secrets/secret_key"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def test_the_app_spec_is_one_that_app_platform_knows(contract_document: dict[str, Any]):
    body = contract_document["paths"]["/v2/apps"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.validate(published.documents(".do/app.yaml")[0], _closed(body["properties"]["spec"]))


def test_the_app_spec_has_no_field_that_app_platform_does_not_know(contract_document: dict[str, Any]):
    """A description in OpenAPI lets pass what it does not name; a misspelt field would be ignored in silence."""
    body = contract_document["paths"]["/v2/apps"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    spec = published.documents(".do/app.yaml")[0]
    spec["services"][0]["helth_check"] = {}
    with pytest.raises(jsonschema.ValidationError, match="helth_check"):
        jsonschema.validate(spec, _closed(body["properties"]["spec"]))


def _closed(schema: Any) -> Any:
    """The schema, but for fields that it does not name. What is put together of several is left open."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    parts = schema.get("allOf") if all(isinstance(each, dict) for each in schema.get("allOf", [])) else None
    if parts:
        merged: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
        for each in map(_closed, parts):
            merged["properties"] |= each.get("properties", {})
            merged["required"] += each.get("required", [])
        return merged | ({"additionalProperties": False} if merged["properties"] else {})
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(closed.get("properties"), dict) and closed.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


def test_units_are_what_systemd_reads(tmp_path: Path):
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not here; on Debian it comes with systemd")
    for path in (ROOT / "deploy" / "systemd").glob("orchestrator*"):
        text = path.read_text().replace(published.PROGRAM_OF_UNITS, "/bin/true")
        (tmp_path / path.name).write_text(text)
    units = sorted(map(str, tmp_path.iterdir()))
    done = subprocess.run([program, "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_units_give_secrets_by_file_and_a_minute_to_stop():
    for path in (ROOT / "deploy" / "systemd").glob("*.service"):
        unit = published.read_unit(path)
        given = {line.partition(":")[0] for line in unit["LoadCredential"]}
        used = {word.rpartition("/")[2] for line in unit["Environment"] for word in line.split() if "%d/" in word}
        assert given == used
        assert unit["TimeoutStopSec"] == ["60"]


def graces_seconds() -> dict[str, list[int]]:
    """How long each way waits from SIGTERM to SIGKILL, of each of our processes."""
    compose = [
        service["stop_grace_period"]
        for path in COMPOSE_FILES
        for service in published.documents(path)[0]["services"].values()
        if service["image"] == published.PROGRAM and service["command"][1] in ("web", "qcluster", "up")
    ]
    app = published.documents(".do/app.yaml")[0]
    units = [published.read_unit(path) for path in (ROOT / "deploy" / "systemd").glob("*.service")]
    deployments = [thing for thing in kubernetes_objects() if thing["kind"] == "Deployment"]
    return {
        "compose": [int(each.removesuffix("s")) for each in compose],
        "app-platform": [each["termination"]["grace_period_seconds"] for each in [*app["services"], *app["workers"]]],
        "systemd": [int(unit["TimeoutStopSec"][0]) for unit in units],
        "kubernetes": [each["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] for each in deployments],
    }


@pytest.mark.parametrize("way", WAYS)
def test_each_way_waits_longer_than_a_process_takes_to_stop(way: str):
    graces = graces_seconds()[way]
    assert len(graces) >= 2
    assert set(graces) == {60}, "docs/operating.md says so"
    # A web process then ends what still runs, and tells sockets goodbye.
    assert draining.GRACE_SECONDS + 3 < 60
    assert proxy.ENDLESS_SECONDS + 30 < draining.GRACE_SECONDS, "DRAIN_SECONDS may be 30"


def test_units_never_give_up_on_a_database_that_comes_later():
    """`prepare` failed once, and systemd started neither a web server nor a worker; five quick ends were for good."""
    for path in (ROOT / "deploy" / "systemd").glob("*.service"):
        unit = published.read_unit(path)
        assert unit["Restart"][0] in ("always", "on-failure"), path.name
        assert unit["StartLimitIntervalSec"] == ["0"], path.name
        assert "Requires" not in unit, path.name


def kubernetes_objects() -> list[dict[str, Any]]:
    folder = ROOT / "deploy" / "kubernetes"
    return [
        document
        for path in sorted(folder.glob("*.yaml"))
        if path.name != "kustomization.yaml"
        for document in published.documents(str(path.relative_to(ROOT)))
    ]


@pytest.mark.parametrize("thing", kubernetes_objects(), ids=lambda it: f"{it['kind']}-{it['metadata']['name']}")
def test_kubernetes_knows_every_field(thing: dict[str, Any]):
    kubernetes_validate.validate(thing, "1.31", strict=True)


def test_what_is_named_in_kubernetes_is_there():
    things = kubernetes_objects()
    kustomization = published.documents("deploy/kubernetes/kustomization.yaml")[0]
    files = {path.name for path in (ROOT / "deploy" / "kubernetes").glob("*.yaml")}
    assert set(kustomization["resources"]) == files - {"kustomization.yaml", "secret.example.yaml"}
    assert kustomization["images"][0]["newTag"] == __version__
    pods = {one["metadata"]["name"]: one["spec"]["template"] for one in things if one["kind"] in ("Deployment", "Job")}
    secrets = next(one for one in things if one["kind"] == "Secret")
    settings = next(one for one in things if one["kind"] == "ConfigMap")["data"]
    for name, pod in pods.items():
        assert pod["metadata"]["labels"] == {"app": name}
        assert pod["spec"]["terminationGracePeriodSeconds"] == 60
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        for container in pod["spec"]["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert container["envFrom"] == [{"configMapRef": {"name": "settings"}}]
            assert container["securityContext"]["readOnlyRootFilesystem"]
    paths = [value for key, value in settings.items() if key.endswith("_FILE")]
    assert {path.rpartition("/")[2] for path in paths} == set(secrets["stringData"])
    for one in things:
        if one["kind"] in ("Service", "PodDisruptionBudget"):
            selector = one["spec"]["selector"]
            assert selector.get("matchLabels", selector)["app"] in pods
