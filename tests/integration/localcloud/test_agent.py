"""The agent inside a local sandbox: commands, files, processes and ports."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import io
import json
import os
import re
import socket
import threading
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import psutil
import pytest
from do_app_sandbox.exceptions import CommandTimeoutError, ServiceConnectionError
from do_app_sandbox.service_client import AsyncSandboxServiceClient, SandboxServiceClient

from tests.fixtures.local_cloud import LocalCloudProcess
from tests.fixtures.waiting import free_port, until
from tests.integration.localcloud.conftest import AGENT_TOKEN, Api, Running, running, sandbox_spec

SERVE = 'python3 -m http.server "$PORT" --bind 127.0.0.1'


def proxied(url: str, target: str, **headers: str) -> tuple[int, bytes]:
    """What comes back for exactly that target, which a client library would tidy up."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        lines = [f"GET {target} HTTP/1.1", "Host: sandbox", "Connection: close", f"Authorization: Bearer {AGENT_TOKEN}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2]


# The public client.


def test_the_public_client_works_against_it(shared_sandbox: Running):
    client = SandboxServiceClient(shared_sandbox.url, AGENT_TOKEN)
    assert client.health()["status"] == "healthy"
    result = client.exec("echo out; echo err >&2; exit 3", env={"A": "b"}, cwd="/workspace", timeout=30)
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 3)
    events = [
        (event.type, event.data) for event in client.exec_stream('echo "$A"; echo two >&2; exit 4', env={"A": "é"})
    ]
    assert sorted(map(str, events[:-1])) == sorted(map(str, [("stdout", "é"), ("stderr", "two")]))
    assert events[-1] == ("exit", 4)
    pid = client.exec_background("echo first; echo second; exec sleep 60")
    until(lambda: client.get_process_logs(pid) == "first\nsecond\n", "both lines are in the log")
    assert client.get_process_logs(pid, tail=1) == "second\n"
    assert {process.pid: process.status for process in client.list_processes()}[pid] == "running"
    lines = client.stream_process_logs(pid)
    assert [next(lines), next(lines)] == ["first", "second"]
    lines.close()
    assert client.kill_process(pid) is True
    until(lambda: {p.pid: p.status for p in client.list_processes()}[pid] == "stopped", "the process has stopped")


def test_the_public_async_client_works_against_it(shared_sandbox: Running):
    async def use() -> list[Any]:
        client = AsyncSandboxServiceClient(shared_sandbox.url, AGENT_TOKEN)
        result = await client.exec("echo $GREETING")
        await client.create_session("theirs", env={"A": "b"})
        said = await client.session_exec("theirs", "echo $A$GREETING")
        closed = [(await client.get_session("theirs"))["status"], await client.close_session("theirs")]
        streamed = [event.data async for event in client.exec_stream("echo streamed")]
        return [result.stdout, *streamed, "bhello" in said["output"], *closed]

    assert asyncio.run(use()) == ["hello\n", "streamed", 0, True, "running", True]


def test_the_public_client_is_told_of_timeouts_and_of_wrong_tokens(shared_sandbox: Running):
    with pytest.raises(CommandTimeoutError):
        SandboxServiceClient(shared_sandbox.url, AGENT_TOKEN).exec("sleep 30", timeout=1)
    with pytest.raises(ServiceConnectionError):
        SandboxServiceClient(shared_sandbox.url, "wrong").exec("true")


# The way in.


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("", 401),
        ("Bearer", 401),
        (AGENT_TOKEN, 401),
        ("Basic abc", 401),
        (f"bearer {AGENT_TOKEN}", 401),
        ("Bearer wrong", 403),
    ],
)
def test_everything_but_health_asks_for_the_token(shared_sandbox: Running, authorization: str, status: int):
    headers = {"Authorization": authorization} if authorization else {}
    with httpx.Client(base_url=shared_sandbox.url, headers=headers, trust_env=False) as client:
        assert client.get("/health").status_code == 200
        for path in ("/api/processes", "/proxy/5000/", "/api/files", "/api/sessions"):
            assert client.get(path).status_code == status
        assert client.get("/nothing").status_code == 404
        assert client.post("/api/exec", json={"command": "true"}).status_code == status


