"""Wait for a run to play, or to be over, on the event loop: who waits holds no thread."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from uuid import UUID

from django.db.models import TextChoices

from runs.live.database import read
from runs.live.hub import follow
from runs.models import OVER, EventKind, Run, RunState

MOST_SECONDS = 30


class WaitFor(TextChoices):
    RUNNING = "running", "It plays, or is over"
    SETTLED = "settled", "It is over"


TOLD_BY = {WaitFor.RUNNING: {EventKind.READY, EventKind.END}, WaitFor.SETTLED: {EventKind.END}}


def has_come(state: str, wait_for: WaitFor) -> bool:
    """Whether a run in that state is what is waited for."""
    return state in OVER or (wait_for == WaitFor.RUNNING and state == RunState.RUNNING)


async def until(run_id: UUID, wait_for: WaitFor, seconds: float) -> None:
    """Come back when the run is there, or after so many seconds; at once when there is no such run."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            found = await read(_seen, run_id)
            if found is None or has_come(found[1], wait_for):
                return
            async with aclosing(follow(run_id, found[0], heartbeat_seconds=MOST_SECONDS)) as batches:
                async for lines in batches:
                    if any(line.kind in TOLD_BY[wait_for] for line in lines):
                        return


def _seen(run_id: UUID) -> tuple[int, str] | None:
    """The number of its last line and its state, which are written together."""
    return Run.objects.filter(pk=run_id).values_list("last_seq", "state").first()
