"""A game by the address of its git repository: fetched, tried in a sandbox of its own, published, updated, taken back.

Real repositories, real sandboxes, and the tasks that work on them.
"""

from __future__ import annotations

import io

import pytest
from django.core.management import call_command
from django.utils import timezone

from games import deploy, git_sources, processes, tasks, version_sources, versions
from games.failures import DeployFailed
from games.git_sources import Address
from games.loading import load_catalog
from games.models import Game, GameVersion, Snapshot, VersionCode, VersionState
from pools.console.operations import Refused
from pools.models import FleetEvent, Sandbox, State
from runs import lifecycle
from runs.launching import trial
from runs.launching.launch import UnknownGame
from runs.models import Run
from runs.reasons import RunEndCode
from tests.fixtures.catalog import Catalog, MakeSandbox
from tests.fixtures.git_server import GitServer, Repository
from tests.fixtures.waiting import until
from tests.fixtures.web import Web
from tests.integration.games.conftest import Site

FIXED = """
import http.server
http.server.ThreadingHTTPServer(("127.0.0.1", 5000), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def chess(
    git_server: GitServer, catalog: Catalog, downloads: Web, settings, monkeypatch: pytest.MonkeyPatch
) -> Repository:
    """Somebody's repository with a game in a folder, on a server of this machine."""
    monkeypatch.setattr(git_sources, "_may_be_local", lambda: True)
    settings.GAME_REPOSITORIES_DIR = settings.VAR_DIR / "repositories"  # where the web server looks
    repository = git_server.add("games")
    repository.write_game("chess", folder="boards/chess")
    return repository


def ask(repository: Repository, folder: str = "boards/chess") -> GameVersion:
    address = Address.of(repository.url, "", folder)
    return versions.ask(address, actor="olga", reason="a new one", now=timezone.now())


def fetched(repository: Repository, folder: str = "boards/chess") -> GameVersion:
    version = ask(repository, folder)
    versions.fetch(version, timezone.now())
    return version


def tried(repository: Repository, site: Site) -> GameVersion:
    """The newest commit, when its trial is over or runs."""
    version = ask(repository)
    trial.try_out(version, timezone.now())

    def is_settled() -> bool:
        site.turn()
        version.refresh_from_db()
        return version.state not in (VersionState.FETCHED, VersionState.TRYING)

    until(is_settled, "the trial is settled", seconds=90)
    return version


def publish(version: GameVersion) -> str:
    return versions.publish(version, actor="olga", reason="it is good", now=timezone.now())


def publish_untried(version: GameVersion) -> None:
    GameVersion.objects.filter(pk=version.pk).update(state=VersionState.TRIED)
    version.refresh_from_db()
    publish(version)


def test_a_game_is_fetched_tried_published_updated_and_taken_back(chess: Repository, site: Site, pool):
    first = tried(chess, site)
    assert (first.state, first.reason) == (VersionState.TRIED, "")
    run = Run.objects.select_related("sandbox", "game").get(pk=first.trial)
    assert (run.mode, run.deployed_from, run.state) == ("cold", "source", "running")
    assert "<h1>Chess</h1>" in site.page(run)
    assert any(line.startswith("Cloning chess") for line in site.log(run))
    assert Sandbox.objects.exclude(pool=pool).count() == 1
    with pytest.raises(UnknownGame):
        site.launch("chess", "cold")

    assert publish(first) == f"chess is published at {first.short}"
    playing = site.play("chess", "cold", use_snapshot=False)

    chess.write_game("chess", folder="boards/chess", title="Chess 2", run="exec python3 server.py")
    second = tried(chess, site)
    assert second.state == VersionState.TRIED, second.reason
    assert Game.objects.get(slug="chess").title == "Chess"
    publish(second)
    assert (Game.objects.get(slug="chess").title, Game.objects.get(slug="chess").published) == ("Chess 2", second)
    assert "<h1>Chess</h1>" in site.page(playing)

    newest = versions.game_of(Game.objects.get(slug="chess"), playing.source_digest)
    assert newest.run_command == "python3 server.py", "it is started again as it was"
    first.refresh_from_db()
    assert publish(first) == f"chess is back at {first.short}"
    assert Game.objects.get(slug="chess").title == "Chess"
    second.refresh_from_db()
    assert second.state == VersionState.REPLACED

    lifecycle.end(run.pk, RunEndCode.TIME_UP, "Its time was up.", timezone.now())
    first.refresh_from_db()
    assert first.state == VersionState.PUBLISHED
    assert Sandbox.objects.get(run=run).state == State.DELETING
    lines = [line.message for line in FleetEvent.objects.filter(kind="game").order_by("seq")]
    assert [line.split(";")[0] for line in lines] == [
        f"a game at {chess.url} folder boards/chess is to be fetched and tried",
        f"chess {first.short} was tried: its first page came",
        f"chess is published at {first.short}",
        f"a game at {chess.url} folder boards/chess is to be fetched and tried",
        f"chess {second.short} was tried: its first page came",
        f"chess is published at {second.short}",
        f"chess is back at {first.short}",
    ]


