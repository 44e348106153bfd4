"""The catalog's folders become rows: what one load refuses."""

import shutil
from pathlib import Path

import pytest

from games.loading import load_catalog
from games.models import Game

CATALOG = Path(__file__).parents[3] / "games" / "catalog"

pytestmark = pytest.mark.django_db


@pytest.fixture
def catalog(tmp_path: Path, settings) -> Path:
    settings.GAME_REPOSITORIES_DIR = tmp_path / "repositories"
    return Path(shutil.copytree(CATALOG, tmp_path / "catalog", ignore=shutil.ignore_patterns(".deps", "node_modules")))


def test_two_games_never_share_a_snapshot(catalog: Path) -> None:
    manifest = catalog / "snake" / "game.toml"
    manifest.write_text(manifest.read_text().replace("snake-python", "memory-python"))
    loaded = load_catalog(catalog)
    assert loaded.added == ["memory", "tic-tac-toe"]
    assert loaded.problems == [f"{manifest}: snapshot is 'memory-python', which memory has; it must be unique"]


def test_a_load_tells_the_problems_of_all_games(catalog: Path) -> None:
    for slug in ("snake", "memory"):
        manifest = catalog / slug / "game.toml"
        manifest.write_text(manifest.read_text().replace("port = 5000", "port = 1"))
    loaded = load_catalog(catalog)
    assert [problem.split(": ")[0] for problem in loaded.problems] == [
        str(catalog / "memory" / "game.toml"),
        str(catalog / "snake" / "game.toml"),
    ]
    assert list(Game.objects.values_list("slug", flat=True)) == ["tic-tac-toe"]


def test_a_catalog_that_is_not_there_says_so(tmp_path: Path) -> None:
    assert load_catalog(tmp_path / "nowhere").problems == [
        f"{tmp_path / 'nowhere'}: there is no such folder; CATALOG_DIR names the catalog's"
    ]


def test_of_a_catalog_only_those_are_offered_that_the_settings_name(catalog: Path, settings) -> None:
    load_catalog(catalog)
    settings.AVAILABLE_GAMES = ["snake", "chess"]
    loaded = load_catalog(catalog)
    assert loaded.problems == [f"AVAILABLE_GAMES names chess, but there is no such game in {catalog}"]
    assert [game.slug for game in Game.objects.playable()] == ["snake"]
    settings.AVAILABLE_GAMES = []
    load_catalog(catalog)
    assert Game.objects.playable().count() == 3
