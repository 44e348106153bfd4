"""Every command of ours: it finds the installation that is meant, makes none by the way, and ends with a sentence."""

from __future__ import annotations

import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from orchestrator_site import environment as settings_environment
from orchestrator_site import installation
from pools.console.operations import POOL_ACTS
from tests.fixtures.databases import Database
from tests.fixtures.stack import INHERITED, MANAGE, MakeStack
from tests.fixtures.waiting import free_port

ROOT = Path(MANAGE).parent
OURS = {file.stem for file in ROOT.glob("*/management/commands/[!_]*.py")}
HOLD = """
import os, sys
lock = open(sys.argv[2], "a")
lock.write(str(os.getpid()))
lock.flush()
print(flush=True)
sys.stdin.read()
"""
OUR_MAIN = "in main\n"
MAKES_ONE = {"up", "prepare"}
NEEDS_NONE = {"localcloud", "webhook_receiver", "completion"}
SERVERS = {"up", "web", "qcluster", "metrics"} | NEEDS_NONE
# They end as others do, with an answer of their own where the database is away: their tests say which.
WITH_TESTS_OF_THEIR_OWN = {"doctor", "move_database", "rotate_secret_key"}
# How each is called that looks at the database, and does not go on for ever.
CALLS = {
    "adopt": ["--dry-run"],
    "api_key": ["list"],
    "catalog": [],
    "export": ["-"],
    "game": ["show", "snake"],
    "import": ["{export}"],
    "pool": ["list"],
    "prepare": [],
    "reconcile": ["--dry-run"],
    "second_factor": ["operator"],
    "snapshots": ["list"],
    "sweep": ["--dry-run"],
}


def environment(**settings: str) -> dict[str, str]:
    return {**{name: os.environ[name] for name in INHERITED if name in os.environ}, **settings}


def started(command: Sequence[str], settings: dict[str, str], **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, MANAGE, *command],
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def ended(command: Sequence[str], **settings: str) -> tuple[int, str, str]:
    """Its exit code, what it printed, and what it said of errors."""
    process = started(command, settings)
    out, said = process.communicate(timeout=120)
    return process.returncode, out, said


def each_ended(*names: str, **settings: str) -> dict[str, tuple[int, str, str]]:
    """How each ends, two at a time."""
    var = Path(settings["ORCHESTRATOR_VAR"])
    (var.parent / "export").write_text("")

    def end(name: str) -> tuple[int, str, str]:
        words = [word.format(export=var.parent / "export") for word in CALLS[name]]
        return ended([name, *words], **settings)

    with ThreadPoolExecutor(2) as threads:
        return dict(zip(names, threads.map(end, names), strict=True))


def is_a_sentence(said: str) -> bool:
    return "Traceback" not in said and 0 < len(said.strip().splitlines()) <= 2


def test_each_command_of_ours_is_tried():
    assert set(CALLS) | SERVERS | WITH_TESTS_OF_THEIR_OWN == OURS


@pytest.mark.parametrize(
    "name", sorted((OURS - MAKES_ONE - NEEDS_NONE - installation.EXAMINING) | {"shell", "createsuperuser"})
)
def test_where_there_is_no_installation_a_command_says_so_and_leaves_nothing(tmp_path: Path, name: str):
    var = tmp_path / "var"
    code, out, said = ended([name], ORCHESTRATOR_VAR=str(var))
    assert (code, out) == (1, "")
    assert said.startswith(f"There is no installation in {var} (ORCHESTRATOR_VAR).")
    assert is_a_sentence(said)
    assert not var.exists()


def test_an_empty_file_of_a_database_is_no_installation(tmp_path: Path):
    (tmp_path / "orchestrator.sqlite3").touch()
    assert ended(["pool", "list"], ORCHESTRATOR_VAR=str(tmp_path))[0] == 1


