"""Who writes what the readers of a test read."""

from __future__ import annotations

from threading import Thread
from typing import Any

from django.db import connection
from django.utils import timezone

from runs import events, lifecycle
from runs.models import EventKind, Run
from runs.reasons import RunEndCode


def say(run: Run, count: int, *, first: int = 1) -> None:
    for number in range(first, first + count):
        events.emit(run.id, EventKind.LOG, f"line {number}")


def finish(run: Run) -> None:
    assert lifecycle.end(run.id, RunEndCode.ENDED_BY_API, "Ended by a test.", timezone.now())


def written(run: Run) -> list[dict[str, Any]]:
    return [events.as_json(event) for event in run.events.order_by("seq")]


def in_background(work: Any) -> Thread:
    def job() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = Thread(target=job)
    thread.start()
    return thread
