"""Manifests: what they give, and what they say when something is wrong."""

import shutil
from pathlib import Path
from typing import get_args

import pytest

from games.manifest import Manifest, ManifestError, digest_of, read_manifest, source_files
from pools.models import Runtime

CATALOG = Path(__file__).parents[3] / "games" / "catalog"

GOOD = {
    "slug": '"checkers"',
    "title": '"Checkers"',
    "runtime": '"python"',
    "run": '"python3 server.py"',
    "snapshot": '"checkers-python"',
}


def make_game(catalog: Path, name: str = "checkers", **fields: str | None) -> Path:
    """A game's folder; a field that is None is left out."""
    folder = catalog / name
    folder.mkdir(parents=True)
    lines = {**GOOD, "slug": f'"{name}"', "snapshot": f'"{name}-python"', **fields}
    text = "\n".join(f"{field} = {value}" for field, value in lines.items() if value is not None)
    (folder / "game.toml").write_text(text)
    (folder / "server.py").write_text("print('hello')\n")
    return folder


def catalog_games() -> list[Manifest]:
    folders = [folder for folder in CATALOG.iterdir() if folder.is_dir()]
    return sorted(map(read_manifest, folders), key=lambda game: game.position)


def problems_of(folder: Path) -> str:
    with pytest.raises(ManifestError) as caught:
        read_manifest(folder)
    return str(caught.value)


def test_the_catalog_has_the_three_games_in_order() -> None:
    games = catalog_games()
    assert [(game.slug, game.runtime, game.snapshot) for game in games] == [
        ("snake", "python", "snake-python"),
        ("memory", "python", "memory-python"),
        ("tic-tac-toe", "node", "tictactoe-node"),
    ]
    for game in games:
        assert game.tagline
        assert game.description
        assert game.how_to_play


def test_every_cover_is_small_and_asks_for_nothing_elsewhere() -> None:
    for game in catalog_games():
        cover = game.cover_svg()
        assert cover.startswith("<svg")
        assert len(cover.encode()) < 6 * 1024
        for stranger in ("<script", "<text", "<image", "<foreignObject", "href=", "url(http", " on"):
            assert stranger not in cover, f"{game.slug}: {stranger}"


def test_ids_in_covers_differ_so_that_one_page_can_hold_them_all() -> None:
    ids = [
        part.split('"')[0] for game in catalog_games() for part in game.cover_svg().replace("'", '"').split(' id="')[1:]
    ]
    assert len(ids) == len(set(ids))


def test_runtimes_are_those_that_pools_have() -> None:
    assert set(get_args(Manifest.model_fields["runtime"].annotation)) == set(Runtime.values)


def test_what_is_not_given_has_a_plain_value(tmp_path: Path) -> None:
    game = read_manifest(make_game(tmp_path))
    assert (game.port, game.install_command, game.health, game.cover, game.position) == (5000, "", "/", "", 1000)
    assert game.cover_svg() == ""