def test_help_and_what_needs_no_database_need_no_installation(tmp_path: Path):
    var = str(tmp_path / "var")
    for command in (["help"], ["pool", "--help"], ["check"]):
        assert ended(command, ORCHESTRATOR_VAR=var)[0] == 0
    assert not (tmp_path / "var" / "orchestrator.sqlite3").exists()


def test_a_database_that_is_away_is_a_sentence_of_each_command(tmp_path: Path):
    address = f"postgres://nobody@127.0.0.1:{free_port()}/none"
    for name, (code, _, said) in each_ended(
        *CALLS, DATABASE_URL=address, ORCHESTRATOR_VAR=str(tmp_path / "var")
    ).items():
        assert (code, is_a_sentence(said)) == (1, True), f"{name}: {code} {said}"


def test_a_database_of_another_version_is_a_sentence(migrated_database: Database):
    var = migrated_database.environment["ORCHESTRATOR_VAR"]
    with closing(sqlite3.connect(Path(var) / "orchestrator.sqlite3")) as database:
        database.execute("DROP TABLE pools_pool")
        database.execute("DELETE FROM django_migrations WHERE app = 'runs'")
        database.commit()
    code, _, said = ended(["pool", "list"], ORCHESTRATOR_VAR=var)
    assert (code, is_a_sentence(said)) == (1, True), said
    assert "`sandbox-orchestrator prepare`" in said


