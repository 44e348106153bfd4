"""Trouble on demand, and what can be done and seen behind the orchestrator's back."""

from __future__ import annotations

import json
import socket
import time
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from pools.localcloud.trouble import EFFECTS, MATCHES
from tests.fixtures.local_cloud import TOKEN, LocalCloudProcess
from tests.fixtures.waiting import until
from tests.integration.localcloud.conftest import AGENT_TOKEN, Api, Running, deployment_of, running, sandbox_spec

APPS = "/v2/apps"
AS_ITS_OWNER = {"Authorization": f"Bearer {TOKEN}"}


def create(api: Api, name: str = "sandbox-00000001") -> httpx.Response:
    return api.post(APPS, json={"spec": sandbox_spec(name)})


def really(cloud: LocalCloudProcess) -> list[str]:
    return sorted(app["name"] for app in cloud.apps())


# Any request.


def test_latency_is_added(paper_cloud: LocalCloudProcess, paper_api: Api):
    paper_cloud.fault(latency_seconds=0.4)
    assert paper_api.get(APPS).elapsed.total_seconds() >= 0.4


def test_a_429_with_and_without_retry_after(paper_cloud: LocalCloudProcess, paper_api: Api):
    fault = paper_cloud.fault(status=429, retry_after=7)
    answer = paper_api.get(APPS)
    assert (answer.status_code, answer.headers["retry-after"], answer.json()["id"]) == (429, "7", "too_many_requests")
    paper_cloud.faults.clear(fault)
    paper_cloud.fault(status=429)
    assert "retry-after" not in paper_api.get(APPS).headers


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("spoil", [{"status": 503}, {"reset": True}, {"close": True}, {"hang": True, "seconds": 0.2}])
def test_answers_are_lost_before_or_after_the_effect(
    paper_cloud: LocalCloudProcess, paper_api: Api, spoil: dict[str, Any], after: bool
):
    def lost(send: Any) -> None:
        if "status" in spoil:
            assert send().status_code == 503
        else:
            with pytest.raises(httpx.TransportError):
                send()

    paper_cloud.fault(operation="create", times=1, after=after, **spoil)
    lost(lambda: create(paper_api))
    assert really(paper_cloud) == (["sandbox-00000001"] if after else [])
    app = paper_cloud.control.make_app("to-delete")
    paper_cloud.fault(operation="delete", times=1, after=after, **spoil)
    lost(lambda: paper_api.delete(f"{APPS}/{app['id']}"))
    assert ("to-delete" in really(paper_cloud)) is not after


def test_a_slow_answer_has_its_effect_even_when_nobody_waits_for_it(paper_cloud: LocalCloudProcess, paper_api: Api):
    paper_cloud.fault(operation="create", latency_seconds=5, times=1)
    with pytest.raises(httpx.ReadTimeout):
        paper_api.post(APPS, json={"spec": sandbox_spec()}, timeout=0.3)
    assert really(paper_cloud) == []
    until(lambda: really(paper_cloud) == ["sandbox-00000001"], "the app was created all the same")


def test_a_timeout_holds_the_connection(paper_cloud: LocalCloudProcess, paper_api: Api):
    paper_cloud.fault(hang=True)
    with pytest.raises(httpx.ReadTimeout):
        paper_api.get(APPS, timeout=0.5)


def test_a_reset_is_a_reset_and_an_end_is_an_end(paper_cloud: LocalCloudProcess):
    host, port = paper_cloud.url.removeprefix("http://").split(":")
    request = f"GET {APPS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {paper_cloud.token}\r\n\r\n".encode()
    paper_cloud.fault(reset=True, times=1)
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    paper_cloud.fault(close=True, times=1)
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request)
        assert connection.recv(1) == b""


def test_an_answer_is_cut_in_the_middle(paper_cloud: LocalCloudProcess, paper_api: Api):
    paper_cloud.fault(cut=True)
    with pytest.raises(httpx.RemoteProtocolError):
        paper_api.get(APPS)


