"""What answers on a game's port is the game that was started last, and nothing else ever."""

from __future__ import annotations

import pytest

from games import deploy, processes
from games.failures import Cause, DeployFailed
from pools.cloud.sandbox_agent import SandboxAgent
from tests.fixtures.catalog import SERVER, Catalog, Log, MakeSandbox
from tests.fixtures.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
# Commands whose process is not the server: the agent signals that process alone.
RUNS = {
    "the server is the process": "python3 server.py",
    "a shell runs the server": "python3 server.py; true",
    "a script runs the server, as npm does": "sh start.sh",
    "the server is in the background": "python3 server.py & wait",
    "the server has a session of its own": "setsid python3 server.py & wait",
    "the server is started again whenever it ends": "while :; do python3 server.py; done",
}
FILES = {"start.sh": 'echo "> start"; cd . && sh -c "python3 server.py"; echo ended\n'}
NODE = """
const fs = require("fs");
require("http").createServer((_, answer) => answer.end(fs.readFileSync("index.html")))
  .listen(process.env.PORT, "127.0.0.1");
"""
PACKING = SERVER.replace(
    "def log_message",
    """def do_GET(self):
        import gzip
        if self.path in PLAIN:
            return super().do_GET()
        if not PACKED and "gzip" not in self.headers.get("Accept-Encoding", ""):
            return super().do_GET()
        body = gzip.compress(b"<h1>Chess</h1>" * 100)
        self.send_response(200)
        self.send_header("Content-Encoding", PACKED or "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message""",
)


def packing(how: str, plain: str = "()") -> dict[str, str]:
    return {"server.py": f"PLAIN = {plain}; PACKED = {how!r}\n{PACKING}"}


def page(agent: SandboxAgent, port: int) -> str:
    return agent.fetch(port, "/").body.decode()


def listening(agent: SandboxAgent, port: int) -> int:
    return len(processes.look_at(agent, port, []).listeners)


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_a_launch_never_serves_another_game_or_an_earlier_version(
    catalog: Catalog, make_sandbox: MakeSandbox, log: Log, run: str
):
    """A killed shell left its server on the port, which answered for the next game: `running`, from source."""
    agent = make_sandbox()
    chess = catalog.add("chess", run=run, files=FILES)
    go = catalog.add("go", run=run, files=FILES)
    assert "<h1>Chess</h1>" in page(agent, deploy.deploy(agent, chess, use_snapshot=False, say=log).port)
    assert "<h1>Go</h1>" in page(agent, deploy.deploy(agent, go, use_snapshot=False, say=log).port)
    assert "<h1>Chess</h1>" in page(agent, deploy.deploy(agent, chess, use_snapshot=False, say=log).port)
    newer = catalog.add("chess", run=run, files={**FILES, "index.html": "newer"})
    done = deploy.deploy(agent, newer, use_snapshot=False, say=log)
    assert page(agent, done.port) == "newer"
    assert listening(agent, done.port) == 1
    processes.end(agent, [done.pid])


@pytest.mark.parametrize("run", ["node server.js; true", "npm start", "node server.js"])
def test_a_node_game_is_replaced_too(catalog: Catalog, make_sandbox: MakeSandbox, log: Log, run: str):
    agent = make_sandbox("node")
    files = {"server.js": NODE, "package.json": '{"scripts": {"start": "node server.js"}}'}
    for slug in ("chess", "go", "chess"):
        game = catalog.add(slug, runtime="node", run=run, files=files)
        done = deploy.deploy(agent, game, use_snapshot=False, say=log)
        assert f"<h1>{slug.title()}</h1>" in page(agent, done.port)


@pytest.mark.parametrize("run", ["python3 server.py; true", "python3 server.py & wait"])
def test_a_game_whose_first_process_has_died_is_replaced_all_the_same(
    catalog: Catalog, make_sandbox: MakeSandbox, log: Log, run: str
):
    agent = make_sandbox()
    done = deploy.deploy(agent, catalog.add("chess", run=run), use_snapshot=False, say=log)
    agent.kill(done.pid, 9)
    until(lambda: not any(process.is_running for process in agent.processes()), "the shell has ended")
    assert "<h1>Chess</h1>" in page(agent, done.port), "its server lives on"
    newer = catalog.add("chess", run=run, files={"index.html": "newer"})
    assert page(agent, deploy.deploy(agent, newer, use_snapshot=False, say=log).port) == "newer"


