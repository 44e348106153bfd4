"""What a run's events are to the first demo's front end: its fields beside ours, and its names for what we call else.

It listens for `log`, `status`, `ready` and `complete`, and shows people nothing but `log`. Most of what we tell is a
`status` line with a sentence, and a run's last line is its `end`; so these are sent by its names as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pools.moments import as_text
from runs.models import EventKind, RunEvent
from runs.words import STATUS_OF_STATE, Status, status_told_by

Event = tuple[str, dict[str, Any]]  # its name, and its data


def of(event: RunEvent) -> dict[str, Any]:
    """The demo's fields of an event, to stand beside ours."""
    fields: dict[str, Any] = {"type": event.kind, **_common(event)}
    if event.kind == EventKind.STATUS:
        fields["status"] = status_told_by(event.data.get("code", ""))
    elif event.kind == EventKind.READY:
        fields |= _ready(event)
    elif event.kind == EventKind.END:
        fields |= {"status": _last_status(event), "duration_ms": event.data.get("duration_ms")}
    return fields


def before(event: RunEvent) -> Iterator[Event]:
    """The demo's events that come before one whose kind is not what the demo listens for, or not all of it."""
    if event.kind in (EventKind.STATUS, EventKind.READY, EventKind.END):
        yield _named("log", event, message=event.message)
    if event.kind == EventKind.READY:
        yield _named("status", event, status=Status.RUNNING)
    elif event.kind == EventKind.END:
        status = _last_status(event)
        yield _named("status", event, status=status)
        if status == Status.COMPLETED:
            yield _named("complete", event, duration_ms=event.data.get("duration_ms", 0))


def _named(name: str, event: RunEvent, **fields: Any) -> Event:
    return name, {"type": name, **_common(event), **fields}


def _common(event: RunEvent) -> dict[str, Any]:
    return {"run_id": str(event.run_id), "timestamp": as_text(event.at)}


def _ready(event: RunEvent) -> dict[str, Any]:
    timings = event.data.get("timings", {})
    return {
        "ingress_url": event.data.get("url"),
        "bootstrap_ms": timings.get("bootstrap_ms", 0),
        "restore_ms": timings.get("restore_ms"),
        "total_ms": timings.get("total_ms"),
    }


def _last_status(event: RunEvent) -> Status:
    return STATUS_OF_STATE.get(event.data.get("state", ""), Status.COMPLETED)
