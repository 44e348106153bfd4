"""The progress of a launch, and the time it should still take, measured against launches like it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from pools.models import Pool
from runs import events
from runs.launching.outlook import LOOKED_AT, about, usual_create_seconds, warm_up_seconds
from runs.launching.steps import doing
from runs.models import EventKind, Run, RunEvent, RunQuerySet, ServedBy

REMEMBERED = 50  # past launches that expectations rest on
NEWS = 0.05  # of the whole; less is not worth a line
LATE_SHARE = 0.1  # a step that takes longer than usual is taken to need so much of its usual time more
LATE_FROM = 1.2  # times its usual time: beyond that a number would stand for minutes
# While no launch like it is known.
FIRST_MS = {"acquire": 0.0, "bootstrap": 200.0, "restore": 1_000.0, "start": 500.0}
FIRST_FROM_SOURCE_MS = 10_000.0

StepTimes = Mapping[str, float]  # milliseconds by step, in the order of a launch


@dataclass(frozen=True, slots=True)
class Progress:
    """`share` of the whole that is done, from 0 to 1. Of one that is late, nobody knows how much is left."""

    step: str
    share: float
    left_seconds: float
    is_late: bool = False


def progress_at(step: str, usual_ms: StepTimes, *, elapsed_ms: float, in_step_ms: float) -> Progress:
    """Return how far a launch is that began `elapsed_ms` ago and has been in this step for `in_step_ms`. Pure."""
    steps = list(usual_ms)
    here = max(usual_ms[step] - in_step_ms, LATE_SHARE * usual_ms[step])
    left = here + sum(usual_ms[each] for each in steps[steps.index(step) + 1 :])
    is_late = in_step_ms > LATE_FROM * usual_ms[step]
    return Progress(step, elapsed_ms / (elapsed_ms + left) if elapsed_ms else 0.0, left / 1000, is_late)


def tell(run: Run, step: str, now: datetime, *, in_step_ms: float = 0.0) -> None:
    """Write how far the launch is, unless that is no news."""
    earlier = latest(run)
    elapsed_ms = max(0.0, (now - run.created_at).total_seconds() * 1000)
    found = progress_at(step, usual_ms(run), elapsed_ms=elapsed_ms, in_step_ms=in_step_ms)
    share = max(round(found.share, 2), earlier.get("share", 0.0))  # what was said is not taken back
    is_news = found.is_late and earlier.get("left_seconds") is not None
    if earlier.get("phase") == step and share < earlier["share"] + NEWS and not is_news:
        return
    message = f"{share:.0%}: {doing(step, run).lower()}, {left(None if found.is_late else found.left_seconds)}"
    left_seconds = None if found.is_late else round(found.left_seconds, 1)
    data = {"phase": step, "share": share, "left_seconds": left_seconds}
    events.emit(run.id, EventKind.PROGRESS, message, data=data, now=now)


def left(seconds: float | None) -> str:
    """Say how long it should still take."""
    return "longer than usual" if seconds is None else f"{about(seconds)} left"


def tell_acquiring(run: Run, now: datetime) -> None:
    """The same while it waits for its sandbox: the first of its steps."""
    tell(run, "acquire", now, in_step_ms=(now - run.created_at).total_seconds() * 1000)


def latest(run: Run) -> dict[str, Any]:
    """Return what was told last: phase, share, left_seconds (None when it is late). Empty when nothing was."""
    told = RunEvent.objects.filter(run=run, kind=EventKind.PROGRESS).order_by("-seq")
    return told.values_list("data", flat=True).first() or {}


def usual_ms(run: Run) -> dict[str, float]:
    """Return how long each step usually takes: medians of this game's last launches like it, else of any game's."""
    lately = Run.objects.lately(LOOKED_AT)
    like = lately.filter(ready_at__isnull=False, use_snapshot=run.use_snapshot).order_by("-created_at")
    like = (
        like.filter(served_by=ServedBy.POOL)
        if run.served_by == ServedBy.POOL
        else like.exclude(served_by=ServedBy.POOL)
    )
    first = dict(FIRST_MS)
    if not run.use_snapshot:
        first["restore"] = FIRST_FROM_SOURCE_MS
    if run.served_by != ServedBy.POOL:
        first["acquire"] = usual_create_seconds() * 1000
    usual = _medians(like.filter(game=run.game_id)) or _medians(like) or first
    if run.served_by == ServedBy.POOL and run.sandbox_id is None:  # it waits, where most find one ready
        pool = Pool.objects.filter(runtime=run.game.runtime).first()
        usual["acquire"] = 1000 * (warm_up_seconds(pool) if pool else usual_create_seconds())
    return usual


def _medians(runs: RunQuerySet) -> dict[str, float]:
    rows = list(runs.values_list("acquire_ms", "bootstrap_ms", "restore_ms", "start_ms")[:REMEMBERED])
    columns = zip(*rows, strict=True) if rows else ()
    return {step: median(ms or 0 for ms in column) for step, column in zip(FIRST_MS, columns, strict=False)}
