"""What the agent of the sandbox images does and a kind stand-in would not: whatever serves us here does it, too.

It is the embedded agent that is asked. `AGENT_URL` and `AGENT_TOKEN` in the environment name another to be held to the
same facts: one that serves a sandbox image, which nobody else uses meanwhile.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from do_app_sandbox.exceptions import CommandExecutionError
from do_app_sandbox.service_client import SandboxServiceClient

from pools.localcloud.builder_agent import local_agent
from runs.play.upstream import Upstream
from tests.fixtures.waiting import until

PORT = 5600
WEB_SERVER = """
import gzip, http.server, json, os, sys, zlib

class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        kind = self.path.partition("?")[0].strip("/")
        plain = b"<h1>a page</h1>" * 400
        body, packing = {
            "gzip": lambda: (gzip.compress(plain), "gzip"),
            "deflate": lambda: (zlib.compress(plain), "deflate"),
            "br": lambda: (b"packed as brotli", "br"),
            "short": lambda: (gzip.compress(b"x"), "gzip"),
            "broken": lambda: (b"no gzip", "gzip"),
            "asks": lambda: (gzip.compress(plain), "gzip")
            if "gzip" in self.headers.get("Accept-Encoding", "") else (plain, ""),
        }.get(kind, lambda: (json.dumps({"target": self.path, "headers": dict(self.headers)}).encode(), ""))()
        self.send_response(200)
        if packing:
            self.send_header("Content-Encoding", packing)
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Set-Cookie", "b=2")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_): pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Server).serve_forever()
"""
PLAIN = b"<h1>a page</h1>" * 400
# One that stays when its shell is killed: its last command is not the server.
SERVED_BY_A_SHELL = "python3 server.py; true"


class Agent(httpx.Client):
    """A client of one agent that holds its token."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        super().__init__(base_url=url, headers=headers, trust_env=False, timeout=30)
        self.url, self.token = url, token

    def run(self, command: str, **more: Any) -> str:
        answer = self.post("/api/exec", json={"command": command, **more})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["stdout"])

    def start(self, command: str, **more: Any) -> int:
        answer = self.post("/api/exec/background", json={"command": command, **more})
        assert answer.status_code == 200, answer.text
        return int(answer.json()["pid"])

    def lines(self, command: str, **more: Any) -> list[tuple[str, dict[str, Any]]]:
        """The events of a streamed command. Raises httpx.RemoteProtocolError when the stream breaks."""
        events, name = [], ""
        with self.stream("POST", "/api/exec/stream", json={"command": command, **more}) as answer:
            assert answer.status_code == 200
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    events.append((name, json.loads(line.removeprefix("data: "))))
        return events

    def said(self, command: str, **more: Any) -> tuple[list[str], str]:
        """The lines of a streamed command, and what it ended with."""
        *lines, (last, _) = self.lines(command, **more)
        return [data["line"] for _, data in lines], last

    def is_alive(self, pid: int | str) -> bool:
        """Whether it runs; the dead that nobody has buried yet do not."""
        return self.run(f"cat /proc/{pid}/stat 2>/dev/null || true").rpartition(")")[2].split()[:1] not in ([], ["Z"])


@pytest.fixture(scope="module")
def agent(sandbox_programs: Path) -> Iterator[Agent]:
    if url := os.environ.get("AGENT_URL"):
        with Agent(url, os.environ["AGENT_TOKEN"]) as other:
            yield other
        return
    with local_agent(sandbox_programs, "python") as (url, token), Agent(url, token) as embedded:
        yield embedded


@pytest.fixture(scope="module")
def served(agent: Agent) -> Iterator[Agent]:
    """The agent with a web server on PORT."""
    agent.post("/api/files/content", json={"path": "/workspace/server.py", "content": WEB_SERVER})
    pid = agent.start("exec setsid sh -c 'python3 server.py; true'", env={"PORT": str(PORT)})
    until(lambda: agent.get(f"/proxy/{PORT}/").status_code == 200, "the server answers")
    yield agent
    agent.run(f"kill -9 -{pid}")


# Processes.


def test_a_kill_ends_one_process_and_leaves_its_game_on_the_port(agent: Agent):
    """A later launch on that port would be answered by the earlier game."""
    agent.post("/api/files/content", json={"path": "/workspace/left/server.py", "content": WEB_SERVER})
    port = PORT + 1
    pid = agent.start(SERVED_BY_A_SHELL, cwd="/workspace/left", env={"PORT": str(port)})
    until(lambda: agent.get(f"/proxy/{port}/").status_code == 200, "the server answers")
    child = agent.run(f"pgrep -P {pid}").strip()
    assert agent.post(f"/api/processes/{pid}/kill", json={"signal": 9}).json() == {"success": True}
    until(lambda: agent.get(f"/api/processes/{pid}").json()["status"] == "stopped", "the shell has ended")
    assert agent.get(f"/proxy/{port}/").status_code == 200
    assert agent.is_alive(child)
    agent.run(f"kill -9 {child}")


