"""The same boundary, pointed at the embedded local cloud: a sandbox from its spec to its end, over real HTTP."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from pools.cloud.app_platform import DigitalOcean
from pools.cloud.errors import AgentError, AgentRefused, CloudError, NameTaken, Unauthorized
from pools.cloud.records import App, AppSpec, Phase
from pools.cloud.sandbox_agent import CommandExit, CommandLine, SandboxAgent
from tests.fixtures.waiting import until

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "local-5ecret"
DEADLINE_SECONDS = 60


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DigitalOcean]:
    """The local cloud, in a process of its own."""
    if not (ROOT / "pools" / "localcloud" / "__main__.py").exists():
        pytest.skip("this checkout has no local cloud (pools/localcloud)")
    folder = tmp_path_factory.mktemp("localcloud")
    command = [sys.executable, "-m", "pools.localcloud", "--port", "0", "--dir", str(folder), "--token", TOKEN]
    with (tmp_path_factory.mktemp("log") / "localcloud.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield until(lambda: answering(folder), "the local cloud answers", seconds=DEADLINE_SECONDS)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def answering(folder: Path) -> DigitalOcean | None:
    with suppress(OSError, ValueError, CloudError):
        cloud = DigitalOcean(TOKEN, f"http://127.0.0.1:{int((folder / 'port').read_text())}")
        cloud.check_token()
        return cloud
    return None


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


def test_a_sandbox_is_listed_as_what_was_asked_for(local: DigitalOcean, sandbox: App, sandbox_spec: AppSpec):
    listed = local.find(sandbox_spec.name)
    assert listed is not None
    assert (listed.id, listed.owner, listed.region) == (sandbox.id, "staging", "syd")
    assert (listed.size, listed.phase, listed.url) == (sandbox_spec.size, Phase.ACTIVE, sandbox.url)


def test_a_name_is_given_once(local: DigitalOcean, sandbox: App, sandbox_spec: AppSpec):
    with pytest.raises(NameTaken):
        local.create(sandbox_spec)
    assert [app.id for app in local.apps() if app.name == sandbox_spec.name] == [sandbox.id]


def test_the_wrong_token_opens_nothing(local: DigitalOcean, sandbox: App):
    endpoint = repr(local).split()[-1].rstrip(">")
    with pytest.raises(Unauthorized):
        DigitalOcean("wrong", endpoint).apps()
    assert sandbox.url is not None
    with pytest.raises(AgentRefused):
        SandboxAgent(sandbox.url, "wrong").run("true")


def test_what_is_gone_is_gone(local: DigitalOcean, sandbox_spec: AppSpec):
    other = local.create(replace(sandbox_spec, name="sandbox-ffffffff"))
    assert local.delete(other.id) is True
    until(lambda: local.get(other.id) is None, "the app is gone", seconds=DEADLINE_SECONDS)
    assert local.delete(other.id) is False
    assert local.find("sandbox-ffffffff") is None


def test_regions_sizes_and_proposals(local: DigitalOcean, sandbox: App, sandbox_spec: AppSpec):
    assert "syd" in local.regions()
    assert sandbox_spec.size in {size.slug for size in local.sizes()}
    assert local.propose(replace(sandbox_spec, name="sandbox-eeeeeeee")).name_is_available is True
    assert local.propose(sandbox_spec).name_is_available is False


def test_commands_run_and_stream(agent: SandboxAgent):
    result = agent.run("echo out; echo err >&2; exit 3", cwd="/workspace", timeout_seconds=30)
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 3)
    parts = list(agent.stream('echo "$WORD"; exit 4', env={"WORD": "é"}, timeout_seconds=30))
    assert parts[0] == CommandLine("stdout", "é")
    assert isinstance(parts[-1], CommandExit)
    assert parts[-1].code == 4


def test_files_come_back_byte_for_byte(agent: SandboxAgent):
    agent.write_file("/workspace/notes/é.bin", b"\x00\xff\n")
    agent.write_file("/workspace/notes/text", "é\n")
    assert agent.read_file("/workspace/notes/é.bin") == b"\x00\xff\n"
    assert agent.read_file("/workspace/notes/text") == "é\n".encode()
    assert {entry.name for entry in agent.files("/workspace/notes")} == {"é.bin", "text"}
    with pytest.raises(AgentError):
        agent.read_file("/etc/passwd")


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
    assert agent.kill(999_999) is False
