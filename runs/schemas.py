"""The shapes of the API: launches, runs, events, games."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from django.db.models import TextChoices
from ninja import Schema
from pydantic import ConfigDict, Field, StrictBool, StrictStr

from pools.keyset import Moment, PageAsked, PageOut
from pools.schemas import NO_NUL, example, example_of
from runs import labels
from runs.live.until import MOST_SECONDS, WaitFor
from runs.models import AskedMode, LaunchMode, OnMiss, RunState
from runs.reasons import RunEndCode, RunNoticeCode, StatusCode, WaitingCode
from runs.words import TYPES, Status

SITE = "https://arcade.example.com"
RUN_ID = "5d0e5d4c-9d2a-4f0b-8c0e-7f2b1a3c4d5e"
TIMES_MS = {"acquire_ms": 12, "bootstrap_ms": 0, "restore_ms": 31}
OVER = {
    "status": "completed",
    "state": "ended",
    "end_code": "ended_by_api",
    "end_reason": "Ended through the API.",
    "ingress_url": None,
    "ended_at": "2026-11-27T10:04:10Z",
    "duration_ms": 250_000,
}


LabelName = Annotated[str, Field(pattern=labels.NAME_PATTERN)]
LabelValue = Annotated[StrictStr, Field(pattern=labels.VALUE_PATTERN)]
LabelAsked = Annotated[str, Field(pattern=labels.ASKED_PATTERN)]


def _any_of(codes: type[TextChoices]) -> str:
    return ", ".join(codes.values)


class LaunchIn(Schema):
    """The game to launch, from its snapshot or (slower) its source."""

    model_config = ConfigDict(extra="forbid") | example({"game": "snake", "use_snapshot": True})

    game: Annotated[StrictStr, Field(min_length=1, max_length=100, pattern=NO_NUL, examples=["snake"])] = "snake"
    use_snapshot: StrictBool = True
    on_miss: OnMiss | None = Field(
        None,
        description="What a warm launch does when no warm sandbox is ready: start `cold`, `wait` in the pool's line "
        "(it never starts cold), or `fail` (429, `pool_empty`). Null: the pool's own rule. No effect on a cold launch",
    )
    labels: dict[LabelName, LabelValue] = Field(
        {},
        max_length=labels.MOST,
        description="Names with values, to find the run again: up to 63 characters each",
        json_schema_extra={"additionalProperties": False},
    )


class LaunchAnyIn(LaunchIn):
    """The same, and how: `auto` is warm where a pool serves launches, else cold."""

    model_config = ConfigDict(extra="forbid") | example({"game": "snake", "mode": "warm", "on_miss": "cold"})

    mode: AskedMode = AskedMode.AUTO


class TimingsOut(Schema):
    """A launch's time in milliseconds. The four parts add up to the total; null is not known yet."""

    model_config = example(TIMES_MS | {"start_ms": 0, "total_ms": 43})

    acquire_ms: int | None
    bootstrap_ms: int | None
    restore_ms: int | None
    start_ms: int | None
    total_ms: int | None


class WaitingForOut(Schema):
    """What a launch waits for right now."""

    model_config = example(
        {"code": "pool", "position": 2, "expected_seconds": 31.5, "detail": "A warm sandbox: second in line."}
    )

    code: WaitingCode = Field(description=f"{_any_of(WaitingCode)}")
    position: int | None = Field(description="Its place in the line, from 1; null where there is no line")
    expected_seconds: float | None = Field(description="Until the game runs; null when nobody knows")
    detail: str = Field(description="The same as a sentence")


