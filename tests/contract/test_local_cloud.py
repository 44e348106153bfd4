"""The same boundary, pointed at the embedded local cloud: a sandbox from its spec to its end, over real HTTP."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pools.cloud.app_platform import DigitalOcean
from pools.cloud.errors import (
    AgentError,
    AgentRefused,
    CloudUnavailable,
    IncompleteListing,
    NameTaken,
    OverQuota,
    RateLimited,
    Unauthorized,
)
from pools.cloud.long_command import CommandExit, follow
from pools.cloud.records import App, AppSpec, Phase
from pools.cloud.sandbox_agent import SandboxAgent
from tests.fixtures.local_cloud import LocalCloudProcess
from tests.fixtures.waiting import until

DEADLINE_SECONDS = 60


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloudProcess]:
    process = LocalCloudProcess(tmp_path_factory.mktemp("localcloud"), "--deploy-seconds", "0.2")
    yield process
    process.stop()


@pytest.fixture(scope="module")
def local(process: LocalCloudProcess) -> DigitalOcean:
    return DigitalOcean(process.token, process.url)


@pytest.fixture
def paper(paper_cloud: LocalCloudProcess) -> DigitalOcean:
    return DigitalOcean(paper_cloud.token, paper_cloud.url)


@pytest.fixture(scope="module")
def sandbox_spec() -> AppSpec:
    return AppSpec(
        name="sandbox-0123abcd",
        owner="staging",
        image="bikramkgupta/sandbox-python-service:latest",
        region="syd1",
        size="apps-s-1vcpu-1gb",
        token="agent-5ecret",
    )


@pytest.fixture(scope="module")
def sandbox(local: DigitalOcean, sandbox_spec: AppSpec) -> App:
    """A sandbox that is active and has its address."""
    created = local.create(sandbox_spec)

    def active() -> App | None:
        app = local.get(created.id)
        assert app is not None
        assert app.failure is None
        return app if app.phase is Phase.ACTIVE and app.url else None

    return until(active, "the sandbox is active", seconds=DEADLINE_SECONDS)


@pytest.fixture(scope="module")
def agent(sandbox: App, sandbox_spec: AppSpec) -> SandboxAgent:
    assert sandbox.url is not None
    agent = SandboxAgent(sandbox.url, sandbox_spec.token)
    until(agent.is_healthy, "the agent is healthy", seconds=DEADLINE_SECONDS)
    return agent


def named(cloud: DigitalOcean, name: str) -> App | None:
    """The app of that name, from the cloud's list."""
    return next((app for app in cloud.apps() if app.name == name), None)


def test_a_sandbox_is_listed_as_what_was_asked_for(local: DigitalOcean, sandbox: App, sandbox_spec: AppSpec):
    listed = named(local, sandbox_spec.name)
    assert listed is not None
    assert (listed.id, listed.owner, listed.region) == (sandbox.id, "staging", "syd")
    assert (listed.size, listed.phase, listed.url) == (sandbox_spec.size, Phase.ACTIVE, sandbox.url)


def test_a_name_is_given_once(local: DigitalOcean, sandbox: App, sandbox_spec: AppSpec):
    with pytest.raises(NameTaken):
        local.create(sandbox_spec)
    assert [app.id for app in local.apps() if app.name == sandbox_spec.name] == [sandbox.id]


def test_the_wrong_token_opens_nothing(process: LocalCloudProcess, sandbox: App):
    with pytest.raises(Unauthorized):
        DigitalOcean("wrong", process.url).apps()
    assert sandbox.url is not None
    with pytest.raises(AgentRefused):
        SandboxAgent(sandbox.url, "wrong").run("true")


def test_what_is_gone_is_gone(local: DigitalOcean, sandbox_spec: AppSpec):
    other = local.create(replace(sandbox_spec, name="sandbox-ffffffff"))
    assert local.delete(other.id) is True
    until(lambda: local.get(other.id) is None, "the app is gone", seconds=DEADLINE_SECONDS)
    assert local.delete(other.id) is False
    assert named(local, "sandbox-ffffffff") is None


def test_a_proposal_tells_whether_a_name_is_free(local: DigitalOcean, sandbox: App, sandbox_spec: AppSpec):
    assert local.propose(replace(sandbox_spec, name="sandbox-eeeeeeee")).name_is_available is True
    assert local.propose(sandbox_spec).name_is_available is False


def test_commands_run_and_are_followed(agent: SandboxAgent):
    result = agent.run("echo out; echo err >&2; exit 3", cwd="/workspace", timeout_seconds=30)
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 3)
    parts = list(follow(agent, 'echo "$WORD"; exit 4', env={"WORD": "é"}, timeout_seconds=30))
    assert parts == ["é", CommandExit(4)]


