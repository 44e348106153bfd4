"""Games deployed in real sandboxes, from source and from snapshots that a real web server gives out."""

from __future__ import annotations

import shutil
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.core.files.storage import storages

from games import builds, deploy, processes
from games.failures import DeployFailed
from games.loading import load_catalog
from games.models import Game, SnapshotState
from games.tasks import check_snapshot
from pools.cloud.long_command import follow
from pools.cloud.sandbox_agent import CommandResult, SandboxAgent
from tests.fixtures.catalog import SERVER, Catalog, Log, MakeSandbox
from tests.fixtures.waiting import until
from tests.fixtures.web import Web

pytestmark = pytest.mark.django_db(transaction=True)
CATALOG = Path(__file__).parents[3] / "games" / "catalog"
GAMES = {"snake": "python", "memory": "python", "tic-tac-toe": "node"}


def running(agent) -> list[int]:
    return [process.pid for process in agent.processes() if process.is_running]


def snapshot_file(game: Game) -> Path:
    return Path(storages["snapshots"].path(game.snapshots.get(state=SnapshotState.CURRENT).storage_key))


# From source.


def test_a_fourth_game_is_a_folder_and_is_played_from_its_source(catalog: Catalog, make_sandbox: MakeSandbox, log: Log):
    agent = make_sandbox()
    done = deploy.deploy(agent, catalog.add("chess"), use_snapshot=False, say=log)
    assert (done.deployed_from, done.port, done.sha256) == ("source", 5000, "")
    assert b"<h1>Chess</h1>" in agent.fetch(done.port, "/").body
    assert "Cloning chess..." in log.lines
    assert any(line.startswith("Cloning into") for line in log.lines), "git's own words are in the log"
    assert not log.warnings


def test_an_installation_is_told_line_by_line(catalog: Catalog, make_sandbox: MakeSandbox, log: Log):
    game = catalog.add("chess", install="echo one; echo two >&2; echo three")
    deploy.deploy(make_sandbox(), game, use_snapshot=False, say=log)
    assert {"one", "two", "three"} <= set(log.lines)


def test_an_installation_that_says_a_lot_is_told_for_as_long_as_the_log_keeps_it(
    catalog: Catalog, make_sandbox: MakeSandbox, log: Log
):
    """Each line is a transaction: what nobody keeps must not hold a launch."""
    game = catalog.add("chess", install="seq 1 100000")
    deploy.deploy(make_sandbox(), game, use_snapshot=False, say=log)
    assert [line for line in log.lines if line.isdecimal()] == [str(n) for n in range(1, deploy.TOLD_LINES + 1)]


def test_an_installation_without_end_is_ended_and_said_to_be_so(
    catalog: Catalog, make_sandbox: MakeSandbox, log: Log, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pools.cloud.long_command.OUTPUT_BYTES", 1024**2)
    with pytest.raises(DeployFailed, match="Chess could not be installed: The command says more than 1 MiB"):
        deploy.deploy(make_sandbox(), catalog.add("chess", install="yes"), use_snapshot=False, say=log)


@pytest.mark.parametrize(
    "install",
    [
        "printf '%0200000d' 0; echo; echo done",
        r"for i in 1 2 3; do printf '%s%%\r' $i; done; echo done",
        "for i in 1 2 3 4 5 6; do echo $i; sleep 0.3; done; sleep 1; echo done",
    ],
    ids=["a line without end", "a progress bar", "pauses"],
)
def test_however_an_installation_speaks_it_is_told_to_its_end(
    catalog: Catalog, make_sandbox: MakeSandbox, log: Log, install: str
):
    """It ended as a sandbox that had stopped answering."""
    deploy.deploy(make_sandbox(), catalog.add("chess", install=install), use_snapshot=False, say=log)
    assert "done" in log.lines


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"install": "no-such-program install"}, "no-such-program is not installed in the sandbox."),
        ({"install": "echo 'ERROR: no such package' >&2; exit 3"}, "could not be installed: ERROR: no such package"),
        ({"install": "exit 3"}, "it ended with code 3"),
        ({"run": "no-such-program server.js"}, "no-such-program is not installed in the sandbox."),
        ({"run": "python3 -c 'import nothing_of_the_kind'"}, "No module named 'nothing_of_the_kind'"),
        ({"run": "true"}, "ended as soon as it was started"),
    ],
)
def test_what_keeps_a_game_from_starting_is_said_in_a_sentence(
    catalog: Catalog, make_sandbox: MakeSandbox, log: Log, fields: dict[str, str], sentence: str
):
    with pytest.raises(DeployFailed, match=r"^(Chess|The source of Chess)") as failed:
        deploy.deploy(make_sandbox(), catalog.add("chess", **fields), use_snapshot=False, say=log)
    assert sentence in str(failed.value)


