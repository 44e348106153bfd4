"""Games by their address in the admin: who may add one, what they are told, and what a press does."""

from __future__ import annotations

import pytest
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ

from games import snapshots, version_sources
from games.models import Game, GameVersion, VersionState
from pools.models import FleetEvent
from runs.models import Run
from tests.integration.admin.conftest import Person, history, told

VERSIONS = "/admin/games/gameversion/"
URL = "https://example.com/me/chess.git"


def add(person: Person, **fields: str):
    return person.post(
        f"{VERSIONS}add/", **({"address": URL, "branch": "", "folder": "", "reason": "a new one"} | fields)
    )


@pytest.fixture
def version(snake: Game) -> GameVersion:
    return GameVersion.objects.create(
        game=snake, state="tried", address=URL, commit="c0ffee" + "0" * 34, source_digest="1" * 64,
        asked_at=timezone.now(), manifest={"title": "Snake 2", "run_command": "python3 two.py", "runtime": "python"},
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version_sources, "require_here", lambda *_: None)


def press(person: Person, version: GameVersion, act: str, reason: str = "it is good"):
    return person.post(f"{VERSIONS}{version.pk}/act/", act=act, reason=reason)


def test_an_operator_adds_a_game_by_its_address(operator: Person):
    answer = add(operator, branch="main", folder="games/chess/")
    version = GameVersion.objects.get()
    assert answer.redirect_chain[-1][0] == f"{VERSIONS}{version.pk}/change/"
    assert (version.state, version.address, version.branch, version.folder) == ("fetching", URL, "main", "games/chess")
    assert [task.func() for task in OrmQ.objects.all()] == ["runs.tasks.try_version"]
    [line] = FleetEvent.objects.filter(kind="game")
    assert (line.actor, line.message) == (
        operator.name,
        f"a game at {URL} branch main folder games/chess is to be fetched and tried; an operator: a new one",
    )
    page = answer.content.decode()
    assert "Its source is being fetched" in page
    assert "data-waiting" in page
    assert history()[0][0] == operator.name


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"address": "https://ada:s3cret@example.com/chess"}, "holds no name and no password"),
        ({"address": "http://example.com/chess"}, "begins with https://"),
        ({"folder": "../etc"}, "a path inside the repository"),
        ({"branch": "-x"}, "be a branch"),
    ],
)
def test_what_is_no_address_is_refused_in_a_sentence(operator: Person, fields: dict[str, str], sentence: str):
    page = add(operator, **fields).content.decode()
    assert sentence in page
    assert not GameVersion.objects.exists()
    assert not FleetEvent.objects.filter(message__contains="s3cret").exists()


def test_viewers_add_and_publish_nothing(viewer: Person, version: GameVersion):
    assert viewer.get(f"{VERSIONS}add/").status_code == 403
    assert press(viewer, version, "publish").status_code == 403
    assert "Publish</button>" not in viewer.get(f"{VERSIONS}{version.pk}/change/").content.decode()


def test_a_press_publishes_and_another_takes_back(operator: Person, snake: Game, version: GameVersion):
    before = GameVersion.objects.create(
        game=snake, state="published", address=URL, commit="b" * 40, source_digest="2" * 64, asked_at=timezone.now(),
        manifest={"title": "Snake 1"},
    )  # fmt: skip
    answer = press(operator, version, "publish")
    snake.refresh_from_db()
    assert (snake.title, snake.published, snake.source_digest) == ("Snake 2", version, "1" * 64)
    assert "snake is published at c0ffee0" in told(answer)
    page = operator.get(f"{VERSIONS}{before.pk}/change/").content.decode()
    assert "Roll back to this" in page
    press(operator, before, "publish", "it was bad")
    snake.refresh_from_db()
    assert snake.title == "Snake 1"
    assert "somebody" not in told(press(operator, before, "publish"))
    assert "only what was tried can be published" in told(press(operator, before, "publish"))
    game = operator.get(f"/admin/games/game/{snake.pk}/change/").content.decode()
    assert "roll back to it" in game
    assert "look for a newer commit" in game
    assert FleetEvent.objects.filter(kind="game", message__contains="it was bad", actor=operator.name).exists()


def test_while_a_press_holds_its_rows_neither_the_bucket_nor_a_server_is_asked(
    operator: Person, version: GameVersion, monkeypatch: pytest.MonkeyPatch
):
    """A bucket that hung held up everybody's launches: the log's cursor was locked meanwhile."""
    fetched, asked, outside = [], [], len(connection.savepoint_ids)
    monkeypatch.setattr(
        version_sources, "require_here", lambda *_: fetched.append(len(connection.savepoint_ids) - outside)
    )
    monkeypatch.setattr(snapshots, "storage", lambda: asked.append(True))
    press(operator, version, "publish")
    assert (fetched[0], asked) == (0, [])
    assert [task.func() for task in OrmQ.objects.all()] == ["games.tasks.follow_published"]


def test_what_has_no_source_any_more_is_not_published(
    operator: Person, version: GameVersion, monkeypatch: pytest.MonkeyPatch
):
    def gone(*_: object) -> None:
        raise version_sources.SourceUnavailable("its source can't be had")

    monkeypatch.setattr(version_sources, "require_here", gone)
    assert (
        "can&#x27;t be published: its source can&#x27;t be had" in press(operator, version, "publish").content.decode()
    )
    assert GameVersion.objects.get().state == VersionState.TRIED


def test_without_a_reason_nothing_is_published(operator: Person, version: GameVersion):
    assert "Say why" in told(press(operator, version, "publish", ""))
    assert GameVersion.objects.get().state == VersionState.TRIED


def test_a_newer_commit_is_a_version_of_its_own(operator: Person, version: GameVersion):
    GameVersion.objects.update(state="published")
    answer = press(operator, version, "newer", "they fixed it")
    newest = GameVersion.objects.first()
    assert (newest.state, newest.address) == ("fetching", URL)
    assert answer.redirect_chain[-1][0] == f"{VERSIONS}{newest.pk}/change/"


def test_the_page_shows_the_manifest_and_the_log_of_the_trial(
    viewer: Person, version: GameVersion, make_run, snake: Game
):
    run: Run = make_run()
    run.events.create(seq=1, kind="log", message="Cloning snake...", at=timezone.now())
    GameVersion.objects.update(trial=run.pk, state="failed", code="fixed_port", reason="Snake listens on port 3000.")
    page = viewer.get(f"{VERSIONS}{version.pk}/change/").content.decode()
    for part in ("python3 two.py", "Cloning snake...", "Snake listens on port 3000.", run.get_absolute_url()):
        assert part in page
