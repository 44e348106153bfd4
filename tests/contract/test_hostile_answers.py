"""Answers that never end, grow without bound or unpack into more than a worker holds: each is given up in time."""

from __future__ import annotations

import io
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from pools.cloud.app_platform import DigitalOcean
from pools.cloud.errors import AgentError, AgentUnavailable, CloudError, CloudUnavailable
from pools.cloud.records import AppSpec
from pools.cloud.sandbox_agent import SandboxAgent
from tests.contract.conftest import TOKEN
from tests.contract.stub_server import Reply, Request, StubServer
from tests.contract.test_app_platform_answers import answer_everything, every_call
from tests.contract.test_sandbox_agent import CALLS as AGENT_CALLS

MIB = 1024 * 1024
AT_LAST_SECONDS = 20  # what is asked here would never end; pydo may be loaded meanwhile
JSON = {"Content-Type": "application/json"}
every_agent_call = pytest.mark.parametrize("call", AGENT_CALLS.values(), ids=AGENT_CALLS.keys())


@pytest.fixture
def agent(stub: StubServer) -> SandboxAgent:
    return SandboxAgent(stub.url, TOKEN)


def trickled(stub: StubServer, head: bytes, piece: bytes) -> Callable[[Request], Reply]:
    """An answer that goes on, a little at a time, until the test is over."""

    def pieces() -> Iterator[bytes]:
        yield head
        while not stub.over.wait(0.05):
            yield piece

    return lambda request: Reply(raw=pieces())


