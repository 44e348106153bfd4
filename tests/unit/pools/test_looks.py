"""Who is looked at and when, what is given up, and that many looks take as long as one."""

from __future__ import annotations

from dataclasses import replace
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest

from pools.cloud.errors import AgentUnavailable, SandboxEmptied
from pools.cloud.sandbox_agent import Fetched, Process, SandboxAgent
from pools.models import Sandbox, State
from pools.occupants import Served
from pools.reasons import EndCode
from pools.staged import StagedGame, write
from pools.turn import look
from pools.turn.decisions import Kind
from pools.turn.due import due_in_seconds
from pools.turn.facts import SandboxFacts
from pools.turn.plan import plan_fleet
from pools.turn.plan_looks import plan_looks

from .builders import NOW, make_fleet, make_sandbox, seconds


def played(**fields) -> SandboxFacts:
    return make_sandbox(State.IN_USE, is_played=True, **fields)


def kinds(*sandboxes: SandboxFacts, **fleet) -> list[Kind]:
    return [decision.kind for decision in plan_looks(make_fleet(*sandboxes, **fleet), NOW)]


# When.


def test_a_game_that_is_played_is_looked_at_each_twenty_seconds():
    assert kinds(played(health_checked_at=NOW - seconds(19))) == []
    assert kinds(played(health_checked_at=NOW - seconds(20))) == [Kind.LOOK]


def test_a_sandbox_in_which_somebody_is_at_work_is_left_to_them():
    assert kinds(make_sandbox(State.IN_USE, health_checked_at=NOW - seconds(500))) == []


def test_a_turn_comes_in_time_for_the_next_look_at_what_is_played():
    facts = make_fleet(played(health_checked_at=NOW - seconds(6)))
    assert due_in_seconds(facts, [], NOW) == 14
    unwell = make_fleet(played(health_checked_at=NOW, health_failures=1))
    assert due_in_seconds(unwell, [], NOW) == 3


@pytest.mark.parametrize("make", [make_sandbox, played])
def test_after_a_start_each_is_looked_at_first_thing(make):
    seen = make(health_checked_at=NOW - seconds(2))
    assert kinds(seen, started_at=NOW - seconds(3)) == []
    assert kinds(seen, started_at=NOW - seconds(1)) == [Kind.LOOK]


# What is given up.


def test_a_played_one_is_given_up_after_three_looks_and_when_a_restart_would_be_over():
    silent = played(health_failures=3, unwell_since=NOW - seconds(25), health_checked_at=NOW)
    assert kinds(silent) == [Kind.LOSE]
    assert kinds(replace(silent, health_failures=2)) == []
    assert kinds(replace(silent, unwell_since=NOW - seconds(24))) == []


def test_no_played_one_is_given_up_on_the_word_of_a_listing_that_is_not_complete():
    silent = played(health_failures=3, unwell_since=NOW - seconds(60), health_checked_at=NOW)
    assert kinds(silent, apps=None) == []


SILENT: dict[str, Any] = {
    "health_failures": 9,
    "trouble_code": AgentUnavailable.code,
    "unwell_since": NOW - seconds(60),
    "health_checked_at": NOW,
}


@pytest.mark.parametrize(("make", "leaves"), [(make_sandbox, Kind.RETIRE), (played, Kind.LOSE)], ids=["idle", "played"])
def test_nothing_is_given_up_while_most_are_silent_because_that_is_our_network(make, leaves):
    """40 healthy sandboxes that could not be reached were retired."""
    silent, well = [make(**SILENT) for _ in range(3)], [played() for _ in range(3)]
    assert kinds(*silent, *well[:2]) == []
    assert kinds(*silent, *well) == [leaves] * 3


def test_what_says_by_itself_that_it_was_restarted_goes_though_most_are_silent():
    emptied = make_sandbox(health_failures=3, trouble_code=SandboxEmptied.code, health_checked_at=NOW)
    silent = [make_sandbox(**SILENT) for _ in range(3)]
    [decision] = plan_looks(make_fleet(emptied, *silent), NOW)
    assert (decision.code, decision.sandbox_id) == (EndCode.EMPTIED, emptied.id)