def test_a_game_that_listens_on_a_fixed_port_fails_its_trial(
    chess: Repository, site: Site, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(processes, "START_SECONDS", 4)
    fixed = FIXED.replace("5000", "18731")
    chess.write_game("chess", folder="boards/chess", files={"server.py": fixed}, port=18731)
    version = tried(chess, site)
    assert (version.state, version.code) == (VersionState.FAILED, RunEndCode.FIXED_PORT)
    assert "listens on port 18731, and not on the one that it is given" in version.reason
    assert not Game.objects.get(slug="chess").enabled


def test_a_game_that_needs_a_build_tool_fails_its_trial(chess: Repository, site: Site):
    chess.write_game("chess", folder="boards/chess", install="sh build.sh", files={"build.sh": "meson-of-mine setup"})
    version = tried(chess, site)
    assert (version.state, version.code) == (VersionState.FAILED, RunEndCode.TOOL_MISSING)
    assert "meson-of-mine is not installed in the sandbox" in version.reason
    with pytest.raises(Refused):
        publish(version)


def test_a_version_is_tried_in_its_own_runtime_and_not_on_its_own_port(
    chess: Repository, site: Site, monkeypatch: pytest.MonkeyPatch
):
    """It was tried by the runtime and the port of the version that is published."""
    asked = []

    def deploying(_: object, game: Game, *, port: int, **__: object) -> None:
        asked.append((game.port, port))
        raise DeployFailed("It is not needed here.")

    publish_untried(fetched(chess))
    monkeypatch.setattr("runs.launching.deployment.deploy_game", deploying)
    chess.write_game("chess", folder="boards/chess", runtime="node", run="node server.js", port=5001)
    run = Run.objects.select_related("sandbox", "game").get(pk=tried(chess, site).trial)
    assert (run.game.runtime, run.sandbox.runtime, asked) == ("python", "node", [(5001, 5002)])


def test_a_trial_that_finds_no_place_says_so_and_is_tried_again(chess: Repository, site: Site, settings):
    most, settings.MAX_TOTAL_SANDBOXES = settings.MAX_TOTAL_SANDBOXES, 0
    version = ask(chess)
    trial.try_out(version, timezone.now())
    assert version.state == VersionState.FAILED
    assert "could not be launched" in version.reason
    settings.MAX_TOTAL_SANDBOXES = most
    versions.ask_again(version, actor="olga", reason="there is room", now=timezone.now())
    assert version.state == VersionState.FETCHED
    trial.try_out(version, timezone.now())
    version.refresh_from_db()
    assert version.state == VersionState.TRYING
    lifecycle.end(version.trial, RunEndCode.ENDED_BY_OPERATOR, "An operator ended it.", timezone.now())
    version.refresh_from_db()
    assert (version.state, version.code) == (VersionState.FAILED, RunEndCode.ENDED_BY_OPERATOR)


def test_names_are_unique_and_nothing_is_fetched_twice(chess: Repository, git_server: GitServer, catalog: Catalog):
    catalog.add("checkers")
    chess.write_game("checkers", folder="checkers")
    assert fetched(chess, "checkers").code == VersionCode.NAME_TAKEN
    chess.write_game("draughts", folder="draughts", snapshot="checkers-python")
    assert fetched(chess, "draughts").code == VersionCode.NAME_TAKEN
    assert fetched(chess).state == VersionState.FETCHED
    again = fetched(chess)
    assert (again.code, again.game) == (VersionCode.UNCHANGED, None)
    publish_untried(GameVersion.objects.get(game__slug="chess"))
    other = git_server.add("other")
    other.write_game("chess", folder="boards/chess", title="Mine")
    assert chess.url in fetched(other).reason


def test_to_be_tried_takes_no_name(chess: Repository, git_server: GitServer, catalog: Catalog):
    """A trial that failed kept its slug from the catalog, and from every other address, for ever."""
    chess.write_game("chess", folder="boards/chess", title="Mine")
    mine = fetched(chess)
    other = git_server.add("other")
    other.write_game("chess", folder="boards/chess", title="Other")
    assert fetched(other).state == VersionState.FETCHED
    catalog.write("chess")
    assert load_catalog(catalog.folder).problems == []
    assert Game.objects.playable().filter(slug="chess").exists()
    with pytest.raises(Refused, match="from the catalog"):
        publish_untried(mine)


def test_a_game_that_was_imported_without_versions_is_added_again(chess: Repository, catalog: Catalog):
    """It was said to be the catalog's, which had never heard of it."""
    publish_untried(fetched(chess))
    GameVersion.objects.all().delete()
    assert load_catalog(catalog.folder).gone == ["chess"]
    version = fetched(chess)
    publish_untried(version)
    assert Game.objects.playable().get(slug="chess").published == version


def test_what_cannot_be_read_in_any_foreseen_way_fails_and_does_not_stay_fetching(chess: Repository):
    """A manifest of nested brackets was too much for the parser, and its version was fetched for ever."""
    chess.write(**{"boards/chess/game.toml": "slug = " + "[" * 3_000 + "]" * 3_000})
    version = fetched(chess)
    version.refresh_from_db()
    assert (version.state, version.code) == (VersionState.FAILED, VersionCode.INTERNAL_ERROR)
    assert "It was logged" in version.reason


def test_the_catalog_leaves_games_by_address_alone(chess: Repository, catalog: Catalog):
    version = fetched(chess)
    publish_untried(version)
    version_sources.forget("chess", version.source_digest)
    assert load_catalog(catalog.folder).gone == []
    assert Game.objects.playable().filter(slug="chess").exists()
    assert version_sources._repository("chess", version.source_digest).is_dir(), "its source is put in place again"
    catalog.write("chess")
    assert "it must be unique" in load_catalog(catalog.folder).problems[0]


def test_sandboxes_elsewhere_clone_a_version_from_whichever_machine(
    chess: Repository, web, make_sandbox: MakeSandbox, log, settings
):
    version = fetched(chess)
    version_sources.forget("chess", version.source_digest)
    settings.CLOUD_IS_EMBEDDED = False
    settings.PUBLIC_URL = web.url
    settings.GAME_REPOSITORIES_DIR = settings.VAR_DIR / "repositories"
    game = versions.as_game(version, version.game)
    assert game.repository_url.startswith(web.url)
    agent = make_sandbox()
    done = deploy.deploy(agent, game, use_snapshot=False, say=log)
    assert b"<h1>Chess</h1>" in agent.fetch(done.port).body


def test_of_two_who_publish_one_counts_and_its_snapshot_comes_back(chess: Repository):
    first = fetched(chess)
    chess.write_game("chess", folder="boards/chess", title="Chess 2")
    second = fetched(chess)
    GameVersion.objects.update(state=VersionState.TRIED)
    for version in (first, second):
        version.refresh_from_db()
        publish(version)
    with pytest.raises(Refused):
        publish(second)
    kept = Snapshot.objects.create(
        game=first.game, state="old", source_digest=first.source_digest, sha256="a" * 64, started_at=timezone.now(),
        storage_key=version_sources._key("chess", first.source_digest),
    )  # fmt: skip
    first.refresh_from_db()
    publish(first)
    tasks.follow_published(first.game_id)
    kept.refresh_from_db()
    assert kept.state == "current"


def test_the_command_line_says_what_is_wrong_with_an_address(chess: Repository):
    from django.core.management.base import CommandError

    with pytest.raises(CommandError, match="begins with https"):
        call_command("game", "add", "ssh://example.com/chess")
    with pytest.raises(CommandError, match="There is no game 'go'"):
        call_command("game", "show", "go")
    version = fetched(chess)
    said = io.StringIO()
    call_command("game", "show", "chess", stdout=said)
    assert version.short in said.getvalue()
