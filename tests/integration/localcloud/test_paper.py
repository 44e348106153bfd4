"""Apps without processes, for fleets that no machine could hold."""

from __future__ import annotations

from collections import Counter

import httpx
import pytest

from tests.fixtures.local_cloud import LocalCloudProcess
from tests.integration.localcloud.conftest import AGENT_TOKEN, Api, running, sandbox_spec


def test_ten_thousand_apps_are_listed_whole_and_survive_a_restart(paper_cloud: LocalCloudProcess, paper_api: Api):
    paper_cloud.control.make_apps(10_000, owner="staging")
    seen = Counter[str]()
    for page in range(1, 51):
        answer = paper_api.get("/v2/apps", params={"page": page, "per_page": 200})
        seen.update(app["id"] for app in answer.json()["apps"])
    assert (len(seen), max(seen.values())) == (10_000, 1)
    paper_cloud.kill()
    paper_cloud.start()
    with Api(paper_cloud) as api:
        assert api.get("/v2/apps", params={"per_page": 200}).json()["meta"]["total"] == 10_000


def test_a_paper_sandbox_gets_as_far_as_a_real_one(paper_api: Api):
    sandbox = running(paper_api, sandbox_spec())
    assert httpx.get(f"{sandbox.url}/health", trust_env=False).json()["status"] == "healthy"
    assert sandbox.run("anything") == ""
    pid = sandbox.start("anything")
    assert [process["pid"] for process in sandbox.agent.get("/api/processes").json()] == [pid]
    assert sandbox.agent.get("/proxy/5000/").status_code == 200
    assert sandbox.agent.post("/api/files/content", json={"path": "/workspace/x", "content": ""}).json()["success"]
    assert '"code": 0' in sandbox.agent.post("/api/exec/stream", json={"command": "anything"}).text
    assert httpx.post(f"{sandbox.url}/api/exec", json={}, trust_env=False).status_code == 401
    wrong = {"Authorization": f"Bearer not-{AGENT_TOKEN}"}
    assert httpx.post(f"{sandbox.url}/api/exec", json={}, headers=wrong, trust_env=False).status_code == 403


def test_a_paper_sandbox_is_not_there_before_it_is_active_or_after_it_is_gone(
    paper_cloud: LocalCloudProcess, paper_api: Api
):
    paper_cloud.fault(operation="create", stuck="DEPLOYING")
    app = paper_api.make(sandbox_spec())
    health = f"{paper_cloud.apps()[0]['url']}/health"
    assert httpx.get(health, trust_env=False).status_code == 503
    paper_cloud.control.change_app(app["id"], stuck="")
    assert httpx.get(health, trust_env=False).status_code == 200
    paper_api.delete(f"/v2/apps/{app['id']}")
    assert httpx.get(health, trust_env=False).status_code == 503


def test_paper_agents_fail_as_real_ones_do(paper_cloud: LocalCloudProcess, paper_api: Api):
    sandbox = running(paper_api, sandbox_spec())
    control = paper_cloud.control
    control.kill_agent(sandbox.app["id"])
    assert sandbox.agent.get("/health").status_code == 503
    control.change_app(sandbox.app["id"], agent={"hangs": True})
    with pytest.raises(httpx.ReadTimeout):
        sandbox.agent.get("/health", timeout=0.5)
    control.change_app(sandbox.app["id"], agent={})
    control.fault(operation="agent.exec", name=sandbox.app["spec"]["name"], status=500, times=1)
    codes = [sandbox.agent.post("/api/exec", json={"command": "true"}).status_code for _ in range(2)]
    assert codes == [500, 200]
    control.change_app(sandbox.app["id"], agent={"dies_after_seconds": 0.3, "stays_dead": True})
    sandbox.until_answers("/health", status=503)
    control.change_app(sandbox.app["id"], agent={})
    control.kill_agent(sandbox.app["id"], stays_dead=False)
    sandbox.until_answers("/health")


def test_real_and_paper_apps_live_in_one_account(local_cloud: LocalCloudProcess, api: Api):
    local_cloud.control.make_apps(300, prefix="paper-")
    real = running(api, sandbox_spec())
    assert real.run("echo real") == "real\n"
    assert api.get("/v2/apps", params={"per_page": 200}).json()["meta"]["total"] == 301