def test_a_locked_database_is_a_sentence(migrated_database: Database):
    var = migrated_database.environment["ORCHESTRATOR_VAR"]
    with closing(sqlite3.connect(Path(var) / "orchestrator.sqlite3", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        code, _, said = ended(["api_key", "make", "nightly"], ORCHESTRATOR_VAR=var)
    assert (code, is_a_sentence(said)) == (1, True), said
    assert "database is locked" in said


def test_a_cloud_that_is_away_is_no_traceback(migrated_database: Database):
    var = migrated_database.environment["ORCHESTRATOR_VAR"]
    for name, (_, _, said) in each_ended("adopt", "reconcile", "sweep", ORCHESTRATOR_VAR=var).items():
        assert "Traceback" not in said, f"{name}: {said}"


def test_a_wrong_name_is_answered_with_the_near_one(migrated_database: Database):
    var = migrated_database.environment["ORCHESTRATOR_VAR"]
    migrated_database.answer("from pools.first_pool import first_pool; first_pool()")
    for command in (["pool", "list", "pyhton"], ["poool", "list"]):
        code, _, said = ended(command, ORCHESTRATOR_VAR=var)
        assert (code, is_a_sentence(said.split("\nType ")[0])) == (1, True), said
        assert "Did you mean" in said


def test_who_reads_one_line_only_ends_the_command_without_a_word(migrated_database: Database):
    var = migrated_database.environment["ORCHESTRATOR_VAR"]
    for command in ("export - --with-history", "help", "pool list"):
        script = f"{sys.executable} {MANAGE} {command} | head -c 1 >/dev/null"
        done = subprocess.run(
            ["bash", "-c", script], env=environment(ORCHESTRATOR_VAR=var), capture_output=True, text=True, check=False
        )
        assert done.stderr == "", command
    closed = f"exec {sys.executable} {MANAGE} pool list >&-"
    assert subprocess.run(["bash", "-c", closed], env=environment(ORCHESTRATOR_VAR=var), check=False).returncode == 0


def test_ctrl_c_while_a_class_is_made_is_no_error_of_ours(tmp_path: Path):
    """Python 3.11 raises a RuntimeError then, in place of the KeyboardInterrupt."""
    code = """
import os, signal
from orchestrator_site import command

class Interrupts:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), signal.SIGINT)

def run(argv):
    command.heed_ctrl_c(signal.default_int_handler)
    type("Model", (), {"field": Interrupts()})

command.run = run
command.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(ORCHESTRATOR_VAR=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def interrupted_after(seconds: float, name: str, settings: dict[str, str]) -> tuple[int, str]:
    process = started([name, *CALLS[name]], settings)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.parametrize("count", [8, pytest.param(200, marks=pytest.mark.chaos)])
def test_ctrl_c_ends_a_command_quietly_at_any_moment(migrated_database: Database, count: int):
    """From when our own code runs: what Python says of its own start is not ours."""
    settings = {"ORCHESTRATOR_VAR": migrated_database.environment["ORCHESTRATOR_VAR"]}
    chance = random.Random(count)
    names = sorted(set(CALLS) - {"import"})
    tries = [(chance.uniform(0.2, 2.5), chance.choice(names), settings) for _ in range(count)]
    with ThreadPoolExecutor(2) as threads:
        for (seconds, name, _), (code, said) in zip(
            tries, threads.map(lambda each: interrupted_after(*each), tries), strict=True
        ):
            assert not (said.startswith("Traceback") and OUR_MAIN in said), f"{name} at {seconds:.2f} s: {said}"
            assert code in (130, 0, 1, -signal.SIGINT), f"{name} at {seconds:.2f} s: {code}"


def test_ctrl_c_is_not_for_what_a_script_has_started_beside_itself(migrated_database: Database):
    """A shell has its background jobs ignore it."""
    var = migrated_database.environment["ORCHESTRATOR_VAR"]
    script = f"{sys.executable} {MANAGE} pool list & sleep 0.5; kill -INT $!; wait $!"
    done = subprocess.run(
        ["bash", "-c", script], env=environment(ORCHESTRATOR_VAR=var), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "There are no pools.\n"), done


def test_a_command_has_the_settings_of_what_runs_in_its_folder(make_stack: MakeStack):
    """Of which its shell knows none: here, the mark of its sandboxes."""
    stack = make_stack(ORCHESTRATOR_ID="elsewhere", WARM_POOL_ENABLED="false")
    stack.start()
    assert "0 apps carry the mark elsewhere" in ended(["adopt", "--dry-run"], ORCHESTRATOR_VAR=str(stack.var))[1]
    refused = ended(["pool", "list"], ORCHESTRATOR_VAR=str(stack.var.parent / "no such folder"))[2]
    assert f"{stack.var}" in refused


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[Path, dict[str, str]]:
    """Folders of what runs on this machine, with its variables; this shell's own folder is empty."""
    found: dict[Path, dict[str, str]] = {}
    monkeypatch.setattr(installation, "_running", lambda: iter(found))
    monkeypatch.setattr(installation, "lent_by", found.get)
    monkeypatch.setattr(installation.places, "default_var", lambda: tmp_path / "var")
    return found


def test_what_runs_elsewhere_is_meant_when_nothing_is_here(running: dict[Path, dict[str, str]]):
    running[Path("/srv/var")] = {"ORCHESTRATOR_VAR": "/srv/var", "PORT": "8001"}
    found = installation.find({}, "arcade")
    assert (found.folder, found.lent["PORT"], found.is_elsewhere) == (Path("/srv/var"), "8001", True)


def test_of_several_that_run_none_is_guessed(running: dict[Path, dict[str, str]]):
    running |= {Path("/srv/one"): {}, Path("/srv/two"): {}}
    with pytest.raises(installation.Missing, match=r"in /srv/one, another in /srv/two: set ORCHESTRATOR_VAR to"):
        installation.find({}, "arcade")


@pytest.mark.parametrize("command", sorted(installation.NEVER_GUESSED))
def test_what_deletes_hands_over_or_serves_has_its_installation_named(
    running: dict[Path, dict[str, str]], command: str
):
    """`sweep --yes` in an empty folder deleted the fleet of whatever else ran there."""
    running[Path("/srv/var")] = {}
    with pytest.raises(installation.Missing, match=r"One runs in /srv/var: set ORCHESTRATOR_VAR to the one"):
        installation.find({}, "arcade", command)


@pytest.mark.parametrize(
    "arguments",
    [f"{command} {act} python" for command, acts in installation.ACTS_NEVER_GUESSED.items() for act in sorted(acts)],
)
def test_an_act_has_its_installation_named_and_a_look_has_not(running: dict[Path, dict[str, str]], arguments: str):
    """`pool drain python` in an empty folder drained the pool of whatever else ran there."""
    running[Path("/srv/var")] = {}
    command, act, name = arguments.split()
    with pytest.raises(installation.Missing, match=r"One runs in /srv/var: set ORCHESTRATOR_VAR to the one"):
        installation.find({}, "arcade", command, "--why", "a test", act, name)
    assert installation.find({}, "arcade", command, "list").is_elsewhere


def test_every_act_on_a_pool_is_known_as_one():
    acts = {name.replace("_", "-") for name in POOL_ACTS}
    assert acts == installation.ACTS_NEVER_GUESSED["pool"]


def test_every_command_that_asks_before_it_deletes_has_its_installation_named():
    asking = {file.stem for file in ROOT.glob("*/management/commands/[!_]*.py") if "input(" in file.read_text()}
    assert asking
    assert asking <= installation.NEVER_GUESSED


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Path]:
    """The folder of a process that holds it as an `up` does."""
    folder = tmp_path / "held"
    folder.mkdir()
    named = tmp_path / "named"
    named.write_text(str(folder))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, "up", folder / installation.LOCK],
        env={"ORCHESTRATOR_VAR_FILE": str(named), "PORT": "8001", "SECRET_KEY_FILE": "key"},
        cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        yield folder
        assert process.stdin is not None
        process.stdin.close()