def test_bodies_are_garbled(paper_cloud: LocalCloudProcess, paper_api: Api):
    def with_fault(**fault: Any) -> httpx.Response:
        used = paper_cloud.fault(**fault)
        answer = paper_api.get(APPS)
        paper_cloud.faults.clear(used)
        return answer

    html = with_fault(body="html", status=502)
    assert (html.status_code, html.headers["content-type"].split(";")[0]) == (502, "text/html")
    assert with_fault(body="html").status_code == 200
    assert with_fault(body="empty").content == b""
    truncated = with_fault(body="truncated")
    assert truncated.status_code == 200
    assert truncated.text.startswith('{"apps":')
    with pytest.raises(json.JSONDecodeError):
        truncated.json()
    assert with_fault(json={"apps": None}).json() == {"apps": None}
    assert with_fault(headers={"ratelimit-remaining": "soon"}).headers["ratelimit-remaining"].endswith("soon")
    assert with_fault(status=418, message="I am a teapot").json()["message"] == "I am a teapot"


# Which requests.


def test_a_fault_meets_what_it_was_asked_to_meet(paper_cloud: LocalCloudProcess, paper_api: Api):
    paper_cloud.fault(operation="create", name="^unlucky-", status=500)
    assert create(paper_api, "lucky-1").status_code == 200
    assert create(paper_api, "unlucky-1").status_code == 500
    app = paper_cloud.control.make_app("unlucky-2")
    fault = paper_cloud.fault(method="GET", path=f"^{APPS}/{app['id']}$", status=500)
    assert paper_api.get(f"{APPS}/{app['id']}").status_code == 500
    assert paper_api.get(APPS).status_code == 200
    paper_cloud.faults.clear(fault)
    paper_cloud.fault(operation="get", name="^unlucky-", json={})
    assert paper_api.get(f"{APPS}/{app['id']}").json() == {}
    paper_cloud.control.delete_app(app["id"])
    assert paper_api.get(f"{APPS}/{app['id']}").json() == {}, "one that is gone is met by its name, too"


def test_skip_times_and_probability(paper_cloud: LocalCloudProcess, paper_api: Api):
    paper_cloud.fault(skip=2, times=1, status=500)
    assert [paper_api.get(APPS).status_code for _ in range(4)] == [200, 200, 500, 200]
    paper_cloud.faults.clear()

    def drawn() -> list[int]:
        fault = paper_cloud.fault(probability=0.5, seed=7, status=500)
        codes = [paper_api.get(APPS).status_code for _ in range(20)]
        paper_cloud.faults.clear(fault)
        return codes

    first = drawn()
    assert set(first) == {200, 500}
    assert drawn() == first


def test_faults_add_up(paper_cloud: LocalCloudProcess, paper_api: Api):
    paper_cloud.fault(latency_seconds=0.3)
    paper_cloud.fault(operation="create", after=True)
    paper_cloud.fault(operation="create", body="html", status=502, times=1)
    answer = create(paper_api)
    assert (answer.status_code, answer.elapsed.total_seconds() >= 0.3) == (502, True)
    assert really(paper_cloud) == ["sandbox-00000001"]
    met = {fault["id"]: fault["met"] for fault in paper_cloud.faults.faults()}
    assert list(met.values()) == [1, 1, 1]


@pytest.mark.parametrize("fault", [{"colour": "red"}, {"body": "blue"}, {"name": "("}, {"latency_seconds": "long"}])
def test_a_fault_that_means_nothing_is_refused(paper_cloud: LocalCloudProcess, fault: dict[str, Any]):
    with pytest.raises(ValueError, match=next(iter(fault))):
        paper_cloud.fault(**fault)
    assert paper_cloud.faults.faults() == []


# Listings.


def listed(api: Api, per_page: int = 4) -> list[str]:
    """What a client that trusts the listing sees."""
    names: list[str] = []
    page = 0
    while True:
        page += 1
        answer = api.get(APPS, params={"page": page, "per_page": per_page}).json()
        names += [app["spec"]["name"] for app in answer["apps"]]
        if "next" not in answer["links"]["pages"]:
            return names


@pytest.fixture
def ten(paper_cloud: LocalCloudProcess) -> list[str]:
    """Ten apps; their names, newest first."""
    names = [f"app-{number}" for number in range(10)]
    for name in names:
        paper_cloud.control.make_app(name)
    return names[::-1]