def test_a_repository_that_is_gone_is_said(catalog: Catalog, make_sandbox: MakeSandbox, log: Log):
    game = catalog.add("chess")
    shutil.rmtree(configured.GAME_REPOSITORIES_DIR)
    with pytest.raises(DeployFailed, match=r"source of Chess could not be cloned: fatal: .*does not"):
        deploy.deploy(make_sandbox(), game, use_snapshot=False, say=log)


def test_an_installation_that_takes_too_long_is_ended(
    catalog: Catalog, make_sandbox: MakeSandbox, log: Log, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(deploy, "INSTALL_SECONDS", 1)
    with pytest.raises(DeployFailed, match="could not be installed: it took longer than 1 s"):
        deploy.deploy(make_sandbox(), catalog.add("chess", install="sleep 60"), use_snapshot=False, say=log)


def test_a_failed_installation_leaves_the_earlier_files_alone(catalog: Catalog, make_sandbox: MakeSandbox, log: Log):
    agent = make_sandbox()
    deploy.deploy(agent, catalog.add("chess"), use_snapshot=False, say=log)
    with pytest.raises(DeployFailed):
        deploy.deploy(agent, catalog.add("chess", install="touch half; false"), use_snapshot=False, say=log)
    files = set(agent.run("ls -A", cwd="/workspace/games/chess").stdout.split())
    assert files >= {"server.py", "index.html"}
    assert "half" not in files


def test_deploying_again_ends_what_a_killed_worker_left_and_replaces_its_files(
    catalog: Catalog, make_sandbox: MakeSandbox, log: Log
):
    agent = make_sandbox()
    first = deploy.deploy(agent, catalog.add("chess"), use_snapshot=False, say=log)
    agent.run("mkdir .chess.cut-off && touch chess/stray", cwd=deploy.GAMES_DIR)
    second = deploy.deploy(agent, catalog.add("chess", files={"index.html": "new"}), use_snapshot=False, say=log)
    assert running(agent) == [second.pid] != [first.pid]
    assert agent.fetch(second.port, "/").body == b"new"
    left = agent.run("ls -A . chess", cwd=deploy.GAMES_DIR).stdout
    assert "stray" not in left
    assert "cut-off" not in left


def test_deploying_again_ends_the_installation_that_a_killed_worker_left(
    catalog: Catalog, make_sandbox: MakeSandbox, log: Log
):
    agent = make_sandbox()
    left = follow(agent, "echo begun; sleep 600")
    assert next(left) == "begun"
    done = deploy.deploy(agent, catalog.add("chess"), use_snapshot=False, say=log)
    assert running(agent) == [done.pid]


def test_a_game_that_is_slow_to_answer_is_waited_for(catalog: Catalog, make_sandbox: MakeSandbox, log: Log):
    late = "def end_headers(self):\n        " + "; ".join(
        [
            "import time",
            "time.sleep(6 * (not os.path.exists('asked')))",
            "open('asked', 'w')",
            "super().end_headers()",
        ]
    )
    slow = SERVER.replace("def log_message", f"{late}\n    def log_message")
    done = deploy.deploy(make_sandbox(), catalog.add("chess", files={"server.py": slow}), use_snapshot=False, say=log)
    assert done.start_ms >= 5000


def test_a_sandbox_that_dies_under_a_deployment_fails_it(
    catalog: Catalog, make_sandbox: MakeSandbox, log: Log, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(processes, "REACH_SECONDS", 0)
    monkeypatch.setattr("pools.cloud.long_command.UNREACHED_SECONDS", 0)
    agent_dies = "kill -9 $(ps -o ppid= -p $PPID)"
    with pytest.raises(DeployFailed, match="The sandbox stopped answering while Chess was deployed"):
        deploy.deploy(make_sandbox(), catalog.add("chess", install=agent_dies), use_snapshot=False, say=log)


# From a snapshot.


@pytest.fixture
def chess(catalog: Catalog, downloads: Web) -> Game:
    """A game with a snapshot."""
    game = catalog.add("chess")
    assert builds.build([game])
    return game


def test_a_snapshot_is_downloaded_verified_and_started(chess: Game, make_sandbox: MakeSandbox, log: Log):
    agent = make_sandbox()
    done = deploy.deploy(agent, chess, use_snapshot=True, say=log)
    assert (done.deployed_from, done.sha256) == ("snapshot", chess.snapshots.get().sha256)
    assert b"<h1>Chess</h1>" in agent.fetch(done.port, "/").body
    assert log.lines[0] == f"Deploying chess from snapshot {done.sha256[:12]}..."
    assert not log.warnings


def test_no_command_holds_the_address_of_a_snapshot(
    chess: Game, make_sandbox: MakeSandbox, log: Log, monkeypatch: pytest.MonkeyPatch
):
    """Whoever reads it there, in the list of a machine's processes, could download."""
    commands: list[str] = []
    run = SandboxAgent.run

    def noted(agent: SandboxAgent, command: str, **options: Any) -> CommandResult:
        commands.append(command)
        return run(agent, command, **options)

    monkeypatch.setattr(SandboxAgent, "run", noted)
    deploy.deploy(make_sandbox(), chess, use_snapshot=True, say=log)
    assert any("restore.py" in command for command in commands)
    assert not [command for command in commands if "http" in command or "signature" in command]


def test_a_proxy_for_the_world_outside_is_not_asked_for_this_machine(
    chess: Game, make_sandbox: MakeSandbox, log: Log, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert deploy.deploy(make_sandbox(), chess, use_snapshot=True, say=log).deployed_from == "snapshot"


def damage(game: Game) -> None:
    path = snapshot_file(game)
    path.write_bytes(path.read_bytes()[:-20] + b"x" * 20)


def remove(game: Game) -> None:
    snapshot_file(game).unlink()


def forget(game: Game) -> None:
    game.snapshots.all().delete()


def change(game: Game) -> None:
    Game.objects.filter(pk=game.pk).update(source_digest="f" * 64)
    game.refresh_from_db()


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (damage, "SHA-256 is"),
        (remove, "the server answered 404"),
        (forget, "No snapshot: none was built yet; deploying from source."),
        (change, "No snapshot: the game has changed since it was built; deploying from source."),
    ],
)
def test_without_a_good_snapshot_it_is_deployed_from_source_and_the_log_says_why(
    chess: Game, make_sandbox: MakeSandbox, log: Log, trouble, told: str
):
    trouble(chess)
    agent = make_sandbox()
    assert deploy.deploy(agent, chess, use_snapshot=True, say=log).deployed_from == "source"
    [warning] = log.warnings
    assert told in warning
    assert warning.endswith("deploying from source.")
    assert b"<h1>Chess</h1>" in agent.fetch(5000, "/").body


def test_a_storage_that_says_nothing_is_given_up_for_the_source(
    chess: Game, make_sandbox: MakeSandbox, log: Log, settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(deploy, "RESTORE_IDLE_SECONDS", 1)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        settings.PUBLIC_URL = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = deploy.deploy(make_sandbox(), chess, use_snapshot=True, say=log)
    assert done.deployed_from == "source"
    assert "timed out" in log.warnings[0]


def test_an_address_that_has_expired_gives_nothing(chess: Game, make_sandbox: MakeSandbox, log: Log, settings):
    """The web server lives by its own SNAPSHOT_URL_SECONDS: the signature itself must tell."""
    from games import downloads

    url = downloads.signed_url(chess.snapshots.get().storage_key)
    assert url.count("?signature=") == 1
    settings.SNAPSHOT_URL_SECONDS = -1
    from django.test import Client

    assert Client().get(url.removeprefix(settings.PUBLIC_URL)).status_code == 404


@pytest.mark.parametrize("trouble", [damage, remove])
def test_a_damaged_snapshot_is_found_out_and_built_again(
    chess: Game, make_sandbox: MakeSandbox, log: Log, worker, trouble
):
    sha256 = chess.snapshots.get().sha256
    trouble(chess)
    deploy.deploy(make_sandbox(), chess, use_snapshot=True, say=log)
    assert "games.tasks.check_snapshot" in worker.work()
    assert not chess.snapshots.filter(state=SnapshotState.CURRENT)
    assert builds.build(builds.missing())
    assert chess.snapshots.get(state=SnapshotState.CURRENT).sha256 == sha256
    assert deploy.deploy(make_sandbox(), chess, use_snapshot=True, say=log).deployed_from == "snapshot"


def test_a_good_snapshot_stays_current_when_a_sandbox_could_not_restore_it(chess: Game):
    check_snapshot(chess.snapshots.get().pk)
    assert chess.snapshots.get().state == SnapshotState.CURRENT


# The games of the catalog.


@pytest.mark.parametrize(("slug", "runtime"), GAMES.items())
def test_each_game_is_deployed_from_source_and_from_its_snapshot(
    catalog: Catalog, downloads: Web, make_sandbox: MakeSandbox, slug: str, runtime: str, monkeypatch
):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # no Node.js of the machine's user
    shutil.copytree(CATALOG / slug, catalog.folder / slug, ignore=shutil.ignore_patterns(".deps", "node_modules"))
    assert load_catalog().added == [slug]
    game = Game.objects.get()
    first, second = Log(), Log()
    from_source = deploy.deploy(make_sandbox(runtime), game, use_snapshot=False, say=first)
    assert from_source.deployed_from == "source"
    assert f"Installing what {slug} needs..." in first.lines

    hashes = {snapshot.sha256 for _ in range(2) for snapshot in builds.build([game])}
    assert len(hashes) == 1, "the same input gives the same bytes"
    agent = make_sandbox(runtime)
    done = until(lambda: deploy.deploy(agent, game, use_snapshot=True, say=second), "deployed")
    assert (done.deployed_from, {done.sha256}) == ("snapshot", hashes)
    assert agent.fetch(done.port, game.health_path).status == 200
    assert b"<html" in agent.fetch(done.port, "/").body
    assert not first.warnings + second.warnings
