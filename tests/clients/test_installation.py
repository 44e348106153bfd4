"""The client installed by itself, as somebody has it who knows nothing of the product."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[2] / "clients" / "python"
# What pip would bring along. They come from here, so that nothing but the build's own tools is downloaded.
NEEDED = ("httpx", "httpcore", "h11", "anyio", "certifi", "idna", "sniffio", "typing_extensions.py")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the programs of a fresh virtual environment that has the client, and no Django."""
    folder = tmp_path_factory.mktemp("installed")
    source = shutil.copytree(CLIENT, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", source], check=True
    )
    site_packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv")}))
    ours = Path(sysconfig.get_path("purelib"))
    for name in NEEDED:
        if (ours / name).exists():
            (site_packages / name).symlink_to(ours / name)
    yield python.parent
    shutil.rmtree(folder, ignore_errors=True)


def output_of(*command: object) -> str:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def test_it_is_imported_without_django_and_has_its_types(programs: Path):
    code = (
        "import importlib.util, pathlib, arcade_client\n"
        "folder = pathlib.Path(arcade_client.__file__).parent\n"
        "print(importlib.util.find_spec('django'), (folder / 'py.typed').exists(), folder)"
    )
    django, is_typed, folder = output_of(programs / "python", "-I", "-c", code).split()
    assert (django, is_typed) == ("None", "True")
    assert Path(folder).is_relative_to(programs.parent)


def test_it_brings_the_command(programs: Path):
    assert output_of(programs / "arcade", "--version").startswith("arcade ")
    help_text = output_of(programs / "arcade", "--help")
    assert "webhook-receiver" in help_text
    assert output_of(programs / "python", "-I", "-m", "arcade_client", "--help") == help_text


def test_its_versions_agree(programs: Path):
    code = "from importlib.metadata import version; print(version('arcade-client'))"
    assert output_of(programs / "arcade", "--version") == f"arcade {output_of(programs / 'python', '-c', code)}"