def test_an_agent_without_a_token_lets_nobody_in(api: Api):
    spec = sandbox_spec()
    spec["services"][0]["envs"] = []
    app = api.until_active(api.make(spec)["id"])
    answer = httpx.get(f"{app['live_url']}/api/processes", headers={"Authorization": "Bearer x"}, trust_env=False)
    assert answer.status_code == 503
    assert httpx.get(f"{app['live_url']}/health", trust_env=False).status_code == 200


# Commands.


@pytest.mark.parametrize(
    "body",
    [{}, {"command": None}, {"command": 5}, {"command": "true", "env": ["A"]}, {"command": "true", "cwd": None}, []],
)
def test_a_command_that_is_none_is_refused(shared_sandbox: Running, body: Any):
    for path in ("/api/exec", "/api/exec/stream", "/api/exec/background"):
        assert shared_sandbox.agent.post(path, json=body).status_code == 422


def test_orphans_are_buried_when_they_die(shared_sandbox: Running):
    """Zombies filled the process table, and made a process group look alive that was not."""
    pids = shared_sandbox.run("for i in 1 2 3 4 5; do (sleep 0.2 & echo $!); done; true > x").split()
    until(lambda: not any(psutil.pid_exists(int(pid)) for pid in pids), "all are dead and buried")
    assert {
        shared_sandbox.agent.post("/api/exec", json={"command": f"exit {n}"}).json()["exit_code"] for n in range(9)
    } == {*range(9)}


def test_lines_arrive_as_they_are_written(shared_sandbox: Running):
    body = {"command": "echo first; until [ -e go ]; do sleep 0.05; done; echo second"}
    with shared_sandbox.agent.stream("POST", "/api/exec/stream", json=body) as answer:
        lines = (json.loads(line[6:]).get("line") for line in answer.iter_lines() if line.startswith("data: "))
        assert next(lines) == "first"
        shared_sandbox.run("touch go")
        assert next(lines) == "second"


def test_odd_bytes_do_not_break_the_stream(shared_sandbox: Running):
    command = r"head -c 60000 /dev/zero | tr '\0' x; printf '\n\377\n'"
    answer = shared_sandbox.agent.post("/api/exec/stream", json={"command": command}).text
    lines = [json.loads(line[6:]).get("line", "") for line in answer.splitlines() if line.startswith("data: ")]
    assert lines[:2] == ["x" * 60_000, "�"]


def test_commands_know_nothing_of_the_orchestrator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for secret in ("DIGITALOCEAN_TOKEN", "DATABASE_URL", "SECRET_KEY", "SPACES_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(secret, "5ecret-of-the-orchestrator")
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "77")
    cloud = LocalCloudProcess(tmp_path / "cloud", "--deploy-seconds", "0.2")
    try:
        with Api(cloud) as api:
            sandbox = running(api, sandbox_spec(GREETING="hello"))
            environment = sandbox.run("env; cat /proc/$PPID/environ | tr '\\0' '\\n'")
            for secret in ("5ecret", AGENT_TOKEN, "DIGITALOCEAN", "VIRTUAL_ENV", str(Path.home() / "x")):
                assert secret not in environment
            for known in ("GREETING=hello", "PIP_DEFAULT_TIMEOUT=77", "PIP_DISABLE_PIP_VERSION_CHECK=1"):
                assert known in environment
    finally:
        cloud.stop()


def test_folders_by_their_names_in_the_sandbox_are_the_private_ones(shared_sandbox: Running):
    shared_sandbox.run("mkdir -p /workspace/named && echo here > /workspace/named/file && echo there > /tmp/file")
    content = shared_sandbox.agent.get("/api/files/content", params={"path": "/workspace/named/file"}).json()
    assert content == {"content": "here\n", "path": "/workspace/named/file"}
    assert (
        shared_sandbox.run('cat file "$OTHER"', cwd="/workspace/named", env={"OTHER": "/tmp/file"}) == "here\nthere\n"
    )
    assert not Path("/workspace/named").exists()
    assert shared_sandbox.run("echo https://host/tmp/x ./tmp /tmpfile") == "https://host/tmp/x ./tmp /tmpfile\n"


def wheel(name: str, code: str) -> str:
    """A wheel of one module, as base64."""
    info = f"{name}-1.dist-info"
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
        archive.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"]))
    return base64.b64encode(data.getvalue()).decode()


