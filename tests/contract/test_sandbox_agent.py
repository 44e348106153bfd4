"""The agent in a sandbox, well and unwell, as our client sees it."""

from __future__ import annotations

import base64
import io
import multiprocessing
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from http.server import HTTPServer
from typing import Any

import pytest

from pools.cloud.errors import AgentError, AgentRefused, AgentUnavailable, CommandTimedOut
from pools.cloud.sandbox_agent import (
    CommandResult,
    Process,
    SandboxAgent,
    Started,
)
from tests.contract.stub_server import Reply, Request, StubServer

TOKEN = "agent-5ecret"
HEALTHY = Reply(200, {"status": "healthy", "mode": "service", "timestamp": 1767691324.1})
ENDED = Reply(200, {"stdout": "hi\n", "stderr": "", "exit_code": 0})
HTML = {"Content-Type": "text/html"}

Call = Callable[[SandboxAgent], object]
CALLS: dict[str, Call] = {
    "health": lambda agent: agent.health(),
    "run": lambda agent: agent.run("true"),
    "start": lambda agent: agent.start("true"),
    "processes": lambda agent: agent.processes(),
    "process_logs": lambda agent: agent.process_logs(7),
    "kill": lambda agent: agent.kill(7),
    "names": lambda agent: agent.names("/workspace"),
    "write_file": lambda agent: agent.write_file("/workspace/x", "y"),
    "read_file": lambda agent: agent.read_file("/workspace/x", io.BytesIO(), most_bytes=1024**2),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@pytest.fixture
def agent(stub: StubServer) -> SandboxAgent:
    return SandboxAgent(stub.url + "/", TOKEN)


def answer_everything(stub: StubServer, *replies: Any) -> None:
    for method in ("GET", "POST"):
        stub.on(method, ".*", *replies)


# Health.


def test_a_healthy_agent_is_healthy(stub: StubServer, agent: SandboxAgent):
    stub.on("GET", "/health", HEALTHY)
    agent.health(timeout_seconds=5)
    assert agent.is_healthy()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(503, b"no healthy upstream"),
        Reply(502, b"<html>", HTML),
        Reply(404, b"<html>not routed yet</html>", HTML),
        Reply(200, b"<html>a placeholder</html>", HTML),
        Reply(200, {"status": "starting"}),
        Reply(200, [1]),
        Reply(200),
        Reply(hang_up=True),
        Reply(200, {"status": "healthy"}, cut_short_by=4),
    ],
)
def test_whatever_else_answers_is_not_a_healthy_agent(reply: Reply, stub: StubServer, agent: SandboxAgent):
    stub.on("GET", "/health", reply)
    with pytest.raises(AgentUnavailable):
        agent.health()
    assert agent.is_healthy() is False


PAGE = Reply(200, b"<html>a placeholder</html>", HTML)


@pytest.mark.parametrize("reply", [PAGE, Reply(200), Reply(200, {"odd": 1}), Reply(200, {"files": {"odd": 1}})])
@pytest.mark.parametrize("call", ["processes", "names"])
def test_what_is_no_list_does_not_say_that_nothing_is_there(
    call: str, reply: Reply, stub: StubServer, agent: SandboxAgent
):
    """The edge's page, with 200, was taken for a sandbox in which nothing ran any more: a game that ran counted as
    ended, and its run failed."""
    answer_everything(stub, reply)
    with pytest.raises(AgentUnavailable):
        CALLS[call](agent)


def test_an_agent_that_says_nothing_is_given_up_in_time(stub: StubServer, agent: SandboxAgent):
    stub.on("GET", "/health", Reply(silent=True))
    began = time.monotonic()
    with pytest.raises(AgentUnavailable, match=r"did not answer within 0.2 s"):
        agent.health(timeout_seconds=0.2)
    assert time.monotonic() - began < 10


@every_call
def test_a_sandbox_that_is_gone_is_unavailable(call: Call):
    with HTTPServer(("127.0.0.1", 0), None) as closed:  # type: ignore[arg-type]  it never gets to answer
        url = f"http://127.0.0.1:{closed.server_port}"
    with pytest.raises(AgentUnavailable, match="could not be reached"):
        call(SandboxAgent(url, TOKEN))


def test_a_host_that_does_not_resolve_yet_is_unavailable():
    with pytest.raises(AgentUnavailable):
        SandboxAgent("https://sandbox-1.invalid", TOKEN).health(timeout_seconds=5)


# Commands.


