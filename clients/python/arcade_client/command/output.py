"""What the command prints: for people as lines and tables, for programs as JSON."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from arcade_client.errors import ArcadeError, Problem, RunOver, WaitedTooLong
from arcade_client.shapes import RunEvent, RunFields

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")  # what would move the cursor, or worse
SHORT_ID = 8
NOTHING = "-"


class Output:
    """Either kind of output. In JSON each answer is one document, and a stream one document a line."""

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json

    def document(self, value: Any, lines: Iterable[str]) -> None:
        """One answer: `value` for programs, `lines` for people."""
        for line in [json.dumps(value, ensure_ascii=False, indent=2)] if self.is_json else lines:
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    def line(self, value: Any, text: str) -> None:
        """One line of a stream, shown at once."""
        sys.stdout.write((json.dumps(value, ensure_ascii=False) if self.is_json else text) + "\n")
        sys.stdout.flush()

    def error(self, error: ArcadeError) -> None:
        """What went wrong, and what to do about it."""
        if self.is_json:
            sys.stderr.write(json.dumps({"error": as_json(error)}, ensure_ascii=False) + "\n")
        elif isinstance(error, Problem):
            sys.stderr.write(f"arcade: {error.code}: {plain(error.detail)}\n")
            sys.stderr.write(f"{plain(error.remedy)}\n" if error.remedy else "")
        else:
            sys.stderr.write(f"arcade: {plain(error)}\n")


def as_json(error: ArcadeError) -> Mapping[str, Any]:
    """An error as JSON has it: a refusal as the arcade said it, else its code and a sentence."""
    if isinstance(error, Problem):
        return error.as_json()
    of_run = {"run_id": error.run.run_id} if isinstance(error, RunOver | WaitedTooLong) else {}
    return {"code": code_of(error), "detail": str(error), **of_run}


def code_of(error: ArcadeError) -> str:
    """The name of its class, as codes are written: connection_failed."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()


def plain(text: object) -> str:
    """Text from elsewhere, as a terminal may have it."""
    return CONTROL.sub(" ", str(text))


def table(head: Sequence[str], rows: Iterable[Sequence[object]], nothing: str) -> list[str]:
    """Columns, as wide as they must be; or the sentence `nothing`."""
    cells = [[plain(NOTHING if cell in (None, "") else cell) for cell in row] for row in rows]
    if not cells:
        return [nothing]
    every = [list(head), *cells]
    widths = [max(map(len, column)) for column in zip(*every, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in every]


def moment(at: datetime | None) -> str:
    """A time as this machine's clock has it."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if at else ""


def short(run_id: str) -> str:
    return run_id[:SHORT_ID]


def run_row(run: RunFields) -> tuple[object, ...]:
    total_ms = run.timings.total_ms
    took = "" if total_ms is None else f"{total_ms} ms"
    return short(run.run_id), run.game, run.mode, run.state, run.served_by, took, moment(run.created_at), run.end_code


def fact_lines(facts: Mapping[str, object]) -> list[str]:
    """What is known of one thing, a line each; what is empty is left out."""
    width = max(map(len, facts))
    return [f"{name.ljust(width)}  {plain(value)}" for name, value in facts.items() if value]


RUN_HEAD = ("RUN", "GAME", "MODE", "STATE", "SERVED BY", "READY AFTER", "LAUNCHED", "END")


def run_lines(run: RunFields) -> list[str]:
    """All that is known of a run."""
    cost = f"{run.cost.usd:.6f} USD" if run.cost else ""
    labels = " ".join(f"{name}={value}" for name, value in run.labels.items())
    facts = {
        "run": run.run_id,
        "game": run.game,
        "state": run.state,
        "served by": run.served_by,
        "notice": run.notice,
        "play": run.play_url,
        "page": run.page_url,
        "sandbox": run.sandbox,
        "labels": labels,
        "launched": moment(run.created_at),
        "ready": moment(run.ready_at),
        "expires": moment(run.expires_at),
        "ended": moment(run.ended_at),
        "end": " ".join(filter(None, (run.end_code, run.end_reason))),
        "cost": cost,
    }
    return fact_lines(facts) + [
        f"{moment(each.at)}  {each.state}: {plain(each.sentence or each.code)}" for each in run.transitions
    ]


def event_line(event: RunEvent) -> str:
    return f"{event.at.astimezone():%H:%M:%S}  {event.kind:<8}  {plain(event.message)}"