class RunOut(Schema):
    """One launch, from the click to the end."""

    model_config = example(
        {
            "run_id": RUN_ID,
            "status": "running",
            "state": "running",
            "game": "snake",
            "type": "warm",
            "mode": "warm",
            "asked_mode": "auto",
            "on_miss": None,
            "served_by": "pool",
            "notice_code": "",
            "notice": "",
            "waiting_for": None,
            "use_snapshot": True,
            "deployed_from": "staged",
            "sandbox": "sandbox-3fa9c1d2",
            "app_id": "4f6c71e2-1e90-4762-9fee-6cc4a0a9f2cf",
            "end_code": "",
            "end_reason": "",
            "stream_url": f"{SITE}/api/stream/{RUN_ID}",
            "events_url": f"{SITE}/api/runs/{RUN_ID}/events",
            "sandbox_url": f"{SITE}/api/sandbox/{RUN_ID}",
            "page_url": f"{SITE}/runs/{RUN_ID}/",
            "play_url": f"https://play.example.com/play/{RUN_ID}/",
            "ingress_url": f"https://play.example.com/play/{RUN_ID}/",
            "created_at": "2026-11-27T10:00:00Z",
            "ready_at": "2026-11-27T10:00:00.043Z",
            "expires_at": "2026-11-27T10:10:00Z",
            "ended_at": None,
            **TIMES_MS,
            "duration_ms": 43,
        }
    )

    run_id: UUID
    status: Status = Field(description="creating, running, completed or failed: the first demo's words")
    state: RunState = Field(description="The same in more detail")
    game: str
    type: str = Field(description=f"How it was asked for, as the first demo has it: {', '.join(TYPES)}")
    mode: LaunchMode = Field(description="warm or cold: what it became, if it was asked for as `auto`")
    asked_mode: AskedMode = Field(description="How it was asked for")
    on_miss: OnMiss | None = Field(description="What it was to do when no warm sandbox is ready; null: its pool's rule")
    labels: dict[str, str] = Field(description="What its client put on it")
    served_by: str = Field(description="pool, cold_fallback or cold; empty while it is not decided")
    notice_code: str = Field(description=f"Why it was not served as asked, else empty: {_any_of(RunNoticeCode)}")
    notice: str = Field(description="The same as a sentence")
    waiting_for: WaitingForOut | None = Field(
        None, description="What it waits for before it runs, told of a single run; null in lists, and once it runs"
    )
    use_snapshot: bool
    deployed_from: str = Field(description="staged, snapshot or source; empty before it is deployed")
    sandbox: str | None = Field(description="The name of its sandbox")
    app_id: str | None = Field(description="Its sandbox's id at DigitalOcean")
    end_code: str = Field(description=f"Why it is over, empty while it is not: {_any_of(RunEndCode)}")
    end_reason: str = Field(description="The same as a sentence")
    stream_url: str = Field(description="Its events, as server-sent events")
    events_url: str = Field(description="Its events, page by page or waiting for the next")
    sandbox_url: str = Field(description="This answer, again; DELETE ends the run")
    page_url: str = Field(description="Its page, for people")
    play_url: str = Field(description="The game; it answers once the run is running")
    ingress_url: str | None = Field(description="The game while the run is running, else null")
    created_at: datetime
    ready_at: datetime | None
    expires_at: datetime | None
    ended_at: datetime | None
    timings: TimingsOut
    acquire_ms: int | None = Field(description="As in `timings`, where the first demo has it; so are the next two")
    bootstrap_ms: int | None
    restore_ms: int | None
    duration_ms: int | None = Field(description="From the launch to its end, or to now; null while it starts")


class EndedOut(RunOut):
    """A run that is over."""

    model_config = example(example_of(RunOut) | OVER)

    message: str = Field(examples=["The run is over, and its sandbox is deleted."])


class LaunchedOut(RunOut):
    """A launch's answer: the run, and what one acts on it with."""

    message: str = Field(description="What happens now, as a sentence", examples=["Snake is running."])
    token: str = Field(
        description="Ends the run: `Authorization: Bearer …`. It is told here only", examples=["run_0f8e2a4b6c1d"]
    )