def test_a_list_of_install_commands_runs_one_after_the_other(tmp_path: Path) -> None:
    game = read_manifest(make_game(tmp_path, install='["npm install", "npm run build"]'))
    assert game.install_command == "npm install && npm run build"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"colour": '"red"'}, "'colour' is not a field; the fields are slug, title"),
        ({"title": None}, "title is missing"),
        ({"run": None}, "run is missing"),
        ({"title": "7"}, "title is 7; it must be text in quotes"),
        ({"title": '"  "'}, "title is '  '; it must not be empty"),
        ({"title": f'"{"x" * 81}"'}, "it has 81 characters and may have 80"),
        ({"tagline": '"two\\nlines"'}, "it must be printable text on one line"),
        ({"slug": '"chess"'}, "slug is 'chess'; it must be the name of its folder, 'checkers'"),
        ({"runtime": '"ruby"'}, "runtime is 'ruby'; it must be 'python' or 'node'"),
        ({"runtime": '["python"]'}, "runtime is ['python']; it must be 'python' or 'node'"),
        ({"port": '"5000"'}, "port is '5000'; it must be a whole number from 1024 to 65535"),
        ({"port": "80"}, "port is 80; it must be a whole number from 1024 to 65535"),
        ({"port": "true"}, "port is True; it must be a whole number"),
        ({"port": "8080"}, "port is 8080; there the sandbox's agent listens"),
        ({"run": '"/usr/bin/python3 server.py"'}, "'/usr/bin/python3' leaves the game's folder"),
        ({"run": '"python3 ../server.py"'}, "'../server.py' leaves the game's folder"),
        ({"run": '"LOG=/tmp/log python3 server.py"'}, "'/tmp/log' leaves the game's folder"),
        ({"run": '"python3 server.py >/tmp/log"'}, "'/tmp/log' leaves the game's folder"),
        ({"run": '"python3 ~/server.py"'}, "'~/server.py' leaves the game's folder"),
        ({"run": '"python3 \'server.py"'}, "a shell could not read it"),
        ({"install": '["npm install", "cd ..;ls"]'}, "install[1] is 'cd ..;ls'; '..' leaves the game's folder"),
        ({"install": '["npm install", 5]'}, "install[1] is 5; it must be text in quotes"),
        ({"install": '"pip install --target=/srv/deps x"'}, "'/srv/deps' leaves the game's folder"),
        ({"install": "5"}, "install is 5; it must be a command in quotes, or a list of such commands"),
        ({"health": '"api/health"'}, "health is 'api/health'; it must be a path on the game's own server"),
        ({"health": '""'}, "health is ''; it must be a path on the game's own server"),
        ({"health": '"//elsewhere/x"'}, "it must be a path on the game's own server"),
        ({"health": '"/a/../../api/exec"'}, "it must not climb"),
        ({"snapshot": '"Snake Python"'}, "snapshot is 'Snake Python'; it must be"),
        ({"cover": '"../cover.svg"'}, "cover is '../cover.svg'; it must be the relative path of an .svg file"),
        ({"cover": '"cover.png"'}, "cover is 'cover.png'; it must be the relative path of an .svg file"),
        ({"cover": '"cover.svg"'}, "there is no such file in the game's folder"),
        ({"port": "5000.0"}, "port is 5000.0; it must be a whole number from 1024 to 65535"),
        ({"snapshot": f'"{"x" * 61}"'}, "it must be up to 60 of a-z and 0-9"),
        ({"folder": '"/tmp"'}, "'folder' is not a field; the fields are slug, title"),
        ({"position": "-1"}, "position is -1; it must be a whole number from 0"),
    ],
)
def test_a_wrong_field_is_named_with_what_it_was_and_may_be(
    tmp_path: Path, fields: dict[str, str | None], words: str
) -> None:
    folder = make_game(tmp_path, **fields)
    message = problems_of(folder)
    assert words in message
    assert message.startswith(str(folder / "game.toml") + ": ")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    message = problems_of(make_game(tmp_path, title=None, port='"x"', runtime='"ruby"', colour="1"))
    assert len(message.splitlines()) == 4


def test_ports_urls_and_options_are_no_paths(tmp_path: Path) -> None:
    install = "python3 -m pip install --index-url https://packages.example/simple -r requirements.txt --target=.deps"
    assert read_manifest(make_game(tmp_path, install=f'"{install}"')).install_command == install


def test_a_folder_without_a_manifest_says_so(tmp_path: Path) -> None:
    assert f"{tmp_path / 'game.toml'}: is missing" in problems_of(tmp_path)


def test_a_manifest_that_is_not_toml_says_where(tmp_path: Path) -> None:
    folder = make_game(tmp_path)
    (folder / "game.toml").write_text("slug = snake")
    assert "can't be read as TOML" in problems_of(folder)
    assert "line 1" in problems_of(folder)


def test_a_folder_name_that_is_no_slug_is_refused(tmp_path: Path) -> None:
    assert "a slug (and so the folder's name)" in problems_of(make_game(tmp_path, "Chess_2"))


def test_links_in_a_games_folder_are_refused(tmp_path: Path) -> None:
    folder = make_game(tmp_path)
    (folder / "passwords").symlink_to("/etc/passwd")
    (folder / "elsewhere").symlink_to("/etc")
    assert "the folder holds links (elsewhere, passwords)" in problems_of(folder)


def test_the_digest_is_the_same_for_a_copy_and_after_an_install(tmp_path: Path) -> None:
    folder = make_game(tmp_path / "one")
    copy = Path(shutil.copytree(folder, tmp_path / "two" / "checkers"))
    for left_behind in (".deps/bottle.py", "node_modules/hono/index.js", "__pycache__/server.pyc", "server.pyc"):
        (copy / left_behind).parent.mkdir(parents=True, exist_ok=True)
        (copy / left_behind).write_text("installed")
    assert digest_of(copy) == digest_of(folder) == read_manifest(folder).digest
    assert [path.as_posix() for path in source_files(copy)] == ["game.toml", "server.py"]


def test_the_digest_changes_with_content_names_and_executable_bits(tmp_path: Path) -> None:
    folder = make_game(tmp_path)
    seen = {digest_of(folder)}
    (folder / "server.py").write_text("print('bye')\n")
    seen.add(digest_of(folder))
    (folder / "server.py").rename(folder / "main.py")
    seen.add(digest_of(folder))
    (folder / "main.py").chmod(0o755)
    seen.add(digest_of(folder))
    (folder / "empty").touch()
    seen.add(digest_of(folder))
    assert len(seen) == 5