def test_a_command_runs_to_its_end(stub: StubServer, agent: SandboxAgent):
    stub.on("POST", "/api/exec", Reply(200, {"stdout": "out", "stderr": "err", "exit_code": 3}))
    result = agent.run("exit 3", cwd="/workspace/snake", env={"A": "b"}, timeout_seconds=7)
    assert result == CommandResult(stdout="out", stderr="err", exit_code=3)
    (request,) = stub.requests
    assert request.json == {"command": "exit 3", "cwd": "/workspace/snake", "env": {"A": "b"}, "timeout": 7}
    assert request.headers["authorization"] == f"Bearer {TOKEN}"


def test_a_command_that_takes_too_long_timed_out(stub: StubServer, agent: SandboxAgent):
    stub.on("POST", "/api/exec", Reply(408, {"detail": "Command timed out"}))
    with pytest.raises(CommandTimedOut):
        agent.run("sleep 9", timeout_seconds=1)


def test_a_command_is_sent_once_even_when_the_connection_breaks(stub: StubServer, agent: SandboxAgent):
    stub.on("POST", "/api/exec", Reply(hang_up=True))
    with pytest.raises(AgentUnavailable):
        agent.run("rm -r x")
    assert stub.count("POST") == 1


@pytest.mark.parametrize("body", [{}, {"stdout": "x"}, {"exit_code": "0"}])
def test_a_command_that_did_not_say_how_it_ended_is_no_success(body: dict, stub: StubServer, agent: SandboxAgent):
    stub.on("POST", "/api/exec", Reply(200, body))
    with pytest.raises(AgentError):
        agent.run("true")


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        ([{"loc": ["body", "timeout"], "msg": "must be a whole number"}], "body.timeout: must be a whole number"),
        ([{"loc": 5, "msg": None}], r"\?: None"),
        ([], "no reason given"),
        (["odd"], "no reason given"),
    ],
)
def test_a_field_that_the_agent_does_not_take_is_told_by_its_name(
    detail: Any, told: str, stub: StubServer, agent: SandboxAgent
):
    stub.on("POST", "/api/exec", Reply(422, {"detail": detail}))
    with pytest.raises(AgentError, match=told):
        agent.run("true")


# Processes.


def test_a_process_is_started_listed_read_and_ended(stub: StubServer, agent: SandboxAgent):
    listed = [{"pid": 41, "command": "serve", "status": "running", "log_file": "/tmp/41.log", "started_at": "?"}]
    stub.on("POST", "/api/exec/background", Reply(200, {"pid": 41, "log_file": "/tmp/41.log"}))
    stub.on("GET", "/api/processes", Reply(200, [*listed, {"pid": 42, "status": "stopped"}, {"odd": 1}]))
    stub.on("GET", "/api/processes/41/logs", Reply(200, {"logs": "listening\n"}))
    stub.on("POST", "/api/processes/41/kill", Reply(200, {"success": True}))
    stub.on("POST", "/api/processes/42/kill", Reply(404, {"detail": "Process not found"}))
    assert agent.start("serve", cwd="/workspace/snake", env={"PORT": "5000"}) == Started(41, "/tmp/41.log")
    assert agent.processes() == [Process(41, "serve", True, "/tmp/41.log"), Process(42, "", False, "")]
    assert agent.process_logs(41, tail=20) == "listening\n"
    assert agent.kill(41, signal=9) is True
    assert agent.kill(42) is False
    started, _, logs, killed, _ = stub.requests
    assert started.json == {"command": "serve", "cwd": "/workspace/snake", "env": {"PORT": "5000"}}
    assert logs.query == {"tail": "20"}
    assert killed.json == {"signal": 9}


# Files.


def test_bytes_and_text_are_written_as_they_are(stub: StubServer, agent: SandboxAgent):
    stub.on("POST", "/api/files/content", Reply(200, {"success": True, "path": "/workspace/x"}))
    agent.write_file("/workspace/x", "é\n")
    agent.write_file("/workspace/x", b"\x00\xff")
    text, binary = (request.json for request in stub.requests)
    assert text == {"path": "/workspace/x", "content": "é\n", "encoding": None}
    assert binary["encoding"] == "base64"
    assert base64.b64decode(binary["content"]) == b"\x00\xff"


def test_a_file_is_read_byte_for_byte(stub: StubServer, agent: SandboxAgent):
    stub.on("GET", "/api/files/download", Reply(200, b"\x00\xff\r\n"))
    copy = io.BytesIO()
    assert agent.read_file("/workspace/a b&c", copy, most_bytes=4) == 4
    assert copy.getvalue() == b"\x00\xff\r\n"
    assert stub.requests[0].query == {"path": "/workspace/a b&c"}


