"""What is counted of launches, streams and games that are played, in each process."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from django.db import transaction

from pools.meters import LAUNCH_SECONDS, QUICK_SECONDS, Counter, Gauge, Histogram
from runs.models import LaunchMode, Run, ServedBy
from runs.reasons import RefusalCode, RunEndCode

STAGED, DEPLOYED, WAITED, COLD, FALLBACK = SERVED = ("staged", "deployed", "waited", "cold", "cold_fallback")
IN_TIME, LATE, FAILED, REFUSED = WARM_OUTCOMES = ("in_time", "late", "failed", "refused")
PROMISED_MS = 300
PHASES = ("acquire", "bootstrap", "restore", "start")
PASSED, LEFT = "passed", "left"
PROXY_OUTCOMES = (
    PASSED, LEFT, "not_there", "over", "starting", "back_soon", "busy", "too_many", "dead", "slow", "locked", "cut_off",
    "leads_out", "refused",
)  # fmt: skip
FLEET, RUN = TOPICS = ("fleet", "run")

LAUNCHES = Histogram(
    "launch_seconds",
    "From when a launch had a thread (request_wait_seconds) until its game could be played, by how the launch was "
    "served: staged (from the pool, the game ran already), deployed (from the pool at once, the game had to be put "
    "in), waited (for a sandbox of the pool), cold (as asked), cold_fallback (cold, because the pool had none).",
    LAUNCH_SECONDS,
    served=SERVED,
)
WARM_LAUNCHES = Counter(
    "warm_launches_total",
    "Launches that asked for a warm sandbox, each once by what came of it: its game could be played within 300 ms "
    "(in_time) or later (late, also when it was ended before that), it failed, or it was refused for want of a "
    "sandbox.",
    outcome=WARM_OUTCOMES,
)
PHASE_SECONDS = Histogram(
    "launch_phase_seconds", "The parts of launches, which add up to the whole.", LAUNCH_SECONDS, phase=PHASES
)
REFUSALS = Counter(
    "launch_refusals_total", "Launches that were refused, by the code of the problem.", code=RefusalCode.values
)
ENDS = Counter("run_ends_total", "Runs that are over, by the reason's code.", code=RunEndCode.values)
STREAMS = Gauge("streams_open", "Readers of logs and events that are connected now.", topic=TOPICS)
READ_DELAY = Histogram(
    "event_read_delay_seconds", "From when an event was written until it was handed to its readers.", QUICK_SECONDS
)
PROXIED = Counter("proxy_requests_total", "Requests to games, by what came of them.", outcome=PROXY_OUTCOMES)
FIRST_BYTE = Histogram(
    "proxy_first_byte_seconds",
    "From a request to a game until its answer began, of those that were passed on.",
    QUICK_SECONDS,
)


def how_served(run: Run) -> str:
    """How a launch was served whose game is ready now. The sandbox of one that was served at the click is not looked
    at: not all of its row was read."""
    if run.served_by == ServedBy.COLD:
        return COLD
    if run.served_by == ServedBy.COLD_FALLBACK:
        return FALLBACK
    if not run.deploy_attempts:
        return STAGED
    ready_at = run.sandbox.ready_at if run.sandbox is not None else None
    return WAITED if ready_at is not None and ready_at > run.created_at else DEPLOYED


def launched(run: Run, timings: Mapping[str, int]) -> None:
    """A game can be played. After the commit."""
    LAUNCHES.note(timings["total_ms"] / 1000, how_served(run))
    if asked_for_warm(run):
        WARM_LAUNCHES.add(IN_TIME if timings["total_ms"] <= PROMISED_MS else LATE)
    for phase in PHASES:
        PHASE_SECONDS.note(timings[f"{phase}_ms"] / 1000, phase)


def ended(run: Run, code: str, after_ms: int, *, has_failed: bool) -> None:
    """Counted when the transaction commits. `run` as it was before."""
    transaction.on_commit(partial(ENDS.add, code))
    if run.total_ms is None and asked_for_warm(run) and (has_failed or after_ms > PROMISED_MS):
        transaction.on_commit(partial(WARM_LAUNCHES.add, FAILED if has_failed else LATE))


def refused(code: str, *, wants_warm: bool) -> None:
    """`wants_warm`: for want of a sandbox, by a launch that asked for a warm one."""
    REFUSALS.add(code)
    if wants_warm:
        WARM_LAUNCHES.add(REFUSED)


def asked_for_warm(run: Run) -> bool:
    return run.mode == LaunchMode.WARM or run.served_by == ServedBy.COLD_FALLBACK
