"""The script that puts a snapshot in place inside a sandbox, run as the sandbox runs it, against a real server."""

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from games.sandbox import restore
from tests.fixtures.waiting import free_port, until

SCRIPT = Path(restore.__file__)
Respond = Callable[[BaseHTTPRequestHandler], None]


class Store(ThreadingHTTPServer):
    """Serves what a test puts into `answers`, and says who asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, bytes | Respond] = {}
        self.released = threading.Event()
        self.asked = threading.Event()

    def put(self, answer: bytes | Respond, path: str = "/snapshot") -> str:
        self.answers[path] = answer
        return f"http://127.0.0.1:{self.server_port}{path}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Store)
        self.server.asked.set()
        answer = self.server.answers.get(self.path.split("?")[0])
        if answer is None:
            self.send_error(404, "Not Found")
        elif isinstance(answer, bytes):
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
        else:
            with suppress(ConnectionError):
                answer(self)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def store() -> Iterator[Store]:
    server = Store()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def symlink(name: str, goal: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.SYMTYPE, linkname=goal)


def pack(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


GAME = pack(
    member("server.py", b"print('hello')\n", mode=0o644, mtime=1_700_000_000),
    member("static", type=tarfile.DIRTYPE, mode=0o755),
    member("static/game.js", b"'use strict'\n", mode=0o644),
    member("start", b"#!/bin/sh\n", mode=0o755),
    symlink("node_modules/.bin/tool", "../tool/cli.js"),
    member("node_modules/tool/cli.js", b"// tool\n"),
    member("copy.py", type=tarfile.LNKTYPE, linkname="server.py"),
)


def run(
    url: str, into: Path, *, sha256: str | None = None, content: bytes = GAME, **options: object
) -> tuple[int, str]:
    """The exit code and what was printed."""
    arguments = ["--sha256", sha256 or hashlib.sha256(content).hexdigest(), "--into", str(into)]
    for name, value in options.items():
        arguments += ["--" + name.replace("_", "-"), str(value)]
    answer = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env=os.environ | {"SNAPSHOT_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.stderr == ""
    return answer.returncode, answer.stdout


def must_be_untouched(place: Path) -> None:
    """The older game is there as it was, and nothing lies beside it."""
    assert [path.name for path in place.iterdir()] == ["older.py"]
    assert [path.name for path in place.parent.iterdir()] == [place.name]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the game goes; an older one is there."""
    folder = tmp_path / "games" / "snake"
    folder.mkdir(parents=True)
    (folder / "older.py").touch()
    return folder


def test_a_good_snapshot_replaces_the_older_game(store: Store, place: Path) -> None:
    code, printed = run(store.put(GAME) + "?signature=secret", place)
    assert code == 0, printed
    assert (place / "server.py").read_text() == "print('hello')\n"
    assert (place / "static" / "game.js").exists()
    assert (place / "start").stat().st_mode & 0o777 == 0o755 & ~_umask()
    assert (place / "node_modules/.bin/tool").read_text() == "// tool\n"
    assert (place / "copy.py").read_text() == "print('hello')\n"
    assert (place / "copy.py").stat().st_nlink == 1
    assert int((place / "server.py").stat().st_mtime) == 1_700_000_000
    assert not (place / "older.py").exists()
    assert [path.name for path in place.parent.iterdir()] == ["snake"]


def _umask() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("Umask")).split()[1], 8)


def test_each_step_is_a_line_with_its_milliseconds_and_the_signature_stays_secret(store: Store, place: Path) -> None:
    _, printed = run(store.put(GAME) + "?signature=secret", place)
    steps = [line.split()[:3] for line in printed.splitlines()]
    assert [step[0] for step in steps] == ["download", "verify", "unpack", "place", "restored"]
    assert all(step[1].isdigit() and step[2] == "ms" for step in steps)
    assert "secret" not in printed


def test_it_makes_the_folders_above(store: Store, tmp_path: Path) -> None:
    code, printed = run(store.put(GAME), tmp_path / "a" / "b" / "snake")
    assert code == 0, printed


def test_a_wrong_hash_is_code_4(store: Store, place: Path) -> None:
    code, printed = run(store.put(GAME[:-1] + b"x"), place)
    assert code == 4
    assert "failed: the snapshot's SHA-256 is" in printed
    must_be_untouched(place)


