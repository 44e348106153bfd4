"""The script that looks at a port inside a sandbox, where the kernel tells less than usual."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from games.sandbox import port
from tests.fixtures.waiting import free_port, until


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A web server that was started for a port by another start than ours, and the port."""
    number = free_port()
    command = [sys.executable, "-m", "http.server", str(number), "--bind", "127.0.0.1"]
    environment = {"PORT": str(number), "HOME": str(tmp_path), port.STAMP: "theirs"}
    server = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    monkeypatch.setenv("PORT", str(number))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(port.STAMP, "ours")
    until(lambda: port.packing((number,), "/") == "", "it answers")
    yield number, server
    server.kill()
    server.wait()


def look(number: int, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert port.main(["look", str(number), "/"]) == 0
    said: dict[str, object] = json.loads(capsys.readouterr().out)
    return said


def test_whoever_listens_is_told_by_its_mark_and_ended(served, capsys: pytest.CaptureFixture[str]):
    number, server = served
    theirs = {"stamp": "theirs", "session": server.pid}
    assert look(number, capsys) == {"sees_sockets": True, "listeners": [theirs], "packed": {}}
    assert port.main(["clear", str(number)]) == 0
    assert server.wait(20) == -9
    assert "Ended what was still on port" in capsys.readouterr().out
    assert look(number, capsys) == {"sees_sockets": True, "listeners": [], "packed": {}}


def test_sockets_without_a_process_are_nobodys_and_who_was_given_the_port_is_ended(
    served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    number, server = served
    monkeypatch.setattr(port, "inodes", lambda _: {"0"} if server.poll() is None else set())
    assert look(number, capsys)["listeners"] == [{"stamp": None, "session": 0}]
    assert port.main(["clear", str(number)]) == 0
    assert server.wait(20) == -9


def test_an_answer_where_no_socket_is_seen_says_that_none_can_be(
    served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Else no launch would ever be proved on such a kernel."""
    monkeypatch.setattr(port, "inodes", lambda _: set())
    assert look(served[0], capsys) == {"sees_sockets": False, "listeners": [], "packed": {}}


def test_what_has_another_home_is_not_of_the_sandbox_and_lives_on(
    served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    number, server = served
    monkeypatch.setenv("HOME", str(tmp_path / "other"))
    monkeypatch.setattr(port, "CLEAR_SECONDS", 0.2)
    assert port.main(["clear", str(number)]) == port.TAKEN
    assert f"Port {number} is taken by process {server.pid}" in capsys.readouterr().out
    assert server.poll() is None
    monkeypatch.setenv("PORT", str(free_port()))
    assert look(number, capsys)["listeners"] == [], "and where another port was meant it does not count"


@pytest.mark.parametrize("session", ["", "setsid "])
def test_whoever_starts_it_again_is_ended_with_it_and_with_what_has_yet_to_listen(
    session: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """One that was started between two looks took the port a moment later, and the next launch with it."""
    number = free_port()
    for name, value in {"PORT": str(number), "HOME": str(tmp_path), port.STAMP: "theirs"}.items():
        monkeypatch.setenv(name, value)
    again = f"while :; do {session}{sys.executable} -m http.server {number} --bind 127.0.0.1; done"
    keeper = subprocess.Popen(["sh", "-c", again], cwd=tmp_path, stderr=subprocess.DEVNULL, start_new_session=True)
    monkeypatch.setenv(port.STAMP, "ours")
    until(lambda: port.packing((number,), "/") == "", "it answers")
    assert port.main(["clear", str(number)]) == 0
    assert [pid for pid in port.processes() if port.stamp_of(pid) == "theirs"] == []
    assert keeper.wait(20) == -9


@pytest.mark.parametrize("arguments", [[], ["look"], ["look", "x"], ["clear", ""], ["end", "5000"]])
def test_what_makes_no_sense_is_refused(arguments: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PORT", "5000")
    assert port.main(arguments) == port.USAGE


@pytest.mark.skipif(shutil.which("perl") is None, reason="perl is not installed")
def test_who_sets_a_title_of_its_own_is_known_by_its_session_and_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """gunicorn and nginx do: their environment is overwritten, and with it the stamp. They could never be launched."""
    number = free_port()
    script = (
        "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $ENV{PORT},"
        " Listen => 5, ReuseAddr => 1) or die; $0 = 'game: ' . ('x' x 4000); while (my $c = $s->accept) { <$c>;"
        ' print $c "HTTP/1.1 200 OK\\r\\n\\r\\n"; close $c }'
    )
    environment = {"PORT": str(number), "HOME": str(tmp_path), port.STAMP: "theirs"}
    server = subprocess.Popen(["perl", "-e", script], cwd=tmp_path, env=environment, start_new_session=True)
    for name, value in {"PORT": str(number), "HOME": str(tmp_path), port.STAMP: "ours"}.items():
        monkeypatch.setenv(name, value)
    until(lambda: port.packing((number,), "/") == "", "it answers")
    assert look(number, capsys)["listeners"] == [{"stamp": "", "session": server.pid}]
    assert port.main(["clear", str(number)]) == 0
    assert server.wait(20) == -9


def test_a_path_that_takes_its_time_is_asked_for_once(monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []

    def slowly(host: str, number: int, path: str) -> bytes:
        asked.append(f"{host}:{number}{path}")
        raise TimeoutError

    monkeypatch.setattr(port, "head_of", slowly)
    assert port.packing((5000, 5000), "/") is None
    assert asked == ["127.0.0.1:5000/"]