@pytest.mark.parametrize("pip", ["pip", "pip3", "python -m pip", "python3 -m pip"])
def test_what_a_python_sandbox_installs_stays_in_it(shared_sandbox: Running, pip: str):
    """Nothing of the orchestrator is there to import, and nothing is installed into it."""
    assert "No module named 'django'" in shared_sandbox.run("python3 -c 'import django' 2>&1 || true")
    content = {"content": wheel("greeter", "def main(): print('greetings')"), "encoding": "base64"}
    path = "/workspace/greeter-1-py3-none-any.whl"
    shared_sandbox.agent.post("/api/files/content", json={"path": path, **content})
    shared_sandbox.run(f"{pip} install --quiet --no-index {path}")
    assert shared_sandbox.run(f"{pip} list --format=freeze; greeter") == "greeter==1\ngreetings\n"
    assert "/apps/" in shared_sandbox.run("python -c 'import greeter; print(greeter.__file__)'")
    shared_sandbox.run(f"{pip} uninstall --quiet --yes greeter")
    assert importlib.util.find_spec("greeter") is None


def test_a_python_sandbox_has_what_its_image_has(shared_sandbox: Running):
    for program in ("python", "python3", "pip", "pip3", "git"):
        assert shared_sandbox.run(f"command -v {program}")


def test_a_node_sandbox_runs_node_npm_and_python_without_any_on_the_machine(api: Api):
    node = running(api, sandbox_spec(runtime="node"))
    path = node.run("echo $PATH").strip().split(":")
    assert "/node" in path[2]
    assert node.run("node -e 'console.log(6 * 7)'") == "42\n"
    assert node.run("npm --version").strip()
    assert node.run("npx --version").strip()
    assert node.run("python3 -c 'print(6 * 7)'") == "42\n"
    node.agent.post(
        "/api/files/content",
        json={
            "path": "/workspace/server.js",
            "content": 'require("http").createServer((q, a) => a.end("from node"))'
            '.listen(process.env.PORT, "127.0.0.1")',
        },
    )
    node.start("node server.js", env={"PORT": "3000"})
    assert node.until_answers("/proxy/3000/").text == "from node"


# Processes and ports.


def test_a_container_port_leads_to_the_process_that_was_given_it(shared_sandbox: Running):
    shared_sandbox.run("mkdir -p site/a; echo page > site/a/b.html")
    pid = shared_sandbox.start(SERVE, cwd="/workspace/site", env={"PORT": "5000"})
    assert shared_sandbox.until_answers("/proxy/5000/a/b.html?x=1").text == "page\n"
    process = shared_sandbox.agent.get(f"/api/processes/{pid}").json()
    assert process.keys() == {"pid", "command", "status", "log_file", "started_at"}
    log = shared_sandbox.agent.get("/api/files/content", params={"path": process["log_file"]}).json()["content"]
    assert "/a/b.html?x=1" in log
    assert shared_sandbox.agent.post(f"/api/processes/{pid}/kill", json={"signal": 9}).json() == {"success": True}
    shared_sandbox.until_answers("/proxy/5000/", status=502)
    kill = {"url": f"/api/processes/{pid}/kill", "json": {"signal": 15}}
    until(lambda: shared_sandbox.agent.post(**kill).status_code == 400, "there is nothing left to kill")
    assert shared_sandbox.agent.get(f"/api/processes/{pid}").json()["status"] == "stopped"
    assert shared_sandbox.agent.post("/api/processes/999999/kill", json={"signal": 15}).status_code == 404


def test_two_sandboxes_can_serve_the_same_port(api: Api, sandbox: Running):
    other = running(api, sandbox_spec("sandbox-00000002"))
    for number, one in enumerate((sandbox, other)):
        one.run(f"echo {number} > index.html")
        one.start(SERVE, env={"PORT": "5000"})
    assert [one.until_answers("/proxy/5000/").text for one in (sandbox, other)] == ["0\n", "1\n"]


def test_a_server_that_picks_its_own_port_is_reached_on_it_and_a_strangers_is_not(shared_sandbox: Running):
    port = free_port()
    shared_sandbox.run("echo mine > index.html")
    shared_sandbox.start(f"python3 -m http.server {port} --bind 127.0.0.1")
    assert shared_sandbox.until_answers(f"/proxy/{port}/").text == "mine\n"
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        assert shared_sandbox.agent.get(f"/proxy/{stranger.getsockname()[1]}/").status_code == 502
    own = shared_sandbox.url.rsplit(":", 1)[1]
    assert shared_sandbox.agent.get(f"/proxy/{own}/health").status_code == 502


