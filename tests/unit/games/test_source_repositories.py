"""Each game has a git repository that a sandbox can clone."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from games.manifest import Manifest, read_manifest, source_files
from games.source_repositories import SourceRepositoryError, publish
from tests.fixtures.binaries import need

CATALOG = Path(__file__).parents[3] / "games" / "catalog"


@pytest.fixture
def snake(tmp_path: Path) -> Manifest:
    need("git")
    return read_manifest(Path(shutil.copytree(CATALOG / "snake", tmp_path / "catalog" / "snake")))


def git(*arguments: str | Path) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True, timeout=60).stdout


def clone(url: str, into: Path) -> Path:
    git("clone", "--quiet", "--depth", "1", url, into)
    return into


def test_a_shallow_clone_holds_the_games_files(snake: Manifest, tmp_path: Path) -> None:
    copy = clone(publish(snake, tmp_path / "repositories"), tmp_path / "copy")
    assert source_files(copy) == source_files(snake.folder)
    assert read_manifest(copy.rename(tmp_path / "snake")).digest == snake.digest
    assert git("-C", tmp_path / "snake", "log", "--format=%an <%ae>").splitlines() == [
        "Game catalog <catalog@localhost>"
    ]


def test_the_same_files_give_the_same_commit_anywhere(snake: Manifest, tmp_path: Path) -> None:
    publish(snake, tmp_path / "one")
    publish(snake, tmp_path / "two")
    one, two = (git("-C", tmp_path / name / "snake.git", "rev-parse", "main") for name in ("one", "two"))
    assert one == two


def test_publishing_again_changes_nothing(snake: Manifest, tmp_path: Path) -> None:
    url = publish(snake, tmp_path)
    before = sorted((tmp_path / "snake.git").rglob("*"))
    assert publish(snake, tmp_path) == url
    assert sorted((tmp_path / "snake.git").rglob("*")) == before


def test_a_changed_game_is_what_the_next_clone_gets(snake: Manifest, tmp_path: Path) -> None:
    publish(snake, tmp_path / "repositories")
    (snake.folder / "server.py").write_text("print('new')\n")
    (snake.folder / "requirements.txt").unlink()
    url = publish(snake, tmp_path / "repositories")
    copy = clone(url, tmp_path / "copy")
    assert (copy / "server.py").read_text() == "print('new')\n"
    assert not (copy / "requirements.txt").exists()


def test_executable_bits_survive_and_installed_packages_stay_out(snake: Manifest, tmp_path: Path) -> None:
    (snake.folder / "start.sh").write_text("#!/bin/sh\n")
    (snake.folder / "start.sh").chmod(0o755)
    (snake.folder / ".deps").mkdir()
    (snake.folder / ".deps" / "bottle.py").touch()
    copy = clone(publish(snake, tmp_path / "repositories"), tmp_path / "copy")
    assert (copy / "start.sh").stat().st_mode & 0o100
    assert not (copy / ".deps").exists()


def test_many_at_once_make_one_repository(snake: Manifest, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        urls = set(pool.map(lambda _: publish(snake, tmp_path / "repositories"), range(8)))
    assert len(urls) == 1
    assert [path.name for path in (tmp_path / "repositories").iterdir()] == ["snake.git"]
    assert (clone(urls.pop(), tmp_path / "copy") / "server.py").exists()


def test_a_repository_that_a_crash_left_half_made_is_made_again(snake: Manifest, tmp_path: Path) -> None:
    (tmp_path / "snake.git" / "objects").mkdir(parents=True)
    assert (clone(publish(snake, tmp_path), tmp_path / "copy") / "server.py").exists()


def test_a_repository_that_lost_its_files_is_made_again(snake: Manifest, tmp_path: Path) -> None:
    publish(snake, tmp_path)
    shutil.rmtree(tmp_path / "snake.git" / "objects")
    assert (clone(publish(snake, tmp_path), tmp_path / "copy") / "server.py").exists()


def test_an_operators_own_git_configuration_has_no_say(
    snake: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".gitconfig").write_text("[commit]\n gpgsign = true\n[user]\n name = Somebody\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    publish(snake, tmp_path / "repositories")
    monkeypatch.delenv("GIT_DIR")
    author = git("--git-dir", tmp_path / "repositories" / "snake.git", "log", "--format=%an", "main")
    assert author.strip() == "Game catalog"


def test_without_git_the_error_says_how_to_get_it(
    snake: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceRepositoryError, match=r"git is not installed.*apt-get install git"):
        publish(snake, tmp_path / "repositories")
    assert list((tmp_path / "repositories").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(snake: Manifest, tmp_path: Path) -> None:
    (tmp_path / "repositories").write_text("a file is in the way")
    with pytest.raises(SourceRepositoryError, match="repository of snake can't be written"):
        publish(snake, tmp_path / "repositories")
