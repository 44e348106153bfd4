"""Each line of the orchestrator log has its type; each type has its lines."""

from __future__ import annotations

import pytest

from pools.reasons import PRIVATE, LogKind
from runs.event_types import OF_CODE, OF_KIND, EventType, named, type_of
from runs.reasons import RunEndCode, StatusCode

CODES = ["", "idle", *RunEndCode.values, *StatusCode.values]


@pytest.mark.parametrize("kind", LogKind)
def test_programs_get_every_line_but_those_for_operators_alone(kind: LogKind):
    types = {type_of(kind, code) for code in CODES}
    assert (types == {None}) is (kind in PRIVATE)
    assert (None in types) is (kind in PRIVATE)


def test_there_is_no_type_that_no_line_has():
    assert set(OF_KIND.values()) | set(OF_CODE.values()) == set(EventType)


@pytest.mark.parametrize("code", RunEndCode)
def test_a_run_that_is_over_has_ended_or_failed(code: RunEndCode):
    has_ended = code.startswith("ended_by_") or code == RunEndCode.TIME_UP
    assert type_of(LogKind.RUN, code) == (EventType.RUN_ENDED if has_ended else EventType.RUN_FAILED)


def test_types_are_asked_for_by_their_names_or_all_about_one_thing():
    assert named(["run.ended"]) == {EventType.RUN_ENDED}
    assert named(["pool", "run.ended"]) == {EventType.POOL_CHANGED, EventType.POOL_HELD, EventType.RUN_ENDED}
    assert len(named(["run"])) == 9
    for nothing in ("runs", "run.", "RUN", "run.ended.x"):
        with pytest.raises(ValueError, match=nothing):
            named([nothing])