def test_a_stale_list_shows_what_was(paper_cloud: LocalCloudProcess, paper_api: Api, ten: list[str]):
    time.sleep(5.5)
    gone = next(app for app in paper_cloud.apps() if app["name"] == "app-3")
    paper_cloud.control.delete_app(gone["id"])
    create(paper_api, "app-new")
    now = listed(paper_api)
    fault = paper_cloud.fault(operation="list", stale_seconds=5)
    assert listed(paper_api) == ten
    assert paper_api.get(f"{APPS}/{gone['id']}").status_code == 404
    until(lambda: listed(paper_api) == now, "the list has caught up")
    paper_cloud.faults.clear(fault)
    paper_cloud.fault(operation="list", stale_seconds=3000)
    assert listed(paper_api) == []


def test_pages_are_missing_or_fail_or_shift(paper_cloud: LocalCloudProcess, paper_api: Api, ten: list[str]):
    def with_fault(**fault: Any) -> list[str]:
        used = paper_cloud.fault(operation="list", **fault)
        names = listed(paper_api)
        paper_cloud.faults.clear(used)
        return names

    assert with_fault(page=2, empty=True) == ten[:4] + ten[8:]
    assert with_fault(shift=1) == ten[:4] + ten[5:10]
    assert with_fault(shift=-1) == ten[:4] + ten[3:7] + ten[7:]
    assert with_fault(empty=True) == []
    assert with_fault(omit="app-[13579]") == ten[1::2]
    assert with_fault(add=[sandbox_spec("ghost")]) == [*ten, "ghost"]
    assert with_fault(links=False) == ten[:4]
    assert with_fault(total=4) == ten[:4]
    paper_cloud.fault(operation="list", page=3, status=500)
    codes = [paper_api.get(APPS, params={"page": page, "per_page": 4}).status_code for page in (1, 2, 3)]
    assert codes == [200, 200, 500]


# Apps and their agents.


@pytest.mark.parametrize("phase", ["PENDING_BUILD", "BUILDING", "PENDING_DEPLOY", "DEPLOYING"])
def test_a_deployment_is_stuck_in_any_phase_until_it_is_released(local_cloud: LocalCloudProcess, api: Api, phase: str):
    local_cloud.fault(operation="create", stuck=phase)
    app = create(api).json()["app"]
    until(lambda: local_cloud.apps()[0]["phase"] == phase, f"it is in {phase}")
    assert "live_url" not in api.app(app["id"])
    local_cloud.control.change_app(app["id"], stuck="")
    api.until_active(app["id"])


def test_a_deployment_fails_for_the_reason_that_was_asked_for(local_cloud: LocalCloudProcess, api: Api):
    local_cloud.fault(operation="create", error="out of capacity in syd")
    app = create(api).json()["app"]
    failed = until(
        lambda: seen if (seen := deployment_of(api.app(app["id"])))["phase"] == "ERROR" else None, "it failed"
    )
    assert "out of capacity" in json.dumps(failed["progress"])
    assert local_cloud.apps()[0]["pid"] is None


def test_a_slow_deployment_and_a_late_address(paper_cloud: LocalCloudProcess, paper_api: Api):
    paper_cloud.fault(operation="create", deploy_seconds=0.5, url_late_seconds=5)
    app = create(paper_api).json()["app"]
    active = until(lambda: seen if "active_deployment" in (seen := paper_api.app(app["id"])) else None, "it is active")
    assert "live_url" not in active
    paper_api.until_active(app["id"])


def test_an_agent_never_answers_though_its_app_is_active(local_cloud: LocalCloudProcess, api: Api):
    local_cloud.fault(operation="create", name="silent", agent={"silent": True})
    local_cloud.fault(operation="create", name="refuses", agent={"refuses": True})
    silent, refuses = (api.until_active(create(api, name).json()["app"]["id"]) for name in ("silent", "refuses"))
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{silent['live_url']}/health", trust_env=False, timeout=1)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{refuses['live_url']}/health", trust_env=False, timeout=1)
    local_cloud.control.change_app(silent["id"], agent={})
    until(lambda: _is_healthy(silent["live_url"]), "it has found its voice")


