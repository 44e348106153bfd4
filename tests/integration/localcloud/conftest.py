"""The local cloud over plain HTTP: no boundary of ours in between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.fixtures.local_cloud import LocalCloudProcess
from tests.fixtures.waiting import until

AGENT_TOKEN = "agent-5ecret"
DEADLINE_SECONDS = 40


def sandbox_spec(name: str = "sandbox-00000001", runtime: str = "python", **envs: str) -> dict[str, Any]:
    """A sandbox's spec, as the public client posts it."""
    image = {"registry_type": "GHCR", "registry": "bikramkgupta", "repository": f"sandbox-{runtime}-service"}
    secret = {"key": "SANDBOX_API_TOKEN", "value": AGENT_TOKEN, "scope": "RUN_TIME", "type": "SECRET"}
    own = [{"key": key, "value": value, "scope": "RUN_TIME", "type": "GENERAL"} for key, value in envs.items()]
    service = {
        "name": "sandbox",
        "image": image | {"tag": "latest"},
        "instance_count": 1,
        "instance_size_slug": "apps-s-1vcpu-1gb",
        "http_port": 8080,
        "envs": [{"key": "SANDBOX_MODE", "value": "service", "scope": "RUN_TIME", "type": "GENERAL"}, secret, *own],
    }
    rules = [{"component": {"name": "sandbox"}, "match": {"path": {"prefix": "/"}}}]
    return {"name": name, "region": "syd", "services": [service], "ingress": {"rules": rules}}


def deployment_of(app: dict[str, Any]) -> dict[str, Any]:
    kinds = ("active_deployment", "in_progress_deployment", "pending_deployment")
    return next(app[kind] for kind in kinds if kind in app)


class Api(httpx.Client):
    """A client of one local cloud that holds its token."""

    def __init__(self, cloud: LocalCloudProcess, **options: Any) -> None:
        headers = {"Authorization": f"Bearer {cloud.token}"}
        super().__init__(base_url=cloud.url, headers=headers, trust_env=False, timeout=30, **options)

    def make(self, spec: dict[str, Any]) -> dict[str, Any]:
        answer = self.post("/v2/apps", json={"spec": spec})
        assert answer.status_code == 200, answer.text
        return answer.json()["app"]

    def app(self, app_id: str) -> dict[str, Any]:
        return self.get(f"/v2/apps/{app_id}").json()["app"]

    def until_active(self, app_id: str) -> dict[str, Any]:
        return until(
            lambda: seen if "live_url" in (seen := self.app(app_id)) else None,
            "the app has its address",
            seconds=DEADLINE_SECONDS,
        )

    def names(self, **query: Any) -> list[str]:
        return [app["spec"]["name"] for app in self.get("/v2/apps", params=query).json()["apps"]]


@dataclass(frozen=True)
class Running:
    """A sandbox that is active, and a client of its agent."""

    app: dict[str, Any]
    agent: httpx.Client

    @property
    def url(self) -> str:
        return str(self.app["live_url"])

    def run(self, command: str, **body: Any) -> str:
        """What a command says; it must succeed."""
        answer = self.agent.post("/api/exec", json={"command": command, **body})
        assert answer.status_code == 200, answer.text
        assert answer.json()["exit_code"] == 0, answer.json()
        return str(answer.json()["stdout"])

    def start(self, command: str, **body: Any) -> int:
        answer = self.agent.post("/api/exec/background", json={"command": command, **body})
        assert answer.status_code == 200, answer.text
        return int(answer.json()["pid"])

    def until_answers(self, path: str, status: int = 200) -> httpx.Response:
        return until(
            lambda: seen if (seen := self.agent.get(path)).status_code == status else None,
            f"{path} answers {status}",
            seconds=DEADLINE_SECONDS,
        )

    def until_answers_streamed(self, path: str) -> int:
        """How many bytes the answer has, once there is one; nothing of it is kept."""

        def size() -> int | None:
            with self.agent.stream("GET", path) as answer:
                return sum(map(len, answer.iter_raw())) if answer.status_code == 200 else None

        return until(size, f"{path} answers", seconds=DEADLINE_SECONDS)


def running(api: Api, spec: dict[str, Any]) -> Running:
    app = api.until_active(api.make(spec)["id"])
    headers = {"Authorization": f"Bearer {AGENT_TOKEN}"}
    return Running(app, httpx.Client(base_url=app["live_url"], headers=headers, trust_env=False, timeout=60))


@pytest.fixture
def api(local_cloud: LocalCloudProcess) -> Iterator[Api]:
    with Api(local_cloud) as client:
        yield client


@pytest.fixture
def paper_api(paper_cloud: LocalCloudProcess) -> Iterator[Api]:
    with Api(paper_cloud) as client:
        yield client


@pytest.fixture
def sandbox(api: Api) -> Running:
    """One that a test has for itself."""
    return running(api, sandbox_spec())


@pytest.fixture(scope="module")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that the tests of a module share."""
    cloud = LocalCloudProcess(tmp_path_factory.mktemp("cloud"), "--deploy-seconds", "0.2")
    with Api(cloud) as client:
        yield running(client, sandbox_spec(GREETING="hello"))
    cloud.stop()


@pytest.fixture(scope="module")
def shared_paper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A client of a cloud on paper that the tests of a module share, and leave without apps."""
    cloud = LocalCloudProcess(tmp_path_factory.mktemp("cloud"), "--deploy-seconds", "0", "--paper")
    with Api(cloud) as client:
        yield client
    cloud.stop()