def test_the_names_in_a_folder_are_read_and_none_where_there_is_no_folder(stub: StubServer, agent: SandboxAgent):
    files = [{"name": "a"}, {"name": "é", "is_dir": True}, {"name": 7}, "b", {}]
    stub.on("GET", "/api/files", Reply(200, {"files": files}))
    assert agent.names("/workspace/games") == {"a", "é"}
    assert stub.requests[0].query == {"path": "/workspace/games"}
    stub.on("GET", "/api/files", Reply(404, {"detail": "Directory not found"}))
    assert agent.names("/workspace/games") == set()


@pytest.mark.parametrize("call", ["read_file", "write_file"])
def test_a_file_that_is_not_there_is_an_error_with_the_agents_words(call: str, stub: StubServer, agent: SandboxAgent):
    answer_everything(stub, Reply(404, {"detail": "File not found"}))
    with pytest.raises(AgentError, match="File not found"):
        CALLS[call](agent)


# Ports.


def test_a_port_is_looked_at_through_the_agent(stub: StubServer, agent: SandboxAgent):
    stub.on("GET", "/proxy/5000/.*", Reply(200, b"<title>Snake</title>", {"X-Game": "snake", **HTML}))
    status, headers, body = agent.fetch(5000, "/index.html?x=1")
    assert (status, headers["x-game"], body) == (200, "snake", b"<title>Snake</title>")
    assert stub.requests[0].target == "/proxy/5000/index.html?x=1"
    assert stub.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("status", [302, 401, 403, 404, 500, 502, 503, 504])
def test_what_the_port_answers_is_passed_on_unjudged(status: int, stub: StubServer, agent: SandboxAgent):
    stub.on("GET", "/proxy/5000/", Reply(status, b"?", {"Location": "/api/exec"}))
    assert agent.fetch(5000).status == status
    assert len(stub.requests) == 1


@pytest.mark.parametrize(
    "path",
    [
        "",
        "x",
        "//x",
        "/../../api/exec",
        "/a/..",
        "/%2e%2e/api",
        "/a%2Fb",
        "/a%5cb",
        "/a\\b",
        "/a b",
        "/a\r\nX: y",
        "/a#b",
        "http://x/",
    ],
)
def test_no_path_climbs_out_of_its_port(path: str, stub: StubServer, agent: SandboxAgent):
    """The token that goes along would run commands."""
    with pytest.raises(ValueError, match="not a plain path"):
        agent.fetch(5000, path)
    assert stub.requests == []


def test_a_game_that_trickles_does_not_hold_a_probe(stub: StubServer, agent: SandboxAgent):
    def trickle() -> Iterator[bytes]:
        while not stub.over.wait(0.05):
            yield b"."

    stub.on("GET", "/proxy/5000/", Reply(200, trickle(), HTML))
    began = time.monotonic()
    with pytest.raises(AgentUnavailable, match="longer than"):
        agent.fetch(5000, timeout_seconds=0.3)
    assert time.monotonic() - began < 10


def test_a_game_that_says_nothing_does_not_hold_a_probe(stub: StubServer, agent: SandboxAgent):
    stub.on("GET", "/proxy/5000/", Reply(silent=True))
    with pytest.raises(AgentUnavailable, match="did not answer within"):
        agent.fetch(5000, timeout_seconds=0.2)


def test_a_cookie_of_one_sandbox_does_not_reach_another(stub: StubServer, agent: SandboxAgent):
    """On loopback all share one host name, and cookies know no ports."""
    stub.on("GET", "/proxy/5000/", Reply(200, b"", {"Set-Cookie": "spy=1; Path=/"}))
    for _ in range(2):
        agent.fetch(5000)
    SandboxAgent(stub.url, "other").fetch(5000)
    assert [request.headers.get("cookie") for request in stub.requests] == [None, None, None]


# Refusals, the token, connections.


@every_call
@pytest.mark.parametrize(
    "reply",
    [
        Reply(401, {"detail": "Missing token"}),
        Reply(403, {"detail": "Invalid token"}),
        Reply(503, {"detail": "API token not configured"}),
    ],
)
def test_an_agent_that_refuses_our_token_is_told_apart(reply: Reply, call: Call, stub: StubServer, agent: SandboxAgent):
    answer_everything(stub, reply)
    with pytest.raises(AgentRefused, match=str(reply.status)):
        call(agent)