def test_an_agent_dies_later_and_stays_dead(local_cloud: LocalCloudProcess, api: Api):
    local_cloud.fault(operation="create", agent={"dies_after_seconds": 1, "stays_dead": True})
    app = api.until_active(create(api).json()["app"]["id"])
    until(lambda: not _is_healthy(app["live_url"]), "it is dead")
    assert "active_deployment" in api.app(app["id"])
    local_cloud.restart()
    assert "active_deployment" in api.app(app["id"])
    assert local_cloud.apps()[0]["pid"] is None
    local_cloud.control.change_app(app["id"], agent={})
    until(lambda: _is_healthy(api.app(app["id"])["live_url"]), "it lives again")


def test_an_agent_hangs_and_comes_back(local_cloud: LocalCloudProcess, sandbox: Running):
    local_cloud.control.change_app(sandbox.app["id"], agent={"hangs": True})
    with pytest.raises(httpx.ReadTimeout):
        sandbox.agent.get("/health", timeout=1)
    local_cloud.control.change_app(sandbox.app["id"], agent={})
    assert sandbox.agent.get("/health").status_code == 200


def test_an_agent_holds_another_token(local_cloud: LocalCloudProcess, api: Api):
    local_cloud.fault(operation="create", agent={"wrong_token": True})
    assert running(api, sandbox_spec()).agent.get("/api/processes").status_code == 403


def test_agents_answers_meet_faults_too(local_cloud: LocalCloudProcess, api: Api, sandbox: Running):
    fault = local_cloud.fault(operation="agent.exec", status=500, times=1)
    assert sandbox.agent.post("/api/exec", json={"command": "true"}).status_code == 500
    assert sandbox.run("echo again") == "again\n"
    local_cloud.faults.clear(fault)
    local_cloud.fault(operation="agent.*", name="^sandbox-0000000[29]$", reset=True)
    assert sandbox.agent.get("/api/processes").status_code == 200
    local_cloud.fault(operation="agent.health", hang=True)
    with pytest.raises(httpx.ReadTimeout):
        sandbox.agent.get("/health", timeout=1)
    local_cloud.faults.clear()
    assert sandbox.agent.get("/health").status_code == 200


@pytest.mark.parametrize("status", [None, 422])
def test_the_account_is_full(paper_cloud: LocalCloudProcess, paper_api: Api, status: int | None):
    paper_cloud.fault(operation="create", quota=2, **({"quota_status": status} if status else {}))
    codes = [create(paper_api, f"app-{number}").status_code for number in range(3)]
    assert codes == [200, 200, status or 403]


def test_a_deletion_lingers(paper_cloud: LocalCloudProcess, paper_api: Api):
    app = create(paper_api).json()["app"]
    paper_cloud.fault(operation="delete", linger_seconds=5)
    one = f"{APPS}/{app['id']}"
    assert [paper_api.delete(one).status_code for _ in range(2)] == [200, 200]
    assert paper_api.names() == ["sandbox-00000001"]
    assert create(paper_api).status_code == 409
    until(lambda: paper_api.names() == [] and paper_api.get(one).status_code == 404, "the app is gone")
    assert paper_api.delete(one).status_code == 404
    assert paper_cloud.state()["deletes"] == 1


def test_a_name_is_free_later_than_its_app_is_gone(paper_cloud: LocalCloudProcess, paper_api: Api):
    app = create(paper_api).json()["app"]
    paper_cloud.fault(operation="delete", name_taken_seconds=2)
    paper_api.delete(f"{APPS}/{app['id']}")
    assert paper_api.names() == []
    assert create(paper_api).status_code == 409
    until(lambda: create(paper_api).status_code == 200, "the name is free")


@pytest.mark.parametrize("hours", [-30, 30])
def test_dates_are_off(paper_cloud: LocalCloudProcess, paper_api: Api, hours: int):
    app = create(paper_api).json()["app"]
    paper_cloud.fault(operation="*", skew_seconds=hours * 3600)
    [listed] = paper_api.get(APPS).json()["apps"]
    got = paper_api.get(f"{APPS}/{app['id']}").json()["app"]
    made = datetime.fromisoformat(app["created_at"])
    for shown in (listed, got):
        assert datetime.fromisoformat(shown["created_at"]) - made == timedelta(hours=hours)
        assert datetime.fromisoformat(shown["active_deployment"]["created_at"]) - made == timedelta(hours=hours)


