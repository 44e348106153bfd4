"""Sandboxes of a real account share no disk with us: they clone the games from the site, with git's own client."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from games import deploy
from games.manifest import source_files
from games.models import Game
from tests.fixtures.catalog import Catalog, Log, MakeSandbox
from tests.fixtures.web import Web


@pytest.fixture
def chess(catalog: Catalog, web: Web, settings) -> Iterator[Game]:
    """A game as it is loaded beside a real account, with its repository where the web server looks."""
    settings.GAME_REPOSITORIES_DIR = settings.VAR_DIR / "repositories"
    settings.CLOUD_IS_EMBEDDED = False
    settings.PUBLIC_URL = web.url
    yield catalog.add("chess")
    shutil.rmtree(settings.GAME_REPOSITORIES_DIR)


def git(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_a_shallow_clone_over_http_holds_the_games_files(chess: Game, catalog: Catalog, tmp_path: Path):
    assert chess.repository_url.startswith("http://127.0.0.1")
    done = git("-c", "protocol.version=2", "clone", "--depth", "1", chess.repository_url, tmp_path / "new")
    assert done.returncode == 0, done.stderr
    done = git("-c", "protocol.version=0", "clone", chess.repository_url, tmp_path / "old")
    assert done.returncode == 0, done.stderr
    assert source_files(tmp_path / "new") == source_files(tmp_path / "old") == source_files(catalog.folder / "chess")


def test_a_sandbox_deploys_from_there(chess: Game, make_sandbox: MakeSandbox, log: Log):
    agent = make_sandbox()
    done = deploy.deploy(agent, chess, use_snapshot=False, say=log)
    assert done.deployed_from == "source"
    assert b"<h1>Chess</h1>" in agent.fetch(done.port).body


def test_nothing_can_be_pushed(chess: Game, tmp_path: Path):
    git("clone", chess.repository_url, tmp_path / "copy")
    identity = ["-c", "user.name=n", "-c", "user.email=e@localhost"]
    git("-C", tmp_path / "copy", *identity, "commit", "--allow-empty", "-m", "mine")
    assert "403" in git("-C", tmp_path / "copy", "push", "origin", "HEAD").stderr


@pytest.mark.parametrize("slug", ["checkers", "..", "chess.git%2f..%2fchess"])
def test_only_games_can_be_cloned(chess: Game, web: Web, slug: str):
    assert web.get(f"/source/{slug}.git/info/refs?service=git-upload-pack").status_code == 404


def test_requests_are_bounded_and_must_be_what_they_say(chess: Game, web: Web):
    def post(body: bytes, **headers: str) -> int:
        address = f"{web.url}/source/chess.git/git-upload-pack"
        return httpx.post(address, content=body, headers=headers, trust_env=False).status_code

    assert post(b"0" * 70_000) == 413
    assert post(gzip.compress(b"0" * 10_000_000), **{"Content-Encoding": "gzip"}) == 400
    assert post(b"not gzip", **{"Content-Encoding": "gzip"}) == 400
