"""A supervisor outlives what goes wrong around it."""

import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from orchestrator_site.processes.process_sessions import Register
from orchestrator_site.processes.supervisor import Service, Supervisor
from tests.fixtures.databases import ROOT
from tests.fixtures.waiting import until

SUPERVISE = """
import sys
from pathlib import Path
from orchestrator_site.processes.process_sessions import Register
from orchestrator_site.processes.supervisor import Service, Supervisor
talk = [sys.executable, "-uc", "import time\\nwhile True: print('a line', flush=True); time.sleep(0.01)"]
supervisor = Supervisor([Service("talker", talk, answers=lambda: True)], Register(Path(sys.argv[1]) / "up.json"))
supervisor.stop_on_signals()
supervisor.run(lambda: (Path(sys.argv[1]) / "ready").touch())
"""


def supervise(folder: Path, stdout: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SUPERVISE, str(folder)], cwd=ROOT, stdout=stdout)


def goes_on(supervisor: subprocess.Popen[bytes], folder: Path) -> None:
    """It replaces its service, and ends when it is asked to."""
    until((folder / "ready").exists, "it is ready")
    first = (folder / "up.json").read_text()
    os.kill(int(first.split("[")[1].split(",")[0]), 9)
    until(lambda: (folder / "up.json").read_text() not in (first, "{}"), "the service was replaced")
    assert supervisor.poll() is None
    supervisor.terminate()
    assert supervisor.wait(30) == 0


def test_it_goes_on_when_its_output_is_on_a_full_disk(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        goes_on(supervise(tmp_path, full.fileno()), tmp_path)


def test_it_goes_on_when_nobody_reads_its_output_any_more(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    supervisor = supervise(tmp_path, writing)
    os.close(writing)
    os.close(reading)
    goes_on(supervisor, tmp_path)


def test_it_goes_on_when_whoever_reads_its_output_stands_still(tmp_path: Path) -> None:
    """`make run | less`: nothing was restarted any more, and in the end the site stood still as well."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 1024)
    os.set_blocking(writing, True)
    try:
        goes_on(supervise(tmp_path, writing), tmp_path)
    finally:
        os.close(writing)
        os.close(reading)


def test_it_goes_on_when_its_register_cannot_be_written(tmp_path: Path) -> None:
    """On a full disk, say."""
    service = Service("sleeper", [sys.executable, "-c", "import time\ntime.sleep(60)"], answers=lambda: True)
    supervisor = Supervisor([service], Register(tmp_path / "nowhere" / "up.json"))
    ready = threading.Event()
    running = threading.Thread(target=supervisor.run, args=(ready.set,))
    running.start()
    try:
        until(ready.is_set, "it is ready")
        pid = service.pid
        os.kill(pid, 9)
        until(lambda: service.pid not in (0, pid), "the service was replaced")
    finally:
        supervisor.stopping.set()
        running.join(30)
    assert not running.is_alive()


@pytest.mark.parametrize("error", [OSError("no room"), RuntimeError("can't start new thread")])
def test_a_service_that_cannot_be_started_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """No memory, process or thread was left for a moment, and the supervisor ended for good."""
    monkeypatch.setattr("orchestrator_site.processes.supervisor.LONGEST_BACKOFF_SECONDS", 0.1)
    tries = []

    def before_start() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise error

    sleep = [sys.executable, "-c", "import time\ntime.sleep(60)"]
    service = Service("sleeper", sleep, answers=lambda: True, before_start=before_start)
    supervisor = Supervisor([service], Register(tmp_path / "up.json"))
    supervisor.run(supervisor.stopping.set)
    assert len(tries) == 2


def test_nothing_of_a_start_that_failed_half_way_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process had been started, and nothing would have read what it says."""
    monkeypatch.setattr("orchestrator_site.processes.supervisor.LONGEST_BACKOFF_SECONDS", 0.1)
    sleep = [sys.executable, "-c", "import time\ntime.sleep(60)"]
    service = Service("sleeper", sleep, answers=lambda: True)
    supervisor = Supervisor([service], Register(tmp_path / "up.json"))
    begun: list[int] = []
    add = supervisor.register.add

    def no_thread_the_first_time(name: str, pid: int) -> None:
        add(name, pid)
        begun.append(pid)
        if len(begun) == 1:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(supervisor.register, "add", no_thread_the_first_time)
    supervisor.run(supervisor.stopping.set)
    first, second = begun
    assert first != second
    assert not psutil.pid_exists(first)