def test_many_that_were_restarted_at_once_do_not_trip_the_guard():
    """A plain stop and start of the embedded cloud did."""
    emptied = [
        make_sandbox(health_failures=3, trouble_code=SandboxEmptied.code, health_checked_at=NOW) for _ in range(40)
    ]
    assert [each.kind for each in plan_fleet(make_fleet(*emptied, max_total=50), NOW)] == [Kind.RETIRE] * 40


def test_what_was_given_up_and_held_back_is_looked_at_all_the_same():
    silent = played(health_failures=9, unwell_since=NOW - seconds(60), health_checked_at=NOW - seconds(4))
    assert kinds(silent, apps=None) == [Kind.LOOK]


# Many at once.


def row(state: State = State.READY, **fields) -> Sandbox:
    return Sandbox(id=uuid4(), name="sandbox-1", state=state, url="http://127.0.0.1:1", **fields)


def test_looks_go_on_side_by_side(monkeypatch):
    """One that does not answer takes three seconds: ten of them took half a minute of the turn."""
    together = Barrier(look.AT_ONCE, timeout=20)
    monkeypatch.setattr(look, "look_at_idle", lambda _: together.wait())
    assert len(look.look_at_all([row() for _ in range(2 * look.AT_ONCE)], {})) == 2 * look.AT_ONCE


def test_looks_for_which_there_is_no_time_are_left_to_the_next_turn(monkeypatch):
    monkeypatch.setattr(look, "LOOKING_SECONDS", -1)
    assert look.look_at_all([row() for _ in range(5)], {}) == []


# What is seen.


@pytest.fixture
def agent(monkeypatch):
    """An agent that says what a test wants: `answers["fetch"] = 200`, or an error to raise."""
    answers: dict[str, object] = {"health": None, "fetch": 200, "body": b"", "names": set(), "processes": []}

    def says(name):
        def answer(*_, **__):
            if isinstance(answers[name], Exception):
                raise answers[name]
            return Fetched(answers["fetch"], {}, answers["body"]) if name == "fetch" else answers[name]

        return answer

    for name in ("health", "fetch", "names", "processes"):
        monkeypatch.setattr(SandboxAgent, name, says(name))
    return answers


def seen(state: State = State.IN_USE, **fields) -> Exception | None:
    sandbox = row(state, **fields)
    [(_, trouble)] = look.look_at_all([sandbox], {sandbox.pk: Served(5000, "/health")})
    return trouble


@pytest.mark.parametrize("status", [200, 404, 500, 502, 503, 504])
def test_a_game_that_answers_anything_lives(agent, status):
    agent["fetch"] = status
    assert seen() is None


def test_a_game_is_dead_when_its_agent_says_that_nothing_listens(agent):
    agent |= {"fetch": 502, "body": b'{"detail":"Port 5000: nothing listens there"}'}
    assert isinstance(seen(), look.GameStopped)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_sandbox_is_silent_when_the_edge_answers_in_its_place(agent, status):
    agent |= {"fetch": status, "health": AgentUnavailable("no healthy upstream")}
    assert isinstance(seen(), AgentUnavailable)


def test_a_game_that_takes_its_time_is_not_taken_for_dead(agent):
    agent["fetch"] = AgentUnavailable("The sandbox did not answer within 3 s.")
    assert seen() is None
    agent["health"] = AgentUnavailable("The sandbox did not answer within 3 s.")
    assert isinstance(seen(), AgentUnavailable)


def test_files_that_are_gone_tell_of_a_container_that_was_restarted(agent):
    staged = write({"chess": StagedGame("a", "games/chess@1", 5000), "go": StagedGame("b", "", 5001)})
    agent["names"] = {"chess@1", "go", "restore.py"}
    assert seen(State.READY, staged=staged) is None
    agent["names"] = {"go"}
    assert "files" in str(seen(State.READY, staged=staged))


def test_a_started_game_that_has_ended_tells_so_too_and_one_that_runs_is_well(agent):
    """It would be given to a player."""
    staged = write({"chess": StagedGame("a", "games/chess@1", 5000, pid=7), "go": StagedGame("b", "", 5001)})
    agent["processes"] = [Process(7, "python3 server.py", True, "")]
    assert seen(State.READY, staged=staged) is None
    agent["processes"] = [Process(7, "python3 server.py", False, "")]
    assert isinstance(seen(State.READY, staged=staged), SandboxEmptied)
    agent["processes"] = []
    assert isinstance(seen(State.READY, staged=staged), SandboxEmptied)
