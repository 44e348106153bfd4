"""What happened to a run, change by change: from the lines of its log, or from its row where these are not kept."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from runs.models import EventKind, Run, RunEvent, RunState
from runs.reasons import StatusCode

KINDS = (EventKind.STATUS, EventKind.READY, EventKind.END)
MOST = 500  # a run changes a dozen times
READY = "ready"  # the code of a game that is there

LEFT = {
    StatusCode.ACQUIRING: RunState.ACQUIRING,
    StatusCode.POOL_MISS: RunState.ACQUIRING,
    StatusCode.COLD_START: RunState.ACQUIRING,
    StatusCode.WAITING_FOR_PLACE: RunState.ACQUIRING,
    StatusCode.CREATING: RunState.ACQUIRING,
    StatusCode.POOL_HIT: RunState.DEPLOYING,
    StatusCode.SANDBOX_UP: RunState.DEPLOYING,
    StatusCode.EXTENDED: RunState.RUNNING,
    StatusCode.GAME_STOPPED: RunState.RUNNING,
    StatusCode.GAME_BACK: RunState.RUNNING,
}


class Transition(NamedTuple):
    """One change: `state` is what the run was from then on."""

    at: datetime
    state: str
    code: str
    sentence: str


def transitions(run: Run) -> list[Transition]:
    """All changes of a run, oldest first."""
    lines = RunEvent.objects.filter(run=run, kind__in=KINDS).order_by("seq")[:MOST]
    return from_lines(lines) or from_row(run)


def from_lines(lines: Iterable[RunEvent]) -> list[Transition]:
    """The changes that a run's lines tell. Pure."""
    found: list[Transition] = []
    state: str = RunState.ACQUIRING
    for line in lines:
        code = READY if line.kind == EventKind.READY else str(line.data.get("code", ""))
        if line.kind == EventKind.STATUS:
            state = LEFT[StatusCode(code)] if code in StatusCode.values else state
        else:
            state = RunState.RUNNING if line.kind == EventKind.READY else str(line.data.get("state", RunState.ENDED))
        found.append(Transition(line.at, state, code, line.message))
    return found


def from_row(run: Run) -> list[Transition]:
    """What the row alone knows, once its lines are deleted. Pure."""
    moments = [
        (run.created_at, RunState.ACQUIRING, StatusCode.ACQUIRING, "It was launched."),
        (run.acquired_at, RunState.DEPLOYING, "", "It had its sandbox."),
        (run.ready_at, RunState.RUNNING, READY, "The game was ready."),
        (run.ended_at, run.state, run.end_code, run.end_reason),
    ]
    return [Transition(at, state, code, sentence) for at, state, code, sentence in moments if at is not None]