def test_a_game_that_was_started_in_an_earlier_way_is_ended(catalog: Catalog, make_sandbox: MakeSandbox, log: Log):
    """As sandboxes have it that live through an upgrade."""
    agent = make_sandbox()
    chess = catalog.add("chess", run="python3 server.py; true")
    agent.write_file("/workspace/earlier/server.py", SERVER)
    agent.write_file("/workspace/earlier/index.html", "earlier")
    agent.start(chess.run_command, cwd="/workspace/earlier", env={"PORT": str(chess.port)})
    until(lambda: agent.fetch(chess.port, "/").body == b"earlier", "the earlier one answers")
    assert "<h1>Chess</h1>" in page(agent, deploy.deploy(agent, chess, use_snapshot=False, say=log).port)


def test_an_end_ends_all_that_a_game_has_started(catalog: Catalog, make_sandbox: MakeSandbox, log: Log):
    agent = make_sandbox()
    done = deploy.deploy(agent, catalog.add("chess", run="python3 server.py; true"), use_snapshot=False, say=log)
    processes.end(agent, [done.pid, 999_999])
    until(lambda: agent.fetch(done.port, "/").status == 502, "nothing listens any more")
    processes.end(agent, [])


@pytest.fixture
def stranger(make_sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch) -> SandboxAgent:
    """A sandbox where something else listens on the games' port, and can't be ended."""
    monkeypatch.setattr(processes, "LEAD", 'exec sh -c "$1"')
    agent = make_sandbox()
    agent.write_file("/workspace/stranger/server.py", SERVER)
    agent.write_file("/workspace/stranger/index.html", "a stranger")
    agent.start("exec python3 server.py", cwd="/workspace/stranger", env={"PORT": "5000"})
    until(lambda: agent.fetch(5000, "/").body == b"a stranger", "the stranger answers")
    return agent


@pytest.mark.parametrize(
    ("run", "sentence"),
    [("python3 server.py", "its port is taken"), ("sleep 60", "answered by something else than Chess")],
)
def test_a_stranger_on_the_port_fails_the_launch_and_is_named(
    catalog: Catalog,
    stranger: SandboxAgent,
    log: Log,
    run: str,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(processes, "START_SECONDS", 4)
    with pytest.raises(DeployFailed, match=sentence) as failed:
        deploy.deploy(stranger, catalog.add("chess", run=run), use_snapshot=False, say=log)
    assert failed.value.cause is Cause.PORT_TAKEN


def test_the_agents_own_port_is_no_games(catalog: Catalog, make_sandbox: MakeSandbox, log: Log):
    agent = make_sandbox()
    with pytest.raises(DeployFailed, match=r"Port \d+ is the sandbox's own") as failed:
        deploy.deploy(agent, catalog.add("chess", health="/index.html"), use_snapshot=False, say=log, port=8080)
    assert failed.value.cause is Cause.PORT_TAKEN
    assert agent.is_healthy()


# What a sandbox can't pass on.


@pytest.mark.parametrize("how", ["gzip", "br"])
@pytest.mark.parametrize("plain", ["()", "('/health',)"])
def test_a_game_that_always_packs_its_answers_fails_with_what_to_do_about_it(
    catalog: Catalog, make_sandbox: MakeSandbox, log: Log, how: str, plain: str
):
    """Its page came as a reset connection, or as noise."""
    files = packing(how, plain)
    game = catalog.add("chess", health="/health" if "health" in plain else "/", files={**files, "health": "well"})
    with pytest.raises(DeployFailed, match=r"packed \((gzip|br)\).*Accept-Encoding: identity") as failed:
        deploy.deploy(make_sandbox(), game, use_snapshot=False, say=log)
    assert failed.value.cause is Cause.ANSWERS_PACKED


def test_a_game_that_packs_when_it_is_asked_to_is_played(catalog: Catalog, make_sandbox: MakeSandbox, log: Log):
    agent = make_sandbox()
    done = deploy.deploy(agent, catalog.add("chess", files=packing("")), use_snapshot=False, say=log)
    assert "<h1>Chess</h1>" in page(agent, done.port)