ECHO = """
import http.server, json, os
class Echo(http.server.BaseHTTPRequestHandler):
    def answer(self):
        length = int(self.headers.get("content-length") or 0)
        body = json.dumps({"method": self.command, "path": self.path, "headers": self.headers.items(),
                           "body": self.rfile.read(length).decode("latin-1")}).encode()
        self.send_response(418); self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "a=1"); self.send_header("Set-Cookie", "b=2")
        self.end_headers()
        if self.command != "HEAD": self.wfile.write(body)
    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = answer
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Echo).serve_forever()
"""


@pytest.fixture(scope="module")
def echo(shared_sandbox: Running) -> Running:
    """The shared sandbox with a server on port 7000 that says what reached it."""
    shared_sandbox.agent.post("/api/files/content", json={"path": "/workspace/echo.py", "content": ECHO})
    shared_sandbox.start("python3 echo.py", env={"PORT": "7000"})
    shared_sandbox.until_answers("/proxy/7000/", status=418)
    return shared_sandbox


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_the_proxy_passes_requests_on_as_they_are(echo: Running, method: str):
    answer = echo.agent.request(
        method, "/proxy/7000/a/%C3%A9?x=1&y=%20", content=b"\x00\xff", headers={"X-Mine": "é".encode()}
    )
    assert answer.status_code == 418
    seen = answer.json()
    assert (seen["method"], seen["path"], seen["body"]) == (method, "/a/%C3%A9?x=1&y=%20", "\x00\xff")
    headers = {name.lower(): value for name, value in seen["headers"]}
    assert headers["x-mine"].encode("latin-1").decode() == "é"
    assert "authorization" not in headers


def test_head_has_the_length_and_no_body(echo: Running):
    answer = echo.agent.head("/proxy/7000/x")
    assert (answer.status_code, answer.content) == (418, b"")
    assert int(answer.headers["content-length"]) > 0


@pytest.mark.parametrize(
    "target",
    [
        "/proxy/7000/../../api/processes",
        "/proxy/7000/%2e%2e/%2e%2e/api/processes",
        "/proxy/7000/..%2f..%2fapi%2fprocesses",
        "/proxy/7000//127.0.0.1:1/",
        "/proxy/7000/http://127.0.0.1:1/",
        "/proxy/7000/\\..\\api",
        "/proxy/07000/x",
    ],
)
def test_odd_paths_reach_the_game_or_nothing(echo: Running, target: str):
    status, body = proxied(echo.url, target)
    assert status in (400, 404, 418), body
    if status == 418:
        assert json.loads(body)["path"].strip("/") in unquote(target), "the game is asked, and never the agent"


def test_slow_servers_do_not_hold_up_others(shared_sandbox: Running):
    """A proxy with a few threads did: the seventh request waited for the first."""
    slow = "import os,socket,time; s=socket.create_server(('127.0.0.1',int(os.environ['PORT']))); time.sleep(600)"
    pid = shared_sandbox.start(f'exec python3 -c "{slow}"', env={"PORT": "7100"})
    shared_sandbox.run("mkdir -p quick; echo quick > quick/index.html")
    shared_sandbox.start(SERVE, cwd="quick", env={"PORT": "7200"})
    shared_sandbox.until_answers("/proxy/7200/")
    answers: list[int] = []

    def wait() -> None:
        headers = {"Authorization": f"Bearer {AGENT_TOKEN}"}
        answer = httpx.get(f"{shared_sandbox.url}/proxy/7100/", headers=headers, trust_env=False, timeout=50)
        answers.append(answer.status_code)

    waiting = [threading.Thread(target=wait) for _ in range(20)]
    for thread in waiting:
        thread.start()
    assert shared_sandbox.agent.get("/proxy/7200/").text == "quick\n"
    assert len(answers) < 20, "none of them waits any more, so this showed nothing"
    shared_sandbox.agent.post(f"/api/processes/{pid}/kill", json={"signal": 9})
    for thread in waiting:
        thread.join()
    assert len(answers) == 20
    assert set(answers) <= {500, 502}, "it ended while it was asked, or before"


