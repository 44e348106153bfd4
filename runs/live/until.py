"""Wait for a run to play, or to be over, on the event loop: who waits holds no thread."""

from __future__ import annotations

import asyncio
from uuid import UUID

from django.db.models import TextChoices

from runs.live.closing import Closing, until_closing
from runs.live.database import read
from runs.live.hub import Subscription, hub
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
    """Come back when the run is there, or after so many seconds, 30 at the most; at once when there is no such run, and
    when this process stops."""
    mine = hub()
    subscription = mine.subscribe(run_id)  # before the look: what comes after it is heard
    try:
        async with until_closing(), asyncio.timeout(min(seconds, MOST_SECONDS)):
            found = await read(_seen, run_id)
            if found is not None and subscription.is_first:
                mine.begin(run_id, found[0])
            while found is not None and not has_come(found[1], wait_for):
                if await _is_told(subscription, wait_for):
                    return
                found = await read(_seen, run_id)
    except (TimeoutError, Closing):
        return
    finally:
        mine.unsubscribe(run_id, subscription)


async def _is_told(subscription: Subscription, wait_for: WaitFor) -> bool:
    """Wait for the line that tells it. False when there were too many to keep: look again."""
    while (lines := await subscription.news(MOST_SECONDS)) is not None:
        if any(line.kind in TOLD_BY[wait_for] for line in lines):
            return True
    return False


def _seen(run_id: UUID) -> tuple[int, str] | None:
    """The number of its last line and its state, which are written together."""
    return Run.objects.filter(pk=run_id).values_list("last_seq", "state").first()
