"""The wheel, as somebody has it who never sees a checkout: it is built, installed, and runs all of the product."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from orchestrator_site import __version__
from tests.fixtures.installed import link_dependencies
from tests.fixtures.shared import once
from tests.fixtures.stack import Stack
from tests.fixtures.waiting import until

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES = ("orchestrator_site", "runs", "games", "pools")
LINKED = ("templates", "static")  # from orchestrator_site to the folders at the top
RUNBOOK = "orchestrator_site/runbook.md"  # to docs/runbook.md
BUILD_SECONDS = 300


def tracked(*paths: str) -> list[str]:
    """The checkout's files below some paths, or all; what git ignores is none of them."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *paths]
    listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    return sorted({name for name in listed.split("\0") if name and os.path.lexists(CHECKOUT / name)} - {".venv"})


def build(folder: Path) -> None:
    """Both artefacts, from a clean copy. The wheel is made of the source distribution, so that has all it takes."""
    for name in tracked():
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, folder / "source" / name, follow_symlinks=False)
    command = [sys.executable, "-m", "build", "--outdir", folder / "dist", folder / "source"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(folder / "source")


@pytest.fixture(scope="module")
def dist() -> Path:
    """The folder of the artefacts, which are built once for all test processes."""
    return once("dist", build) / "dist"


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def test_the_artefacts_are_of_this_version(dist: Path):
    assert {file.name for file in dist.iterdir()} == {
        f"sandbox_orchestrator-{__version__}-py3-none-any.whl",
        f"sandbox_orchestrator-{__version__}.tar.gz",
    }


def test_the_wheel_has_every_file_of_the_packages_and_none_beside_them(dist: Path):
    wanted = [name for name in tracked(*PACKAGES) if not (CHECKOUT / name).is_symlink()]
    wanted += [RUNBOOK, *(f"orchestrator_site/{name}" for name in tracked(*LINKED))]
    names = zipfile.ZipFile(only(dist, "*.whl")).namelist()
    assert sorted(name for name in names if ".dist-info/" not in name) == sorted(wanted)


@pytest.fixture(scope="module")
def programs(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the programs of a virtual environment that has the wheel. Its dependencies are links to those from
    here, but for what leads to a checkout."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    site_packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv")}))
    link_dependencies(site_packages)
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, only(dist, "*.whl")], check=True, timeout=BUILD_SECONDS)
    yield python.parent
    shutil.rmtree(folder, ignore_errors=True)


class Installed(Stack):
    """The product of the wheel, started in an empty folder with an environment that says the ports and no more."""

    def __init__(self, programs: Path, folder: Path) -> None:
        super().__init__(folder / "var")
        self._log = folder.with_suffix(".log")
        self.folder, self.program = folder, programs / "sandbox-orchestrator"
        self.environment = {name: self.environment[name] for name in ("PORT", "LOCALCLOUD_DEPLOY_SECONDS")}
        self.environment |= {"PATH": os.defpath, "HOME": str(folder)}

    def launch(self) -> None:
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                [self.program, "up"], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *arguments], cwd=self.folder, env=self.environment,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def product(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    folder = tmp_path_factory.mktemp("empty") / "folder"
    folder.mkdir()
    product = Installed(programs, folder)
    try:
        yield product.start()
        assert product.stop() == 0, product.log
    finally:
        product.close()
        print(product.log)


def parts_of(page: str) -> list[str]:
    """The styles, scripts and pictures that a page names."""
    return [path for path in re.findall(r'(?:href|src)="([^"]+\.(?:css|js|svg))"', page) if not path.startswith("http")]


def test_an_installed_product_plays_a_game_with_its_styles_and_scripts(product: Installed):
    launched = httpx.post(f"{product.url}/api/launch", json={"game": "snake"}, timeout=60).json()
    with httpx.Client(base_url=product.url, follow_redirects=True, timeout=20) as browser:
        until(lambda: browser.get(f"/api/runs/{launched['run_id']}").json()["state"] == "running", "the game runs")
        game = browser.get(launched["play_url"])
        assert "Snake" in game.text
        parts = parts_of(game.text)
        assert any(part.endswith(".js") for part in parts)
        assert any(part.endswith(".css") for part in parts)
        assert [browser.get(str(game.url.join(part))).status_code for part in parts] == [200] * len(parts)


@pytest.mark.parametrize("page", ["/", "/admin/login/", "/stats/", "/api/docs"])
def test_its_pages_have_their_parts(product: Installed, page: str):
    answer = product.get(page)
    assert answer.status_code == 200
    for part in parts_of(answer.text):
        assert product.get(str(answer.url.join(part)).removeprefix(product.url)).status_code == 200, part


def test_it_keeps_its_things_in_the_folder_where_it_was_called(product: Installed):
    assert [entry.name for entry in product.folder.iterdir()] == ["var"]
    assert (product.var / "orchestrator.sqlite3").exists()


def test_nothing_of_it_comes_from_a_checkout(product: Installed):
    code = "import sys; print(*{m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', None)})"
    files = product.manage("shell", "--no-imports", "--command", code).stdout.split()
    assert any("/orchestrator_site/settings.py" in file for file in files)
    assert not [file for file in files if Path(file).is_relative_to(CHECKOUT) and ".venv" not in file]
    for process in product.processes():
        told = " ".join([process.cwd(), *process.cmdline(), process.environ()["PATH"]])
        assert str(CHECKOUT) not in told.replace(f"{CHECKOUT}/.venv/", "")  # where its dependencies are links to


def test_its_commands_work_beside_it_and_tell_its_version(product: Installed):
    assert product.manage("--version").stdout == f"sandbox-orchestrator {__version__}\n"
    assert product.manage("check").returncode == 0
    assert product.manage("api_key", "make", "tests").stdout.startswith("key_")
    assert "usage: sandbox-orchestrator" in product.manage("pool", "--help").stdout
