"""What the local cloud starts ends with it, and what it was told survives it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests.fixtures.local_cloud import ROOT, LocalCloudProcess
from tests.fixtures.waiting import until
from tests.integration.localcloud.conftest import AGENT_TOKEN, DEADLINE_SECONDS, Api, Running, sandbox_spec

# Shells that fork, a child in a session of its own, one that forgets its environment, and one that was orphaned.
BROOD = (
    "sleep 600 & setsid sleep 600 & env -i sleep 600 & (setsid env -i sleep 600 &) ; (sleep 600 &) ; sleep 600; true"
)


def brood(cloud: LocalCloudProcess, sandbox: Running) -> list[psutil.Process]:
    """The agent, and everything that it has started: six sleepers and their shell."""
    sandbox.start(BROOD)
    agent = psutil.Process(next(app["pid"] for app in cloud.apps() if app["id"] == sandbox.app["id"]))

    def sleepers() -> list[psutil.Process]:
        below = agent.children(recursive=True)
        names = []
        for process in below:
            with suppress(psutil.NoSuchProcess):  # a shell that forked and ended
                names.append(process.name())
        return below if names.count("sleep") == 6 else []

    return [agent, *until(sleepers, "all six sleep")]


def until_gone(processes: list[psutil.Process]) -> None:
    def is_left(process: psutil.Process) -> bool:
        try:
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    until(lambda: not any(map(is_left, processes)), "no process is left", seconds=DEADLINE_SECONDS)


def marked(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that kept their environment."""

    def is_marked(process: psutil.Process) -> bool:
        try:
            return "LOCALCLOUD_APP" in process.environ()
        except psutil.Error:
            return False

    return [process for process in processes if is_marked(process)]


def until_serves(api: Api, app_id: str) -> dict[str, object]:
    """Until the app's agent answers at the address that the API shows."""

    def serves() -> dict[str, object] | None:
        app = api.app(app_id)
        try:
            healthy = httpx.get(f"{app['live_url']}/health", trust_env=False, timeout=5).status_code == 200
        except httpx.TransportError:
            return None
        return app if healthy else None

    return until(serves, "the agent answers", seconds=DEADLINE_SECONDS)


def test_a_deleted_app_leaves_no_process_and_no_file(local_cloud: LocalCloudProcess, api: Api, sandbox: Running):
    processes = brood(local_cloud, sandbox)
    assert api.delete(f"/v2/apps/{sandbox.app['id']}").json() == {"id": sandbox.app["id"]}
    until_gone(processes)
    assert list((local_cloud.folder / "apps").iterdir()) == []
    assert api.get(f"/v2/apps/{sandbox.app['id']}").status_code == 404


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_local_cloud(local_cloud: LocalCloudProcess, sandbox: Running, number: signal.Signals):
    processes = brood(local_cloud, sandbox)
    local_cloud.process.send_signal(number)
    assert local_cloud.process.wait(DEADLINE_SECONDS) == (-number if number == signal.SIGKILL else 0)
    until_gone(processes)


def test_even_a_hanging_sandbox_ends_with_a_killed_cloud(local_cloud: LocalCloudProcess, sandbox: Running):
    processes = brood(local_cloud, sandbox)
    local_cloud.control.change_app(sandbox.app["id"], agent={"hangs": True})
    until(lambda: processes[0].status() == psutil.STATUS_STOPPED, "the agent is stopped")
    local_cloud.kill()
    until_gone(processes)


def test_what_a_cloud_and_its_agent_killed_together_left_is_swept_at_the_next_start(
    local_cloud: LocalCloudProcess, sandbox: Running
):
    processes = brood(local_cloud, sandbox)
    found = marked(processes)
    assert len(found) == 6
    os.kill(local_cloud.process.pid, signal.SIGSTOP)
    processes[0].kill()  # before it could end what it started
    local_cloud.kill()
    local_cloud.start()
    until_gone(found)
    for nameless in set(processes) - set(found):  # nobody can know whose those are
        with suppress(psutil.NoSuchProcess):
            nameless.kill()