def test_what_an_up_was_started_with_is_lent_but_where_its_folder_was_named(up: Path):
    """The settings refused to have both the folder and the file that names it."""
    assert up in installation._running()
    lent = installation.lent_by(up)
    assert lent is not None
    assert (lent["ORCHESTRATOR_VAR"], lent["PORT"]) == (str(up), "8001")
    assert "ORCHESTRATOR_VAR_FILE" not in lent


def test_a_path_that_is_lent_is_one_from_where_the_up_was_started(up: Path):
    """A command in another folder found no file there, or another one."""
    lent = installation.lent_by(up)
    assert lent is not None
    assert lent["SECRET_KEY_FILE"] == str(up.parent / "key")


def test_every_setting_that_is_a_path_is_known_as_one():
    named = re.findall(r'Path\(env\.text\("(\w+)"', (ROOT / "orchestrator_site" / "settings.py").read_text())
    assert set(named) == {installation.FOLDER, *installation.PATHS}


def test_nothing_is_borrowed_of_another_user(up: Path, monkeypatch: pytest.MonkeyPatch):
    """Whom root can read: it took the database and the token that any user's process named."""
    monkeypatch.setattr(psutil.Process, "uids", lambda _: SimpleNamespace(effective=os.geteuid() + 4711))
    assert up not in installation._running()
    assert installation.lent_by(up) is None


@pytest.mark.parametrize("name", installation.NAMING)
def test_a_shell_that_names_its_own_borrows_nothing(running: dict[Path, dict[str, str]], tmp_path: Path, name: str):
    """A token of one and a database of another were the worst of both."""
    running[tmp_path / "var"] = {"DIGITALOCEAN_TOKEN": "of another"}
    assert installation.find({name: "own"}, "arcade").lent == {}
    assert installation.find({}, "arcade").lent == {"DIGITALOCEAN_TOKEN": "of another"}


def test_what_migrates_beside_an_up_migrates_its_database(running: dict[Path, dict[str, str]], tmp_path: Path):
    assert installation.in_its_folder({}).lent == {}
    running[tmp_path / "var"] = {"DATABASE_URL": "postgres:///arcade"}
    assert installation.in_its_folder({}).lent["DATABASE_URL"] == "postgres:///arcade"


def test_what_is_lent_counts_unless_this_shell_has_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(settings_environment, "_lent", {"A": "lent", "B_FILE": "/no/such/file"})
    monkeypatch.setenv("B", "own")
    assert [settings_environment.text(name) for name in ("A", "B")] == ["lent", "own"]