# Behind the orchestrator's back.


def test_apps_are_made_and_deleted_by_hand(local_cloud: LocalCloudProcess, api: Api):
    control = local_cloud.control
    made = control.make_app("somebodys-shop")
    real = control.make_app("sandbox-0000000a", "me", paper=False, image="sandbox-python-service", token=AGENT_TOKEN)
    app = api.until_active(real["id"])
    until(lambda: _is_healthy(app["live_url"]), "it runs")
    assert api.names() == ["sandbox-0000000a", "somebodys-shop"]
    assert control.app(real["id"])["owner"] == "me"
    control.delete_app(made["id"])
    assert api.get(f"{APPS}/{made['id']}").status_code == 404
    with pytest.raises(ValueError, match="409"):
        control.make_app("sandbox-0000000a")
    with pytest.raises(ValueError, match="name"):
        control.make_app("No Name")
    state = control.state()
    assert (state["creates"], state["deletes"], state["most_apps"]) == (0, 0, 2)
    assert [(entry["what"], entry["by"]) for entry in state["journal"]] == [
        ("create", "hand"),
        ("create", "hand"),
        ("delete", "hand"),
    ]


def test_requests_are_counted_by_operation(paper_cloud: LocalCloudProcess, paper_api: Api):
    app = create(paper_api).json()["app"]
    paper_api.get(APPS)
    paper_api.get(f"{APPS}/{app['id']}")
    paper_api.delete(f"{APPS}/{app['id']}")
    paper_api.delete(f"{APPS}/{app['id']}")
    state = paper_cloud.state()
    assert state["operations"] == {"create": 1, "list": 1, "get": 1, "delete": 2}
    assert state["requests"]["DELETE /v2/apps/{id}"] == 2
    assert (state["creates"], state["deletes"], state["most_requests_a_minute"]) == (1, 1, 5)
    paper_cloud.control.reset()
    assert paper_cloud.state()["journal"] == []


def test_it_says_itself_what_can_be_asked_of_it(paper_cloud: LocalCloudProcess):
    said = httpx.get(f"{paper_cloud.url}/_local", headers=AS_ITS_OWNER, trust_env=False).text
    for field in EFFECTS | MATCHES:
        assert field in said


def test_tokens_can_stop_working(paper_cloud: LocalCloudProcess, paper_api: Api):
    paper_cloud.control.settings(tokens=["another"])
    assert paper_api.get(APPS).status_code == 401
    paper_cloud.control.settings(tokens=[paper_cloud.token])
    assert paper_api.get(APPS).status_code == 200


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_a_page_in_a_browser_does_not_reach_the_control(paper_cloud: LocalCloudProcess, headers: dict[str, str]):
    for path in ("/_local/state", "/_local/faults"):
        asked = httpx.get(f"{paper_cloud.url}{path}", headers=AS_ITS_OWNER | headers, trust_env=False)
        assert asked.status_code == 403


@pytest.mark.parametrize("said", ["", "Bearer", "Bearer another", f"Basic {TOKEN}", TOKEN])
def test_who_does_not_know_the_token_controls_nothing(paper_cloud: LocalCloudProcess, said: str):
    headers = {"Authorization": said} if said else {}
    for method, path in (("GET", "/_local"), ("GET", "/_local/state"), ("POST", "/_local/reset")):
        asked = httpx.request(method, f"{paper_cloud.url}{path}", headers=headers, trust_env=False)
        assert asked.status_code == 401, (method, path)


def _is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False, timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def test_an_answer_may_trickle_be_packed_or_say_what_json_can_not(paper_cloud: LocalCloudProcess, paper_api: Api):
    paper_cloud.fault(operation="regions", times=1, trickle=0.001)
    paper_cloud.fault(operation="sizes", times=1, bomb=2)
    paper_cloud.fault(operation="list", times=1, raw='{"odd": "\\ud800"}')
    assert paper_api.get(f"{APPS}/regions").json()["regions"]
    packed = paper_api.get(f"{APPS}/tiers/instance_sizes")
    assert (packed.headers["content-encoding"], len(packed.content)) == ("gzip", 2 * 1024**2)
    assert paper_api.get(APPS).text == '{"odd": "\\ud800"}'