def test_a_process_leads_no_group_of_its_own(agent: Agent):
    pid = agent.start("sleep 60; true")
    assert agent.post("/api/exec", json={"command": f"kill -9 -{pid}"}).json()["exit_code"] != 0
    assert agent.is_alive(pid)
    child = agent.run(f"pgrep -P {pid}").strip()
    agent.run(f"kill -9 {pid} {child}")


def test_a_process_that_leads_a_session_keeps_its_pid_and_ends_with_all_that_it_started(agent: Agent):
    pid = agent.start("exec setsid sh -c 'sleep 61 & sleep 62; true'")
    until(lambda: len(agent.run(f"pgrep -P {pid}").split()) == 2, "both have started")
    children = agent.run(f"pgrep -P {pid}").split()
    assert agent.get(f"/api/processes/{pid}").json()["status"] == "running"
    agent.run(f"kill -9 -{pid}")
    until(lambda: not any(agent.is_alive(child) for child in children), "all have ended")
    assert agent.get(f"/api/processes/{pid}").json()["status"] == "stopped"


def test_a_command_that_takes_too_long_leaves_its_children_behind(agent: Agent):
    assert (
        agent.post("/api/exec", json={"command": "sleep 63 & echo $! > child; wait", "timeout": 1}).status_code == 408
    )
    child = agent.run("cat child").strip()
    assert agent.is_alive(child)
    agent.run(f"kill -9 {child}")


def test_a_stream_that_nobody_reads_any_more_leaves_its_command_running(agent: Agent):
    with agent.stream("POST", "/api/exec/stream", json={"command": "echo $$; exec sleep 64"}) as answer:
        data = next(line for line in answer.iter_lines() if line.startswith("data: "))
    pid = json.loads(data.removeprefix("data: "))["line"]
    agent.run("sleep 0.3")
    assert agent.is_alive(pid)
    agent.run(f"kill -9 {pid}")


@pytest.mark.parametrize(("signal", "status"), [(0, 200), (999, 400), ("x", 422), (None, 422)])
def test_a_signal_is_a_number_that_the_system_knows(agent: Agent, signal: object, status: int):
    pid = agent.start("exec sleep 65")
    assert agent.post(f"/api/processes/{pid}/kill", json={"signal": signal}).status_code == status
    assert agent.post(f"/api/processes/{pid}/kill").status_code == 200, "no signal is SIGTERM"
    until(lambda: agent.get(f"/api/processes/{pid}").json()["status"] == "stopped", "it has ended")
    assert agent.post(f"/api/processes/{pid}/kill").status_code == 400
    assert agent.post("/api/processes/999999/kill", json={"signal": 9}).status_code == 404


def test_a_log_that_is_no_text_can_be_read_by_its_end_alone(agent: Agent):
    pid = agent.start(r"printf 'a\n\377\n'")
    until(lambda: agent.get(f"/api/processes/{pid}").json()["status"] == "stopped", "it has ended")
    assert agent.get(f"/api/processes/{pid}/logs", params={"tail": 5}).json() == {"logs": "a\n\ufffd\n"}
    assert agent.get(f"/api/processes/{pid}/logs").status_code == 500


# Commands.


@pytest.mark.parametrize(
    "wrong",
    [
        {"command": None},
        {"cwd": None},
        {"cwd": 5},
        {"env": {"A": None}},
        {"env": {"A": 5}},
        {"env": ["A"]},
        {"timeout": 0.5},
        {"timeout": None},
        {"timeout": "soon"},
    ],
)
@pytest.mark.parametrize("path", ["/api/exec", "/api/exec/stream"])
def test_a_field_that_is_almost_right_is_a_422_that_names_it(agent: Agent, path: str, wrong: dict[str, Any]):
    answer = agent.post(path, json={"command": "true", **wrong})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][:2] == ["body", *wrong]


def test_an_empty_command_is_one(agent: Agent):
    assert agent.post("/api/exec", json={"command": ""}).json() == {"stdout": "", "stderr": "", "exit_code": 0}


def test_a_command_may_run_anywhere_but_in_a_folder_that_does_not_exist(agent: Agent):
    assert agent.run("pwd", cwd="/") == "/\n"
    assert agent.run("pwd", cwd="/etc") == "/etc\n"
    for path in ("/api/exec", "/api/exec/background"):
        answer = agent.post(path, json={"command": "true", "cwd": "/workspace/nowhere"})
        assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    with pytest.raises(httpx.RemoteProtocolError):
        agent.lines("true", cwd="/workspace/nowhere")