class TransitionOut(Schema):
    """One change of a run."""

    model_config = example(
        {"at": "2026-11-27T10:00:00.043Z", "state": "running", "code": "ready", "sentence": "Snake is running."}
    )

    at: datetime
    state: str = Field(description="acquiring, deploying, running, ended or failed: what it was from then on")
    code: str = Field(description=f"What happened: {_any_of(StatusCode)}, ready, or why it is over; empty when unknown")
    sentence: str = Field(description="The same for people")


class CostOut(Schema):
    """What the run's sandbox has been billed with, its time in the pool included: an estimate by list prices."""

    model_config = example({"usd": 0.000893, "usd_per_hour": 0.01786})

    usd: float
    usd_per_hour: float = Field(description="While the sandbox is there; 0 once it is gone")


class RunDetailsOut(RunOut):
    """One launch with all that happened to it, and what it has cost so far."""

    transitions: list[TransitionOut]
    cost: CostOut


class WaitAsked(Schema):
    """What an answer about a run waits for, if for anything."""

    wait_for: WaitFor | None = Field(
        None, description="Answer once the run is running (or over), or settled: over. Without it, at once"
    )
    timeout: int = Field(
        MOST_SECONDS, ge=0, le=MOST_SECONDS, description="Seconds after which it is answered however it stands"
    )


class RunsAsked(PageAsked):
    """Which runs: those that are all that is said."""

    state: RunState | None = Field(None, description="Only runs in this state")
    game: str | None = Field(None, max_length=100, pattern=NO_NUL, description="Only runs of this game")
    mode: LaunchMode | None = Field(None, description="Only runs that were launched so")
    label: list[LabelAsked] = Field(
        [], max_length=labels.MOST, description="Only runs with this label, `name:value`, or `name` for any; repeatable"
    )
    created_after: Moment | None = Field(None, description="Only runs launched later than this (with a time zone)")
    created_before: Moment | None = Field(None, description="Only runs launched earlier than this (with a time zone)")


class RunsOut(PageOut):
    """One page of the runs, newest first."""

    runs: list[RunOut]


class ActIn(Schema):
    """Why: operators have to say, and it is written to the log."""

    model_config = ConfigDict(extra="forbid") | example({"reason": "It hangs."})

    reason: Annotated[StrictStr, Field(max_length=200, pattern=NO_NUL)] = ""


NO_REASON = ActIn()  # of a request without a body


class EventOut(Schema):
    """One line of a run, the same through every door. From `type` on, as the first demo has it."""

    model_config = example(
        {
            "seq": 7,
            "kind": "status",
            "level": "info",
            "message": "A warm sandbox was ready.",
            "data": {"code": "pool_hit"},
            "at": "2026-11-27T10:00:00.012Z",
            "type": "status",
            "run_id": RUN_ID,
            "timestamp": "2026-11-27T10:00:00.012Z",
            "status": "creating",
        }
    )

    seq: int
    kind: str = Field(description="log, status, progress, ready or end")
    level: str = Field(description="info, warning or error")
    message: str
    data: dict[str, Any]
    at: str
    type: str = Field(description="As `kind`")
    run_id: str
    timestamp: str = Field(description="As `at`")
    status: Status | None = Field(None, description="Of `status` and `end`")
    ingress_url: str | None = Field(None, description="Of `ready`; so are the next three")
    bootstrap_ms: int | None = None
    restore_ms: int | None = None
    total_ms: int | None = None
    duration_ms: int | None = Field(None, description="Of `end`: from the launch on")


class EventsOut(Schema):
    events: list[EventOut]
    after: int = Field(description="The number to ask with next", examples=[7])


