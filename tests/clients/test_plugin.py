"""The pytest plugin, as other projects have it: a product for their tests that leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import psutil
import pytest

from orchestrator_site import testing
from tests.fixtures.waiting import until

CHECKOUT = Path(testing.__file__).parents[1]
OTHERS_TEST = """
import pathlib, sys, time, urllib.request
import pytest

@pytest.fixture(scope="session")
def arcade_settings():
    return {"MAX_RUNS_PER_HOUR": "7"}

def test_of_somebody_else(arcade):
    with urllib.request.urlopen(f"{arcade.url}/api/limits") as answer:
        assert b'"limit": 7' in answer.read()
    pathlib.Path("folder").write_text(str(arcade.folder))
    if pathlib.Path("linger").exists():
        time.sleep(120)
"""


def processes_of(folder: str) -> list[psutil.Process]:
    """What runs in a folder, or with it as its own."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and folder in process.environ().get("ORCHESTRATOR_VAR", ""):
                found.append(process)
        except (psutil.Error, FileNotFoundError):  # it ended, or is somebody else's
            continue
    return found


@pytest.fixture
def others_project(tmp_path: Path) -> Path:
    """A folder with a test that uses the product, and with nothing of ours."""
    (tmp_path / "test_theirs.py").write_text(OTHERS_TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def begin(project: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO", "PYTEST"))}
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "orchestrator_site.testing"),
            *("-p", "no:django", "-p", "no:cacheprovider", "-p", "no:xdist"),
        ],
        cwd=project,
        env=environment | {"PYTHONPATH": str(CHECKOUT), "TMPDIR": str(project)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_it_starts_with_ones_own_settings_and_leaves_nothing_behind(others_project: Path):
    pytest_process = begin(others_project)
    output, _ = pytest_process.communicate(timeout=120)
    assert pytest_process.returncode == 0, output
    folder = (others_project / "folder").read_text()
    assert not Path(folder).exists()
    assert not processes_of(folder)


def test_it_ends_with_the_tests_however_they_end(others_project: Path):
    (others_project / "linger").touch()
    pytest_process = begin(others_project)
    note = others_project / "folder"
    try:
        until(lambda: note.exists() and note.read_text(), "the product runs", seconds=120)
        folder = note.read_text()
        assert processes_of(folder)
    finally:
        os.kill(pytest_process.pid, signal.SIGKILL)
        pytest_process.communicate()
    until(lambda: not processes_of(folder), "all of it has ended", seconds=60)


def test_it_is_loaded_without_the_product():
    code = "import sys, orchestrator_site.testing; print({'django', 'httpx', 'runs', 'pools'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "set()"


def test_installing_the_project_brings_it_along():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {testing.__name__: testing.__name__}
    package = testing.__name__.partition(".")[0]
    assert f"{package}*" in project["tool"]["setuptools"]["packages"]["find"]["include"]


def test_a_start_that_fails_says_why(tmp_path: Path):
    product = testing.LocalArcade(tmp_path, {"MAX_TOTAL_SANDBOXES": "many"})
    try:
        with pytest.raises(RuntimeError, match="MAX_TOTAL_SANDBOXES"):
            product.start()
    finally:
        product.stop()
