"""Which process may answer for a game, told from what the sandbox says of its port."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from games.models import Game
from games.processes import PortSeen, Started, command_of, is_of
from pools.taken import marked

OURS, OTHER = "0123456789abcdef", "fedcba9876543210"
STARTED = Started(7, OURS)


def seen(*listeners: tuple[Any, Any]) -> PortSeen:
    said = [{"stamp": stamp, "session": session} for stamp, session in listeners]
    return PortSeen.of({"sees_sockets": True, "listeners": said})


@pytest.mark.parametrize(
    ("stamps", "held"),
    [
        ([OURS], True),
        ([OURS, OURS], True),
        ([], False),
        ([OTHER], False),
        ([OURS, OTHER], False),
        ([""], False),
        ([OURS, ""], False),
        ([None, OTHER], False),
        ([None], None),
        ([OURS, None], None),
    ],
)
def test_a_port_is_ours_when_nothing_but_what_we_started_listens(stamps: list[str | None], held: bool | None):
    assert seen(*((stamp, 0) for stamp in stamps)).is_held_by(STARTED) is held


@pytest.mark.parametrize(
    "said",
    [None, [], "x", {}, {"listeners": 5, "packed": []}, {"sees_sockets": "yes", "listeners": [{"stamp": OTHER}]}],
)
def test_a_sandbox_that_tells_nothing_is_not_taken_for_one_that_tells_of_nothing(said: Any):
    assert PortSeen.of(said).is_held_by(STARTED) is None


@pytest.mark.parametrize(("leaders", "held"), [([7, 7], True), ([7, 8], False), ([7, "7"], False), ([0], False)])
def test_a_game_that_sets_its_title_has_lost_its_stamp_and_is_known_by_its_session(leaders: Any, held: bool):
    assert seen(*(("", leader) for leader in leaders)).is_held_by(STARTED) is held


def test_of_what_is_packed_only_what_was_asked_for_is_believed_and_fitted():
    packed = {"/": "gzip" * 100, "/other": "br", "/odd": 5, "/zero": "\0"}
    assert PortSeen.of({"packed": packed}, ["/", "/odd", "/zero"]).packed == {"/": "gzip" * 5, "/zero": "\ufffd"}


def test_a_games_process_is_known_by_its_game_also_when_its_command_has_changed():
    before = command_of(Game(slug="chess", run_command="python3 old.py; true"), 5000)
    now = Game(slug="chess", run_command="python3 'new one.py'")
    assert is_of(now, before)
    assert is_of(now, "python3 'new one.py'"), "as it was started by an earlier version"
    assert is_of(now, marked(before, uuid4())), "started for a run"
    assert not is_of(Game(slug="ches", run_command="x"), before)
    assert not is_of(Game(slug="chess-960", run_command="x"), before)