def test_files_come_back_byte_for_byte(agent: SandboxAgent):
    agent.write_file("/workspace/notes/é.bin", b"\x00\xff\n")
    agent.write_file("/workspace/notes/text", "é\n")
    copy = io.BytesIO()
    agent.read_file("/workspace/notes/é.bin", copy, most_bytes=100)
    agent.read_file("/workspace/notes/text", copy, most_bytes=100)
    assert copy.getvalue() == b"\x00\xff\n" + "é\n".encode()
    assert set(agent.run("ls -A", cwd="/workspace/notes").stdout.split()) == {"é.bin", "text"}
    assert agent.names("/workspace/notes") == {"é.bin", "text"}
    assert agent.names("/workspace/nowhere") == set()
    with pytest.raises(AgentError):
        agent.read_file("/etc/passwd", copy, most_bytes=100)


def test_a_process_is_seen_through_its_port_until_it_is_ended(agent: SandboxAgent):
    """The agent gives what it starts a PORT that is free here, and `/proxy/5000/` leads there."""
    agent.write_file("/workspace/site/index.html", "<title>Snake</title>")
    started = agent.start(
        'python3 -m http.server "$PORT" --bind 127.0.0.1', cwd="/workspace/site", env={"PORT": "5000"}
    )
    fetched = until(
        lambda: seen if (seen := agent.fetch(5000)).status == 200 else None,
        "the site answers",
        seconds=DEADLINE_SECONDS,
    )
    assert fetched.body == b"<title>Snake</title>"
    assert [process.is_running for process in agent.processes() if process.pid == started.pid] == [True]
    assert agent.kill(started.pid) is True
    until(lambda: agent.fetch(5000).status == 502, "nothing listens any more", seconds=DEADLINE_SECONDS)
    assert "detail" in json.loads(agent.fetch(5000).body), "by this it is known as the agent's own word"
    assert agent.kill(999_999) is False


# Trouble, through the same HTTP boundary. Apps on paper are enough for it.


def test_a_lost_create_is_found_by_its_name(paper_cloud: LocalCloudProcess, paper: DigitalOcean, spec: AppSpec):
    paper_cloud.fault(operation="create", status=500, after=True, times=1)
    with pytest.raises(CloudUnavailable):
        paper.create(spec)
    found = named(paper, spec.name)
    assert found is not None
    assert [app["id"] for app in paper_cloud.apps()] == [found.id]


def test_a_lost_delete_is_a_delete_when_asked_again(paper_cloud: LocalCloudProcess, paper: DigitalOcean, spec: AppSpec):
    app = paper.create(spec)
    paper_cloud.fault(operation="delete", reset=True, after=True, times=1)
    with pytest.raises(CloudUnavailable):
        paper.delete(app.id)
    assert paper.delete(app.id) is False


@pytest.mark.parametrize("body", ["html", "empty", "truncated", "odd"])
def test_a_garbled_answer_is_neither_an_app_nor_its_absence(
    body: str, paper_cloud: LocalCloudProcess, paper: DigitalOcean, spec: AppSpec
):
    app = paper.create(spec)
    paper_cloud.fault(body=body)
    with pytest.raises(IncompleteListing):
        paper.apps()
    with pytest.raises(CloudUnavailable):
        paper.get(app.id)


@pytest.mark.parametrize("fault", [{"page": 2, "status": 500}, {"page": 2, "body": "html"}, {"omit": "0000$"}])
def test_a_listing_that_lost_a_part_is_no_listing(
    fault: dict[str, object], paper_cloud: LocalCloudProcess, paper: DigitalOcean
):
    paper_cloud.control.make_apps(250)
    assert len(paper.apps()) == 250
    paper_cloud.fault(operation="list", **({"total": 250} if "omit" in fault else {}), **fault)
    with pytest.raises(IncompleteListing):
        paper.apps()


def test_a_full_account_says_so(paper_cloud: LocalCloudProcess, paper: DigitalOcean, spec: AppSpec):
    paper_cloud.fault(operation="create", quota=1)
    paper.create(spec)
    with pytest.raises(OverQuota):
        paper.create(replace(spec, name="sandbox-ffffffff"))


def test_a_failed_deployment_says_why(paper_cloud: LocalCloudProcess, paper: DigitalOcean, spec: AppSpec):
    paper_cloud.fault(operation="create", error="ImagePullFailed: no such image")
    app = paper.create(spec)

    def failed() -> App | None:
        seen = paper.get(app.id)
        return seen if seen is not None and seen.phase is Phase.ERROR else None

    seen = until(failed, "the deployment has failed", seconds=DEADLINE_SECONDS)
    assert "ImagePullFailed" in (seen.failure or "")


def test_a_429_is_heard(paper_cloud: LocalCloudProcess, paper: DigitalOcean):
    paper_cloud.fault(status=429, retry_after=40)
    for _ in range(2):
        with pytest.raises(RateLimited) as refused:
            paper.apps()
    assert refused.value.retry_after_seconds == pytest.approx(40, abs=20)
    assert paper.budget.remaining() == 0