def test_apps_come_back_where_they_were_with_an_empty_workspace(
    local_cloud: LocalCloudProcess, api: Api, sandbox: Running
):
    sandbox.run("echo x > file")
    url = local_cloud.url
    local_cloud.kill()
    local_cloud.start()
    assert local_cloud.url == url
    app = until_serves(api, sandbox.app["id"])
    assert app["live_url"] == sandbox.app["live_url"]
    assert app["active_deployment"] == sandbox.app["active_deployment"]
    assert sandbox.run("ls") == ""
    with Api(local_cloud) as client:
        assert client.post("/v2/apps", json={"spec": sandbox_spec()}).status_code == 409


def test_no_kill_loses_an_app_that_was_created_or_brings_back_one_that_was_deleted(paper_cloud: LocalCloudProcess):
    for number in range(5):
        with Api(paper_cloud) as api:
            kept = api.make(sandbox_spec(f"kept-{number}"))
            gone = api.make(sandbox_spec(f"gone-{number}"))
            assert api.delete(f"/v2/apps/{gone['id']}").status_code == 200
        paper_cloud.kill()
        paper_cloud.start()
        with Api(paper_cloud) as api:
            assert api.names() == [f"kept-{one}" for one in range(number, -1, -1)]
            assert api.app(kept["id"])["spec"] == kept["spec"]
    state = paper_cloud.state()
    assert (state["creates"], state["deletes"], state["most_apps"]) == (10, 5, 6)


def test_an_agent_that_dies_is_restarted_with_an_empty_workspace(
    local_cloud: LocalCloudProcess, api: Api, sandbox: Running
):
    sandbox.run("echo x > file")
    processes = brood(local_cloud, sandbox)
    processes[0].kill()
    until_gone(processes[:1])
    until_serves(api, sandbox.app["id"])
    assert sandbox.run("ls") == ""
    until_gone(processes)
    assert local_cloud.apps()[0]["phase"] == "ACTIVE"


def test_a_second_cloud_in_the_same_folder_is_refused(local_cloud: LocalCloudProcess):
    command = [sys.executable, "-m", "pools.localcloud", "--dir", str(local_cloud.folder), "--token", "x"]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode != 0
    assert str(local_cloud.folder) in second.stderr
    assert local_cloud.apps() == []


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "pools.localcloud", "--dir", str(tmp_path), "--token", "x", "--port", port]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert port in done.stderr


def test_many_sandboxes_start_and_end_at_once(local_cloud: LocalCloudProcess, api: Api):
    apps = [api.make(sandbox_spec(f"sandbox-{number:08x}")) for number in range(6)]
    urls = {api.until_active(app["id"])["live_url"] for app in apps}
    assert len(urls) == 6
    headers = {"Authorization": f"Bearer {AGENT_TOKEN}"}
    for url in urls:
        answer = httpx.post(f"{url}/api/exec", json={"command": "true"}, headers=headers, trust_env=False, timeout=30)
        assert answer.json()["exit_code"] == 0
    agents = [psutil.Process(app["pid"]) for app in local_cloud.apps()]
    for app in apps:
        api.delete(f"/v2/apps/{app['id']}")
    until_gone(agents)


LATE_ORPHAN = """
import subprocess
from pools.localcloud import mortality
mortality.adopt_orphans()
subprocess.run(["sh", "-c", "sleep 60 &"])
ended = mortality.end
def end(processes, **options):
    ended(processes, **options)
    mortality.end = ended
    subprocess.run(["sh", "-c", "sleep 60 &"])
mortality.end = end
mortality.end_strays(set())
print(mortality.descendants(mortality.os.getpid()))
"""


def test_an_orphan_that_comes_while_others_are_buried_holds_nobody_up():
    """Two deletions at once: the one waited for what the other's agent had just left behind, and held the lock that
    the other needed to kill it. From then on no sandbox started and none was deleted."""
    done = subprocess.run(
        [sys.executable, "-c", LATE_ORPHAN], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(("module", "most"), [("server", 500), ("agent", 200)])
def test_it_loads_little_so_that_it_starts_quickly(module: str, most: int):
    """Some 320 and 70 modules when this was written; what the orchestrator loads is far more."""
    count = f"import sys, pools.localcloud.{module}; print(len(sys.modules))"
    loaded = subprocess.check_output([sys.executable, "-c", count], cwd=ROOT, text=True)
    assert int(loaded) < most