def test_a_command_that_is_given_no_port_has_the_agents_own(agent: Agent):
    """A server that takes it finds it taken."""
    taken = "import os, socket; socket.create_server(('127.0.0.1', int(os.environ['PORT'])))"
    assert "in use" in agent.run(f'python3 -c "{taken}" 2>&1 || true')
    assert agent.get("/proxy/8080/health").json()["status"] == "healthy"


# Streams.


def test_a_streams_time_is_its_longest_silence_and_not_the_whole(agent: Agent):
    began = time.monotonic()
    lines, last = agent.said("for i in 1 2 3 4 5; do echo $i; sleep 0.5; done", timeout=2)
    assert (lines, last) == (["1", "2", "3", "4", "5"], "exit")
    assert time.monotonic() - began > 2
    assert agent.said("echo begun; sleep 30", timeout=1) == (["begun"], "error")


def test_a_line_beyond_64_kib_breaks_the_stream_without_an_exit(agent: Agent):
    with pytest.raises(httpx.RemoteProtocolError):
        agent.lines(r"head -c 70000 /dev/zero | tr '\0' x; echo; echo after")


def test_progress_on_one_line_is_one_line(agent: Agent):
    assert agent.said(r"printf '10%%\r50%%\r100%%\n'") == (["10%\r50%\r100%"], "exit")


# Games.


@pytest.mark.parametrize("packed", ["gzip", "deflate", "short"])
def test_a_packed_answer_breaks_off(served: Agent, packed: str):
    """It is unpacked, and keeps the length that it had before."""
    with served.stream("GET", f"/proxy/{PORT}/{packed}") as answer:
        assert answer.status_code == 200
        assert "content-encoding" not in answer.headers
        with pytest.raises(httpx.RemoteProtocolError):
            answer.read()


def test_brotli_stays_packed_and_does_not_say_so(served: Agent):
    answer = served.get(f"/proxy/{PORT}/br")
    assert "content-encoding" not in answer.headers
    assert answer.content == b"packed as brotli"


def test_what_can_not_be_unpacked_is_the_agents_own_failure(served: Agent):
    answer = served.get(f"/proxy/{PORT}/broken")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")


def test_to_ask_for_no_packing_helps_and_to_ask_for_nothing_does_not(served: Agent):
    identity = served.get(f"/proxy/{PORT}/asks", headers={"Accept-Encoding": "identity"})
    assert identity.content == PLAIN
    del served.headers["accept-encoding"]
    try:
        with pytest.raises(httpx.RemoteProtocolError):
            served.get(f"/proxy/{PORT}/asks")
    finally:
        served.headers["accept-encoding"] = "identity"


@pytest.mark.parametrize(
    ("path", "reaches"),
    [
        ("a%23b.txt", "/a"),
        ("a%23b.txt?x=1", "/a"),
        ("a%2Fb", "/a/b"),
        ("a/%2e%2e/b", "/b"),
        ("a%2541", "/a%41"),
        ("%C3%A9%20?x=%20", "/%C3%A9%20?x=%20"),
        ("?x=1", "/?x=1"),
    ],
)
def test_a_path_is_decoded_and_read_again(served: Agent, path: str, reaches: str):
    assert asked(served, f"/proxy/{PORT}/{path}")["target"] == reaches


def test_a_question_mark_in_a_name_begins_a_query(served: Agent):
    """And comes once or twice, depending on what the agent is built with."""
    assert asked(served, f"/proxy/{PORT}/a%3Fb.txt")["target"] in ("/a?b.txt", "/a?b.txt?b.txt")


@pytest.mark.parametrize(
    ("path", "reaches"), [("a%3Fb.txt", "/a%3Fb.txt"), ("a%23b", "/a%23b"), ("%C3%A9/b", "/%C3%A9/b"), ("a;b", "/a;b")]
)
def test_a_players_address_reaches_the_game_as_it_was_all_the_same(served: Agent, path: str, reaches: str):
    url = Upstream(served.url, served.token, PORT).target(path.encode(), b"x=1")
    assert asked(served, url.raw_path.decode())["target"] == f"{reaches}?x=1"