class GameOut(Schema):
    """One game that can be launched."""

    model_config = example(
        {
            "slug": "snake",
            "title": "Snake",
            "tagline": "Eat and grow.",
            "description": "The classic.",
            "how_to_play": "Arrow keys.",
            "runtime": "python",
            "page_url": "https://arcade.example.com/games/snake/",
            "source_url": "https://arcade.example.com/source/snake.git",
            "has_pool": True,
            "ready_now": True,
        }
    )

    slug: str
    title: str
    tagline: str
    description: str
    how_to_play: str
    runtime: str
    page_url: str
    source_url: str = Field(description="What `git clone` is given to have its source")
    ready_now: bool = Field(description="Whether a warm launch would be played at once, as of the last second")
    has_pool: bool = Field(description="Whether a pool keeps sandboxes of its runtime warm")


class CountsOut(Schema):
    """Runs by how they were asked for."""

    model_config = example({"cold": 1, "warm": 2, "snapshot": 0})

    cold: int
    warm: int
    snapshot: int = Field(description="None: a launch from a snapshot is a cold or a warm one")


class ActiveOut(CountsOut):
    total: int = Field(examples=[3])


class PoolsOut(Schema):
    model_config = example({"ready": 2, "creating": 1, "in_use": 2})

    ready: int
    creating: int
    in_use: int


class RateOut(Schema):
    model_config = example({"used": 14, "limit": 30, "reset_in_seconds": 1210})

    used: int = Field(description="Launches within the last hour")
    limit: int
    reset_in_seconds: int = Field(description="Until the first of them counts no more; 0 without any")


class OverviewOut(Schema):
    active: list[RunOut] = Field(description="The newest first, 50 at the most")
    active_counts: ActiveOut = Field(description="Everybody's")
    pool: PoolsOut
    rate: RateOut


class DeletedOut(RunOut):
    """A run that is over."""

    model_config = example(example_of(RunOut) | OVER)

    deleted_at: datetime = Field(description="As `ended_at`", examples=[OVER["ended_at"]])
    reason: str = Field(description="As `end_reason`", examples=[OVER["end_reason"]])


class HistoryOut(Schema):
    deleted: list[DeletedOut] = Field(description="The last one first")
    count: int = Field(examples=[1])


class AverageTimesOut(Schema):
    """From the click to the game, in milliseconds, of the newest launches; null without any."""

    model_config = example({"cold_ms": 41_200, "warm_ms": 62, "snapshot_ms": None})

    cold_ms: int | None
    warm_ms: int | None
    snapshot_ms: None


class StatisticsOut(Schema):
    total_runs: int = Field(examples=[3])
    by_type: CountsOut
    avg_times: AverageTimesOut
    pool_hit_rate: float = Field(
        description="The share of warm launches that found a sandbox ready, 0 to 1", examples=[0.97]
    )
    since: datetime = Field(description="Launches before are not counted")


class MostOut(Schema):
    model_config = example({"max_cold": 3, "max_warm": 3, "max_total": 6, "max_per_hour": 30})

    max_cold: int
    max_warm: int
    max_total: int
    max_per_hour: int


class UseOut(Schema):
    """One limit of whoever asks, and how much of it is used."""

    model_config = example(
        {
            "limit": "MAX_RUNS_PER_HOUR_PER_CLIENT",
            "most": 12,
            "used": 3,
            "remaining": 9,
            "window_seconds": 3600,
            "reset_in_seconds": 1210,
        }
    )

    limit: str = Field(description="Its name: as in a 429, and in `RateLimit`")
    most: int
    used: int
    remaining: int
    window_seconds: int | None = Field(description="Launches within so many seconds; null for those that are not over")
    reset_in_seconds: int = Field(description="Until one of them counts no more; 0 without any")


class SpentOut(Schema):
    model_config = example({"most": 5.0, "used": 0.41})

    most: float
    used: float = Field(description="Of the last 24 hours' launches; of those that are on, until their time is up")


class LimitsOut(Schema):
    active: ActiveOut
    rate: RateOut
    limits: MostOut
    yours: list[UseOut] = Field(description="Each limit that a launch of whoever asks meets")
    usd_a_day: SpentOut | None = Field(description="What a key may spend in a day; null for others")
