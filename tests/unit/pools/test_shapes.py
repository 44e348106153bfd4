"""What is read back is what was written: an app's row, and the games staged in a sandbox."""

from __future__ import annotations

from datetime import UTC, datetime

from pools import staged
from pools.cloud.records import App, Phase
from pools.models import CloudApp
from pools.staged import StagedGame
from pools.turn.facts import AppFacts

APP = App(
    id="8c1f",
    name="sandbox-0000beef",
    owner="local",
    phase=Phase.ERROR,
    url="https://sandbox-0000beef.example",
    region="syd",
    size="apps-s-1vcpu-1gb",
    created_at=datetime(2026, 3, 1, tzinfo=UTC),
    failure="The deployment failed: no image",
)


def test_an_app_comes_out_of_its_row_as_it_went_in():
    assert CloudApp(app_id=APP.id, **CloudApp.columns_of(APP)).app() == APP


def test_an_app_without_the_optional_parts_does_so_too():
    bare = App("1", "web", None, Phase.UNKNOWN, None, None, None, APP.created_at)
    assert CloudApp(app_id=bare.id, **CloudApp.columns_of(bare)).app() == bare


def test_what_the_row_noted_goes_along_with_the_app():
    row = CloudApp(app_id=APP.id, orphan_listings=2, delete_reason="a leftover", **CloudApp.columns_of(APP))
    facts = AppFacts.of(APP, row)
    assert (facts.phase, facts.orphan_listings, facts.delete_reason) == (Phase.ERROR, 2, "a leftover")
    assert AppFacts.of(APP, row, is_listed=False).phase is Phase.UNKNOWN


def test_staged_games_come_back_as_they_went_in():
    games = {"snake": StagedGame("abc", "games/snake", 5000, 17, True), "chess": StagedGame("def", "games/chess", 5001)}
    assert staged.read(staged.write(games)) == games


def test_staged_games_of_an_earlier_version_can_be_read():
    stored = {"snake": "0f" * 32, "go": {"sha256": "ab", "port": 5000, "colour": "red"}}
    assert staged.read(stored) == {"go": StagedGame(sha256="ab", port=5000)}