@every_call
@pytest.mark.parametrize(
    "reply",
    [
        Reply(503, b"<html>token</html>", HTML),
        Reply(502, {"detail": "?"}),
        Reply(500, {"detail": "?"}),
        Reply(404, b"<html>no such app</html>", HTML),
    ],
)
def test_an_edge_without_an_agent_behind_it_is_unavailable(
    reply: Reply, call: Call, stub: StubServer, agent: SandboxAgent
):
    answer_everything(stub, reply)
    with pytest.raises(AgentUnavailable):
        call(agent)


@every_call
def test_no_token_is_in_an_error_even_when_the_agent_echoes_it(call: Call, stub: StubServer, agent: SandboxAgent):
    answer_everything(stub, lambda request: Reply(422, {"detail": request.headers["authorization"]}))
    with pytest.raises(AgentError) as failed:
        call(agent)
    assert TOKEN not in "".join(traceback.format_exception(failed.value)) + repr(agent)


def test_an_error_can_be_written_down_whatever_the_agent_says(stub: StubServer, agent: SandboxAgent):
    """What runs in a sandbox may take its agent's place."""
    answer_everything(stub, Reply(422, b'{"detail": "no\\u0000 \\u001b[31mroom\\ud800"}'))
    with pytest.raises(AgentError) as failed:
        agent.run("true")
    assert str(failed.value).isprintable()
    assert "room" in str(failed.value)


@pytest.mark.parametrize("url", ["http://sandbox.example.com", "http://10.0.0.7:8080", "", "ftp://127.0.0.1.example"])
def test_the_token_never_travels_in_clear(url: str):
    with pytest.raises(AgentUnavailable, match="not https"):
        SandboxAgent(url, TOKEN).health()


def test_a_proxy_in_the_environment_does_not_see_requests_to_this_machine(monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setattr("pools.cloud.bounded._clients", {})
    server = StubServer()
    try:
        server.on("GET", "/health", HEALTHY)
        SandboxAgent(server.url, TOKEN).health()
    finally:
        server.stop()


def test_a_connection_that_was_just_closed_does_not_lose_a_look(stub: StubServer, agent: SandboxAgent):
    """Else a healthy warm sandbox would be retired because its kept connection had grown old."""
    stub.on("GET", "/health", HEALTHY, Reply(hang_up=True), HEALTHY)
    agent.health()
    agent.health()
    assert stub.count("GET") == 3


def test_connections_are_kept_between_calls_and_agents(stub: StubServer):
    stub.on("GET", "/health", HEALTHY)
    for _ in range(5):
        SandboxAgent(stub.url, TOKEN).health()
    assert len({request.client_port for request in stub.requests}) == 1


def test_threads_share_connections_without_mixing_answers(stub: StubServer):
    stub.on("POST", "/api/exec", lambda request: Reply(200, {"stdout": request.json["command"], "exit_code": 0}))
    wrong: list[object] = []

    def ask(thread: int) -> None:
        for number in range(10):
            command = f"{thread}-{number}"
            result = SandboxAgent(stub.url, TOKEN).run(command)
            if result.stdout != command:
                wrong.append(result)

    threads = [threading.Thread(target=ask, args=(thread,)) for thread in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert len(stub.requests) == 120


def test_a_fork_does_not_share_its_parents_connection(stub: StubServer, agent: SandboxAgent):
    def reply(request: Request) -> Reply:
        return Reply(200, {"stdout": request.json["command"], "stderr": "", "exit_code": 0})

    stub.on("POST", "/api/exec", reply)
    forks = multiprocessing.get_context("fork")
    answers = forks.SimpleQueue()

    def ask(command: str) -> None:
        answers.put(agent.run(command).stdout)

    agent.run("parent")
    children = [forks.Process(target=ask, args=(f"child-{number}",)) for number in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0, 0, 0]
    assert sorted(answers.get() for _ in children) == [f"child-{number}" for number in range(4)]
    assert len({request.client_port for request in stub.requests}) == 5


def test_a_probe_is_one_request_over_a_connection_that_is_kept(stub: StubServer, agent: SandboxAgent):
    """A warm launch waits for one."""
    stub.on("GET", "/proxy/5000/", Reply(200, b"x" * 2000, HTML))
    for _ in range(20):
        agent.fetch(5000)
    assert len(stub.requests) == 20
    assert len({request.client_port for request in stub.requests}) == 1
