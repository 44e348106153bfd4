"""What a launch waits for right now, how many are before it, and how long it should still take."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from pools.models import ON_THE_WAY, Mode, Pool, Sandbox
from runs.launching.acquire import open_pool
from runs.launching.outlook import ahead_of, arrivals, past_launches, warm_up_seconds
from runs.launching.progress import progress_at, usual_ms
from runs.models import STARTING, Run, RunState, ServedBy
from runs.reasons import WaitingCode

DIGITS = 1


class WaitingFor(NamedTuple):
    """`position` is 1 for the first in its line, None where there is none. `expected_seconds`, until the game runs, is
    None when nobody knows."""

    code: WaitingCode
    position: int | None
    expected_seconds: float | None
    detail: str


def waiting_for(run: Run, now: datetime) -> WaitingFor | None:
    """None for a run that plays or is over."""
    if run.state not in STARTING:
        return None
    if run.state == RunState.DEPLOYING:
        return WaitingFor(WaitingCode.DEPLOYMENT, None, _deployed_in_seconds(run, now), "Its game is being brought up.")
    if run.sandbox_id is not None:
        detail = "Its own sandbox is being created."
        return WaitingFor(WaitingCode.SANDBOX, None, _created_in_seconds(run, now), detail)
    ahead = ahead_of(run)
    if run.served_by == ServedBy.POOL:
        pool = open_pool(run.game.runtime)
        is_paused = pool is not None and pool.mode == Mode.PAUSED
        detail = "Its pool is paused: none is made for it." if is_paused else _in_line("warm sandbox", ahead)
        return WaitingFor(WaitingCode.POOL, ahead + 1, _served_in_seconds(run, pool, ahead, now), detail)
    return WaitingFor(WaitingCode.PLACE, ahead + 1, None, _in_line("place in the fleet", ahead))


def _in_line(what: str, ahead: int) -> str:
    if not ahead:
        return f"The next {what} is for it."
    return f"It waits for a {what}; {ahead} {'launch is' if ahead == 1 else 'launches are'} ahead of it."


def _served_in_seconds(run: Run, pool: Pool | None, ahead: int, now: datetime) -> float | None:
    """By the sandboxes that are on their way to its pool; None when they are fewer than wait for them."""
    if pool is None:
        return None
    coming = Sandbox.objects.filter(pool=pool, state__in=ON_THE_WAY)
    arriving_in_seconds = arrivals(coming, warm_up_seconds(pool), now, most=ahead + 1)
    if len(arriving_in_seconds) <= ahead:
        return None
    return round(arriving_in_seconds[ahead] + past_launches().typical_seconds(run.game.slug, "deploy", 2.0), DIGITS)


def _created_in_seconds(run: Run, now: datetime) -> float | None:
    since = run.sandbox.requested_at if run.sandbox else run.created_at
    return _left_seconds(run, "acquire", since, 0, now)


def _deployed_in_seconds(run: Run, now: datetime) -> float | None:
    measured = {"bootstrap": run.bootstrap_ms, "restore": run.restore_ms}
    step = next((name for name, ms in measured.items() if ms is None), "start")
    return _left_seconds(run, step, run.acquired_at or run.created_at, sum(ms or 0 for ms in measured.values()), now)


def _left_seconds(run: Run, step: str, since: datetime, measured_ms: int, now: datetime) -> float | None:
    """`measured_ms`: of the time since then, what belongs to the steps before this one."""
    elapsed_ms = max(0.0, (now - since).total_seconds() * 1000)
    found = progress_at(step, usual_ms(run), elapsed_ms=elapsed_ms, in_step_ms=max(0.0, elapsed_ms - measured_ms))
    return None if found.is_late else round(found.left_seconds, DIGITS)