@pytest.mark.parametrize("status", [403, 404, 500])
def test_an_error_of_the_server_is_code_3(store: Store, place: Path, status: int) -> None:
    code, printed = run(store.put(lambda handler: handler.send_error(status, "Sorry")), place)
    assert code == 3
    assert f"the server answered {status} Sorry" in printed
    must_be_untouched(place)


def test_nobody_listening_is_code_3(place: Path) -> None:
    code, printed = run(f"http://127.0.0.1:{free_port()}/snapshot", place)
    assert code == 3
    assert "not downloaded" in printed
    must_be_untouched(place)


def test_a_download_that_breaks_off_is_code_3(store: Store, place: Path) -> None:
    def break_off(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(GAME)))
        handler.end_headers()
        handler.wfile.write(GAME[:100])
        handler.close_connection = True

    code, printed = run(store.put(break_off), place)
    assert code == 3
    assert f"after 100 of {len(GAME)} bytes" in printed
    must_be_untouched(place)


def test_a_server_that_says_nothing_is_given_up(store: Store, place: Path) -> None:
    code, printed = run(store.put(lambda handler: store.released.wait(60)), place, idle_seconds=1)
    assert code == 3
    assert "timed out" in printed
    must_be_untouched(place)


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_server_that_drips_is_given_up_after_the_whole_time(store: Store, place: Path, part: str) -> None:
    """No socket timeout ever fires here: something comes all the time."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n" + (b"X-Slow: " if part == "headers" else b"\r\n"))
        while not store.released.wait(0.05):
            handler.wfile.write(b"x")

    code, printed = run(store.put(drip), place, seconds=1, idle_seconds=1)
    assert code == 3
    assert "not in place after 1 seconds" in printed
    must_be_untouched(place)


@pytest.mark.parametrize("announced", [True, False])
def test_a_snapshot_that_is_too_large_is_code_3(store: Store, place: Path, announced: bool) -> None:
    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if announced:
            handler.send_header("Content-Length", str(len(GAME)))
        handler.end_headers()
        handler.wfile.write(GAME)

    code, printed = run(store.put(send), place, max_bytes=100)
    assert code == 3
    assert "bytes" in printed
    must_be_untouched(place)


HOSTILE = {
    "an absolute path": [member("/tmp/evil", b"x")],
    "a path that climbs": [member("../evil", b"x")],
    "a path that climbs inside": [member("a/../../evil", b"x")],
    "a backslash": [member("..\\evil", b"x")],
    "an absolute link": [member("a", b"x"), symlink("evil", "/etc/passwd")],
    "a link that climbs": [member("a", b"x"), symlink("evil", "../../x")],
    "a file behind a link": [symlink("evil", "static"), member("evil/file", b"x")],
    "a chain of links": [member("a", b"x"), symlink("here", "."), symlink("evil", "here/..")],
    "a link behind a link": [member("a", b"x"), member("d/f", b"x"), symlink("here", "d"), symlink("here/x", "f")],
    "a hard link to the disk": [member("evil", type=tarfile.LNKTYPE, linkname="/etc/passwd")],
    "a device": [member("a", b"x"), member("evil", type=tarfile.CHRTYPE, devmajor=1, devminor=3)],
    "a pipe": [member("a", b"x"), member("evil", type=tarfile.FIFOTYPE)],
    "one name twice": [member("a", b"x"), member("a", b"y")],
    "a file as a folder": [member("a", b"x"), member("a/b", b"y")],
    "a file as the root": [member(".", b"x")],
    "a link as the root": [member("a", b"x"), symlink(".", "a")],
    "nothing": [],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_code_5_and_leaves_no_trace(store: Store, place: Path, what: str) -> None:
    archive = pack(*HOSTILE[what])
    code, printed = run(store.put(archive), place, content=archive)
    assert code == 5, printed
    assert "failed: the archive" in printed or "failed: not a readable" in printed
    must_be_untouched(place)


def test_files_that_fit_each_alone_and_not_together_are_code_5(store: Store, place: Path) -> None:
    content = pack(*[member(f"part{number}.bin", b"\0" * (30 * 1024 * 1024)) for number in range(3)])
    code, printed = run(store.put(content), place, content=content)
    assert code == 5
    assert "too many bytes" in printed
    must_be_untouched(place)


def test_an_archive_that_swells_beyond_measure_is_code_5(store: Store, place: Path) -> None:
    bomb = pack(member("zeros", b"\0" * (65 * 1024 * 1024)))
    assert len(bomb) < 100_000
    code, printed = run(store.put(bomb), place, content=bomb)
    assert code == 5
    assert "too many bytes" in printed
    must_be_untouched(place)


@pytest.mark.parametrize(
    "content",
    [
        b"<html>not an archive</html>",
        b"",
        gzip.compress(b"no tar in here"),
        GAME[: len(GAME) // 2],
        pack(member("a", bytes(range(256)) * 400))[:300],
        gzip.compress(b"\0" * 1024)[:-4] + b"\1\1\1\1",
    ],
    ids=["html", "empty", "no tar", "half", "cut in a file", "bad length"],
)
def test_a_broken_archive_is_code_5(store: Store, place: Path, content: bytes) -> None:
    code, printed = run(store.put(content), place, content=content)
    assert code == 5, printed
    must_be_untouched(place)


def test_a_disk_that_refuses_is_code_6(store: Store, tmp_path: Path) -> None:
    (tmp_path / "games").write_text("a file is in the way")
    code, printed = run(store.put(GAME), tmp_path / "games" / "snake")
    assert code == 6
    assert "the disk refused" in printed


def test_a_full_disk_is_code_6(store: Store, place: Path) -> None:
    """A limit on the size of a file stands for a disk that is full: the write fails in the middle."""
    big = pack(member("a", bytes(range(256)) * 40), member("b", hashlib.sha256(b"b").digest() * 2048))
    command = [sys.executable, str(SCRIPT), "--into", str(place)]
    command += ["--sha256", hashlib.sha256(big).hexdigest()]
    limited = "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    limited += "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); sys.argv = sys.argv[1:];"
    limited += "runpy.run_path(sys.argv[0], run_name='__main__')"
    answer = subprocess.run(
        [sys.executable, "-c", limited, *command[1:]],
        env=os.environ | {"SNAPSHOT_URL": store.put(big)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 6, answer.stdout + answer.stderr
    must_be_untouched(place)


def test_being_stopped_in_the_middle_leaves_the_older_game(store: Store, place: Path) -> None:
    url = store.put(lambda handler: store.released.wait(60))
    command = [sys.executable, str(SCRIPT), "--sha256", "0" * 64, "--into", str(place)]
    environment = os.environ | {"SNAPSHOT_URL": url}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    until(store.asked.is_set, "the download begins")
    process.terminate()
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 143
    assert printed == "failed: stopped\n"
    must_be_untouched(place)


@pytest.mark.parametrize(
    ("url", "arguments", "words"),
    [
        ("", [], "SNAPSHOT_URL must be"),
        ("file:///etc/passwd", [], "SNAPSHOT_URL must be an http or https address"),
        ("http://x/", ["--sha256", "abc"], "--sha256 must be 64 hexadecimal digits"),
        ("http://x/", ["--sha256", "0" * 64], "--into must be a folder"),
        ("http://x/", ["--sha256", "0" * 64, "--into", "/"], "--into must be a folder, and not the root"),
        ("http://x/", ["--sha256", "0" * 64, "--into", "d", "--seconds", "x"], "--seconds must be"),
        ("http://x/", ["--wat", "1"], "--wat is not an option"),
        ("http://x/", ["--into"], "--into has no value"),
    ],
)
def test_wrong_arguments_are_code_2(
    url: str, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNAPSHOT_URL", url)
    assert restore.main(arguments) == 2
    assert words in capsys.readouterr().out


def test_it_needs_nothing_but_the_standard_library_of_python_3_8() -> None:
    """Sandboxes bring their own Python; only the syntax can be checked for that version here."""
    import ast

    tree = ast.parse(SCRIPT.read_text(), feature_version=(3, 8))
    imported = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    imported |= {
        node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
    }
    assert imported <= sys.stdlib_module_names