def test_what_does_not_speak_http_is_the_agents_own_failure(shared_sandbox: Running):
    rude = (
        "import os,socket; s=socket.create_server(('127.0.0.1',int(os.environ['PORT'])))\n"
        "while True: c=s.accept()[0]; c.recv(9999); c.sendall(b'how rude'); c.close()"
    )
    shared_sandbox.agent.post("/api/files/content", json={"path": "/workspace/rude.py", "content": rude})
    shared_sandbox.start("exec python3 rude.py", env={"PORT": "7300"})
    assert shared_sandbox.until_answers("/proxy/7300/", status=500).text == "Internal Server Error"


# Files.


def test_files_come_back_byte_for_byte(shared_sandbox: Running):
    data = bytes(range(256))
    body = {"path": "/workspace/deep/er/é.bin", "content": base64.b64encode(data).decode(), "encoding": "base64"}
    assert shared_sandbox.agent.post("/api/files/content", json=body).json() == {"success": True, "path": body["path"]}
    query = {"path": body["path"]}
    assert shared_sandbox.agent.get("/api/files/content", params=query).json() == body
    assert shared_sandbox.agent.get("/api/files/download", params=query).content == data
    listed = shared_sandbox.agent.get("/api/files", params={"path": "/workspace/deep/er"}).json()["files"]
    assert listed == [
        {"name": "é.bin", "path": body["path"], "is_dir": False, "size": 256, "permissions": listed[0]["permissions"]}
    ]
    assert shared_sandbox.agent.get("/api/files", params={"path": "/workspace/none"}).status_code == 404


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "/workspace/../../../etc/passwd", "../../x", "/workspacex/a", "/", "/workspace/way-out/passwd",
     "/workspace/way-out", "/tmp/../etc", "/proc/self/environ", "/workspace/a\0b", "/workspace/circle/x"],
)  # fmt: skip
def test_no_path_leads_out_of_the_sandbox(shared_sandbox: Running, path: str):
    shared_sandbox.run("ln -sfn /etc way-out; ln -sfn circle circle")
    agent = shared_sandbox.agent
    for url in ("/api/files", "/api/files/content", "/api/files/download"):
        assert agent.get(url, params={"path": path}).status_code == 403
    assert agent.post("/api/files/content", json={"path": path, "content": "x"}).status_code == 403


def test_what_can_not_be_written_is_refused(shared_sandbox: Running):
    for body, status in (
        ({"path": "/workspace", "content": "a folder is there"}, 500),
        ({"path": "/workspace/x", "content": "a", "encoding": "base64"}, 500),
        ({"path": "/workspace/x"}, 422),
        ([], 422),
    ):
        assert shared_sandbox.agent.post("/api/files/content", json=body).status_code == status


def test_a_sandbox_is_small(local_cloud: LocalCloudProcess, sandbox: Running):
    """Under 60 MiB; about 30 when this was written."""
    agent = psutil.Process(local_cloud.apps()[0]["pid"])
    assert agent.memory_info().rss < 60 * 2**20
    assert os.getpid() != agent.pid


LARGE_SERVER = """
import http.server, os
class Large(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", str(400 << 20)); self.end_headers()
        for _ in range(400): self.wfile.write(bytes(1 << 20))
    def do_POST(self):
        left = int(self.headers["Content-Length"])
        while left: left -= len(self.rfile.read(min(left, 1 << 20)))
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *args): pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Large).serve_forever()
"""


def test_what_is_passed_on_is_not_kept(sandbox: Running):
    """An answer of 400 MB took 1.1 GB of the machine, for each sandbox that a player asked."""
    sandbox.agent.post("/api/files/content", json={"path": "/workspace/large.py", "content": LARGE_SERVER})
    sandbox.start("python3 large.py", env={"PORT": "5000"})
    head = sandbox.until_answers_streamed("/proxy/5000/")
    assert head == 400 << 20
    upload = (bytes(1 << 20) for _ in range(200))
    answer = sandbox.agent.post("/proxy/5000/", content=upload, headers={"Content-Length": str(200 << 20)})
    assert answer.status_code == 200
    assert peak_mebibytes(sandbox.url) < 150


def peak_mebibytes(url: str) -> float:
    """The most that the process behind that address ever had in memory."""
    port = urlsplit(url).port
    [pid] = {
        seen.pid
        for seen in psutil.net_connections("tcp")
        if seen.status == psutil.CONN_LISTEN
        and seen.laddr.port == port
        and seen.pid
        and "localcloud.agent" in " ".join(psutil.Process(seen.pid).cmdline())
    }
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(peak) / 1024