def trickles(stub: StubServer) -> dict[str, Callable[[Request], Reply]]:
    return {
        "body": trickled(stub, b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{", b" "),
        "head": trickled(stub, b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        "status line": trickled(stub, b"HTTP/1.1 200 O", b"K"),
    }


@cache
def bomb(mebibytes: int) -> bytes:
    """So much nothing, packed a thousandfold."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    nothing = b" " * MIB
    return b"".join(packer.compress(nothing) for _ in range(mebibytes)) + packer.flush()


def peak_mebibytes(call: Callable[[], object]) -> float:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] / MIB
    finally:
        tracemalloc.stop()


# The cloud.


@pytest.mark.parametrize("part", ["body", "head", "status line"])
@every_call
def test_an_answer_that_trickles_does_not_outlast_the_one_deadline(
    call: Any, part: str, stub: StubServer, spec: AppSpec
):
    """Each piece came in time, so no timeout of a read ever met it: a turn was held beyond its lease."""
    answer_everything(stub, trickles(stub)[part])
    cloud = DigitalOcean(TOKEN, stub.url, timeout_seconds=0.3)
    began = time.monotonic()
    with pytest.raises(CloudUnavailable, match=r"0\.3 s"):
        call(cloud, spec)
    assert time.monotonic() - began < AT_LAST_SECONDS


@pytest.mark.parametrize("packed", [True, False], ids=["gzip", "plain"])
def test_an_endless_answer_is_given_up_before_it_fills_the_memory(packed: bool, stub: StubServer, cloud: DigitalOcean):
    """A page of 4 MB, unpacked, took 625 MB."""
    data = bomb(256) if packed else b""
    headers = JSON | ({"Content-Encoding": "gzip"} if packed else {})

    def plain() -> Iterator[bytes]:
        while not stub.over.is_set():
            yield b" " * MIB

    stub.on("GET", "/v2/apps", lambda request: Reply(200, data if packed else plain(), headers))

    def ask() -> None:
        with pytest.raises(CloudError, match="32 MiB"):
            cloud.apps()

    cloud.delete("a1")  # what loading pydo takes is not counted
    assert peak_mebibytes(ask) < 120


def test_answers_are_asked_for_unpacked(stub: StubServer, cloud: DigitalOcean, agent: SandboxAgent):
    stub.on("GET", ".*", Reply(200, {"apps": [], "meta": {"total": 0}, "status": "healthy"}))
    cloud.apps()
    agent.health()
    assert [request.headers["accept-encoding"] for request in stub.requests] == ["identity", "identity"]


def test_an_answer_that_is_packed_all_the_same_is_read(stub: StubServer, cloud: DigitalOcean):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    data = packer.compress(b'{"apps": [{"id": "a1"}], "meta": {"total": 1}}') + packer.flush()
    stub.on("GET", ".*", Reply(200, data, JSON | {"Content-Encoding": "gzip"}))
    assert [app.id for app in cloud.apps()] == ["a1"]


def test_a_page_of_200_apps_with_long_specs_is_read(stub: StubServer, cloud: DigitalOcean):
    """Each mentions its spec again in every deployment: 80 KB an app, 16 MB a page."""
    envs = [{"key": f"KEY_{number}", "value": "x" * 400} for number in range(60)]
    spec = {"name": "web", "services": [{"name": "web", "envs": envs}]}
    deployment = {"id": "d", "phase": "ACTIVE", "spec": spec}
    apps = [
        {"id": f"a{number}", "spec": spec, "active_deployment": deployment, "pending_deployment": deployment}
        for number in range(200)
    ]
    stub.on("GET", "/v2/apps", Reply(200, {"apps": apps, "links": {"pages": {}}, "meta": {"total": 200}}))
    assert len(cloud.apps()) == 200


# Agents.


@pytest.mark.parametrize("part", ["body", "head", "status line"])
def test_an_agent_that_trickles_does_not_hold_a_turn(part: str, stub: StubServer, agent: SandboxAgent):
    answer_everything(stub, trickles(stub)[part])
    for call in (
        lambda: agent.health(timeout_seconds=0.3),
        lambda: agent.fetch(5000, timeout_seconds=0.3),
    ):
        began = time.monotonic()
        with pytest.raises(AgentUnavailable, match=r"0\.3 s"):
            call()
        assert time.monotonic() - began < AT_LAST_SECONDS


@pytest.mark.parametrize("call", [call for name, call in AGENT_CALLS.items() if name != "health"])  # see above
def test_every_other_call_of_an_agent_has_a_deadline(
    call: Any, stub: StubServer, agent: SandboxAgent, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pools.cloud.sandbox_agent.CALL_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr("pools.cloud.sandbox_agent.COMMAND_GRACE_SECONDS", -119.8)
    monkeypatch.setattr("pools.cloud.sandbox_agent.DOWNLOAD_TIMEOUT_SECONDS", 0.2)
    for method in (SandboxAgent.processes, SandboxAgent.names):
        monkeypatch.setattr(method, "__defaults__", (0.2,))
    answer_everything(stub, trickles(stub)["body"])
    began = time.monotonic()
    with pytest.raises(AgentUnavailable):
        call(agent)
    assert time.monotonic() - began < AT_LAST_SECONDS


@every_agent_call
@pytest.mark.parametrize("packed", [True, False], ids=["gzip", "plain"])
def test_what_an_agent_sends_has_its_limit(packed: bool, call: Any, stub: StubServer, agent: SandboxAgent):
    data = bomb(256) if packed else b""
    headers = JSON | ({"Content-Encoding": "gzip"} if packed else {})

    def plain() -> Iterator[bytes]:
        while not stub.over.is_set():
            yield b" " * MIB

    answer_everything(stub, lambda request: Reply(200, data if packed else plain(), headers))

    def ask() -> None:
        with pytest.raises(AgentError):
            call(agent)

    assert peak_mebibytes(ask) < 60


@every_agent_call
def test_nesting_beyond_all_measure_is_no_answer(call: Any, stub: StubServer, agent: SandboxAgent):
    """Python's reader gives up with an error of its own kind, which ended the turn."""
    answer_everything(stub, Reply(200, b"[" * 200_000, JSON))
    if call in (AGENT_CALLS["read_file"], AGENT_CALLS["write_file"], AGENT_CALLS["kill"]):
        call(agent)  # which read no JSON
        return
    with pytest.raises(AgentError):
        call(agent)


def test_a_game_whose_page_is_large_or_oddly_packed_answers_all_the_same(stub: StubServer, agent: SandboxAgent):
    """What counts is that it answers; the rest of the page is not waited for."""
    stub.on("GET", "/proxy/5000/", Reply(200, b"x" * 3 * MIB, {"Content-Encoding": "br"}))
    fetched = agent.fetch(5000)
    assert (fetched.status, len(fetched.body)) == (200, MIB)


def test_a_file_is_streamed_into_another(stub: StubServer, agent: SandboxAgent):
    """A snapshot may have 256 MiB; it was held in memory, twice."""
    stub.on("GET", "/api/files/download", lambda request: Reply(200, (b"x" * MIB for _ in range(100))))

    class Sink(io.RawIOBase):
        size = 0

        def write(self, data: Any) -> int:
            self.size += len(data)
            return len(data)

    sink = Sink()
    peak = peak_mebibytes(lambda: agent.read_file("/workspace/x", sink, most_bytes=200 * MIB))
    assert sink.size == 100 * MIB
    assert peak < 10
    with pytest.raises(AgentError, match="50 MiB"):
        agent.read_file("/workspace/x", Sink(), most_bytes=50 * MIB)


def test_a_file_that_is_cut_short_is_no_file(stub: StubServer, agent: SandboxAgent):
    stub.on("GET", "/api/files/download", Reply(200, b"half", cut_short_by=4))
    with pytest.raises(AgentUnavailable):
        agent.read_file("/workspace/x", io.BytesIO(), most_bytes=MIB)


def test_a_connection_that_trickled_is_not_used_again(stub: StubServer, agent: SandboxAgent):
    """What is left of its answer would be read as the next one's."""
    stub.on("GET", "/proxy/5000/", Reply(200, b"x" * 3 * MIB))
    stub.on("GET", "/health", Reply(200, {"status": "healthy"}))
    agent.fetch(5000)
    agent.health()
    first, second = stub.requests
    assert first.client_port != second.client_port


# Texts.


ODD = b"zero \\u0000, half \\ud800"


def test_no_text_of_a_game_holds_what_no_database_takes(stub: StubServer, agent: SandboxAgent):
    """A zero byte in a game's output ended its staging, and its run's log."""
    stub.on(
        "POST", "/api/exec", Reply(200, b'{"stdout": "' + ODD + b'", "stderr": "' + ODD + b'", "exit_code": 0}', JSON)
    )
    stub.on("GET", "/api/processes/7/logs", Reply(200, b'{"logs": "' + ODD + b'"}', JSON))
    stub.on("GET", "/api/processes", Reply(200, b'[{"pid": 7, "command": "' + ODD + b'"}]', JSON))
    said = str([agent.run("x"), agent.process_logs(7), agent.processes()])
    assert said.count("zero \ufffd, half \ufffd") == 4


@pytest.mark.parametrize("pid", ["0", "-1", "4294967296", "1e3", "null", '"7"'])
def test_a_process_id_that_can_be_none_is_none(pid: str, stub: StubServer, agent: SandboxAgent):
    stub.on("POST", "/api/exec/background", Reply(200, f'{{"pid": {pid}}}'.encode(), JSON))
    stub.on("GET", "/api/processes", Reply(200, f'[{{"pid": {pid}}}]'.encode(), JSON))
    with pytest.raises(AgentError, match="did not say which"):
        agent.start("x")
    assert agent.processes() == []


@pytest.mark.parametrize("path", ["/v2/apps", "/v2/apps/a1"])
def test_an_error_of_the_cloud_can_be_written_down(path: str, stub: StubServer, cloud: DigitalOcean):
    stub.on("GET", ".*", Reply(422, b'{"id": "x", "message": "' + ODD + b'"}', JSON))
    with pytest.raises(CloudError) as failed:
        cloud.apps() if path.endswith("apps") else cloud.get("a1")
    assert "zero \ufffd, half \ufffd" in str(failed.value)


def test_a_failure_nested_beyond_all_measure_is_told_as_far_as_it_goes(stub: StubServer, cloud: DigitalOcean):
    step: dict[str, Any] = {"reason": {"code": "Innermost"}}
    for _ in range(300):
        step = {"reason": {"code": "Outer"}, "steps": [step]}
    failed = {"id": "a1", "pending_deployment": {"phase": "ERROR", "progress": {"steps": [step]}}}
    stub.on("GET", "/v2/apps", Reply(200, {"apps": [failed], "meta": {"total": 1}}))
    assert cloud.apps()[0].failure == "The deployment failed: Outer"