def asked(agent: Agent, target: str) -> Any:
    """What reaches the server when exactly that is asked for, which a client library would tidy up."""
    url = urlsplit(agent.url)
    with socket.create_connection((url.hostname, url.port), timeout=30) as connection:
        head = [
            f"GET {target} HTTP/1.1",
            "Host: x",
            "Connection: close",
            f"Authorization: Bearer {agent.token}",
            "",
            "",
        ]
        connection.sendall("\r\n".join(head).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def test_a_port_without_a_slash_is_sent_to_where_there_is_one(served: Agent):
    answer = served.get(f"/proxy/{PORT}")
    assert answer.status_code == 307
    assert urlsplit(answer.headers["location"]).path == f"/proxy/{PORT}/"


def test_cookies_come_in_one_header(served: Agent):
    assert served.get(f"/proxy/{PORT}/").headers.get_list("set-cookie") == ["a=1, b=2"]


# The way in.


@pytest.mark.parametrize(
    ("authorization", "status"), [("bearer {}", 401), ("Bearer  {}", 403), ("BEARER {}", 401), ("{}", 401)]
)
def test_the_token_stands_behind_bearer_and_one_space(agent: Agent, authorization: str, status: int):
    headers = {"Authorization": authorization.format(agent.token)}
    assert agent.get("/api/processes", headers=headers).status_code == status


# Files.


def test_folders_have_no_size_and_permissions_are_octal(agent: Agent):
    agent.run("mkdir -p listed/folder && echo 12345 > listed/file && chmod 644 listed/file && chmod 755 listed/folder")
    found = agent.get("/api/files", params={"path": "/workspace/listed"}).json()["files"]
    assert sorted((entry["name"], entry["is_dir"], entry["size"], entry["permissions"]) for entry in found) == [
        ("file", False, 6, "644"),
        ("folder", True, None, "755"),
    ]


def test_a_folder_is_no_file_and_a_file_no_folder(agent: Agent):
    agent.run("mkdir -p mixed/folder && echo 1 > mixed/file")
    for url in ("/api/files/content", "/api/files/download"):
        assert agent.get(url, params={"path": "/workspace/mixed/folder"}).status_code == 400
        assert agent.get(url, params={"path": "/workspace/mixed/none"}).status_code == 404
    assert agent.get("/api/files", params={"path": "/workspace/mixed/file"}).status_code == 400
    assert agent.get("/api/files", params={"path": "/workspace/mixed/none"}).status_code == 404
    body = {"path": "/workspace/mixed/folder", "content": "x"}
    assert agent.post("/api/files/content", json=body).status_code == 500


# Sessions, as the public client calls them.


@pytest.fixture
def client(agent: Agent) -> SandboxServiceClient:
    return SandboxServiceClient(agent.url, agent.token)


@pytest.fixture
def session(client: SandboxServiceClient) -> Iterator[Callable[[str], str]]:
    """A shell; `session("ls")` is what it shows."""
    made = client.create_session("shell", env={"GREETING": "hello"}, cwd="/tmp")
    assert made["session_id"] == "shell"
    assert made["pid"] > 0
    yield lambda command: client.session_exec("shell", command, timeout=20)["output"]
    assert client.close_session("shell") is True


def test_a_session_keeps_its_folder_and_its_variables(session: Callable[[str], str]):
    assert "hello" in session("echo $GREETING")
    session("cd / && export MADE=here")
    assert session("echo $MADE:$PWD").splitlines()[0].strip().endswith("here:/")


def test_a_session_is_shown_and_listed(agent: Agent, client: SandboxServiceClient, session: Callable[[str], str]):
    shown = client.get_session("shell")
    assert {name: shown[name] for name in ("session_id", "cwd", "env", "status")} == {
        "session_id": "shell", "cwd": "/tmp", "env": {"GREETING": "hello"}, "status": "running",
    }  # fmt: skip
    assert shown.keys() == {"session_id", "pid", "cwd", "env", "status", "created_at"}
    assert agent.get("/api/sessions").json() == [shown]


def test_a_session_that_waits_too_long_answers_with_what_there_is(
    client: SandboxServiceClient, session: Callable[[str], str]
):
    assert "begun" in client.session_exec("shell", "echo be''gun; sleep 30", timeout=1)["output"]


def test_a_sessions_name_is_given_once(client: SandboxServiceClient, session: Callable[[str], str]):
    with pytest.raises(CommandExecutionError, match="400"):
        client.create_session("shell")


def test_a_session_that_is_closed_is_gone(agent: Agent, client: SandboxServiceClient):
    pid = client.create_session("brief")["pid"]
    assert client.close_session("brief") is True
    until(lambda: not agent.is_alive(pid), "its shell has ended")
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/exec")):
        body = {"command": "true"} if method == "POST" else None
        assert agent.request(method, f"/api/sessions/brief{path}", json=body).status_code == 404
    assert agent.post("/api/sessions", json={"session_id": None}).status_code == 422
    assert agent.post("/api/sessions", json={"session_id": "x", "cwd": "/workspace/nowhere"}).status_code == 500
