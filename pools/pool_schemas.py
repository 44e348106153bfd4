"""Pools in the API: their shapes, and those of the acts on them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from ninja import Schema
from pydantic import ConfigDict, Field, StrictBool, StrictInt, StrictStr

from pools.models import Mode, OnEmpty, Stage
from pools.schemas import COUNTS, NO_NUL, BreakerOut, DecisionOut, SandboxOut, example

REASON_CHARACTERS = 200
UNCHANGED: Any = None  # a setting that was not sent


def _needed(shape: dict[str, Any]) -> None:
    """Who may act at all is looked at first, so a reason is asked for later than the fields."""
    del shape["default"]
    shape.update({"minLength": 1, "pattern": r"^[^\x00]*[^\s\x00][^\x00]*$"})


Reason = Annotated[
    StrictStr,
    Field(
        max_length=REASON_CHARACTERS,
        pattern=NO_NUL,
        description="Why: it is written to the log",
        json_schema_extra=_needed,
    ),
]


def _act(fields: dict[str, Any], *needed: str) -> ConfigDict:
    """The shape of an act, with its example."""
    return ConfigDict(extra="forbid", json_schema_extra={"example": fields, "required": [*needed, "reason"]})


class PoolAct(StrEnum):
    """What can be done with a pool."""

    PAUSE = "pause"
    RESUME = "resume"
    DRAIN = "drain"
    RECYCLE = "recycle"
    PRIME = "prime"
    CLOSE_BREAKER = "close-breaker"


class ReasonIn(Schema):
    """Why it is done."""

    model_config = _act({"reason": "The fair opens."})

    reason: Reason = ""


class PoolChangeIn(Schema):
    """The settings to change; the others stay as they are."""

    model_config = _act({"target_ready": 2, "max_ready": 3, "reason": "The fair opens."})

    target_ready: StrictInt = Field(UNCHANGED, description="Ready sandboxes wanted while there is demand")
    min_ready: StrictInt = Field(UNCHANGED, description="Ready sandboxes kept even when nobody plays")
    max_ready: StrictInt = Field(UNCHANGED, description="Never more than this ready or on the way")
    max_concurrent_creates: StrictInt = Field(UNCHANGED, description="Never more than this being created")
    idle_timeout_seconds: StrictInt = Field(UNCHANGED, description="So long after a launch there is demand")
    scale_down_delay_seconds: StrictInt = Field(UNCHANGED, description="Between two retirements of idle sandboxes")
    cooldown_after_acquire_seconds: StrictInt = Field(UNCHANGED, description="Wait so long after a launch to refill")
    max_warm_age_seconds: StrictInt = Field(UNCHANGED, description="Ready ones that are older are replaced")
    create_timeout_seconds: StrictInt = Field(UNCHANGED, description="Creates that take longer are given up")
    on_empty: OnEmpty = Field(UNCHANGED, description="What a launch gets when none is ready: cold or fail")
    autopilot: StrictBool = Field(UNCHANGED, description="Whether each turn sets the recommended `target_ready`")
    autopilot_step: StrictInt = Field(UNCHANGED, description="It never moves the target further at once")
    autopilot_usd_a_month: StrictInt = Field(
        UNCHANGED, description="It keeps no more ready than that would pay for a month; 0: no limit of its own"
    )
    reason: Reason = ""

    def changes(self) -> dict[str, Any]:
        """The settings that were sent."""
        return self.model_dump(mode="json", exclude_unset=True, exclude={"reason"})


class PoolCountsOut(Schema):
    model_config = example(COUNTS)

    ready: int = Field(description="Known to be well since the orchestrator's start")
    unseen: int = Field(description="Ready before, and to be looked at, or looked at in vain")
    requested: int
    creating: int
    staging: int
    in_use: int
    deleting: int


class PoolRowOut(Schema):
    """A pool: how it is set and how it stands."""

    model_config = example(
        {
            "name": "python",
            "etag": '"3fa9c1d20b7c6f3e"',
            "runtime": "python",
            "image": "do-community/sandbox-python:latest",
            "region": "syd",
            "size": "apps-s-1vcpu-1gb",
            "stage": "started",
            "mode": "active",
            "target_ready": 2,
            "min_ready": 0,
            "max_ready": 3,
            "max_concurrent_creates": 1,
            "idle_timeout_seconds": 600,
            "scale_down_delay_seconds": 30,
            "cooldown_after_acquire_seconds": 0,
            "max_warm_age_seconds": 1800,
            "create_timeout_seconds": 600,
            "on_empty": "cold",
            "autopilot": False,
            "autopilot_step": 2,
            "autopilot_usd_a_month": 0,
            "is_wanted": True,
            "last_acquired_at": "2026-11-27T10:00:00Z",
            "usd_per_hour": 0.0893,
            "idle_usd_per_hour": 0.03572,
        }
    )

    name: str
    etag: str = Field(description="For `If-Match` and `If-None-Match`: another one once somebody has set something")
    runtime: str
    image: str
    region: str
    size: str
    stage: Stage
    mode: Mode
    target_ready: int
    min_ready: int
    max_ready: int
    max_concurrent_creates: int
    idle_timeout_seconds: int
    scale_down_delay_seconds: int
    cooldown_after_acquire_seconds: int
    max_warm_age_seconds: int
    create_timeout_seconds: int
    on_empty: OnEmpty
    autopilot: bool = Field(description="Whether each turn sets the recommended `target_ready`")
    autopilot_step: int
    autopilot_usd_a_month: int
    is_wanted: bool = Field(description="Whether somebody acquired from it within its idle timeout")
    last_acquired_at: datetime | None
    counts: PoolCountsOut
    breaker: BreakerOut
    usd_per_hour: float = Field(description="What all of its sandboxes cost, by list prices")
    idle_usd_per_hour: float = Field(description="Of that, those that are ready and wait")


class PoolListOut(Schema):
    pools: list[PoolRowOut]


class RecommendedOut(Schema):
    """The size that would have served nearly all launches of the last hours at once."""

    model_config = example({"target_ready": 2, "reason": "at most 2 launches within one start"})

    target_ready: int
    reason: str


class PoolDetailsOut(PoolRowOut):
    """A pool, what the next turn would do with it, and the size that it should have."""

    next_steps: list[DecisionOut]
    recommended: RecommendedOut


class PoolActedOut(PoolRowOut):
    """A pool after an act."""

    message: str = Field(description="What was done", examples=["Pool python: paused."])


class PlanApplyIn(Schema):
    """Which plan, and why."""

    model_config = _act({"digest": "3fa9c1d20b7c6f3e", "reason": "Looks right."}, "digest")

    digest: StrictStr = Field(pattern=r"^[0-9a-f]{16}$", description="`digest` of the plan")
    reason: Reason = ""


class PlanAppliedOut(Schema):
    """What a turn did that was asked for by its plan."""

    model_config = example({"digest": "3fa9c1d20b7c6f3e", "is_done": True})

    digest: str
    is_done: bool = Field(description="false while it is still at work")
    decisions: list[DecisionOut] = Field(description="What it did; empty while it is at work")


class RetiredOut(SandboxOut):
    """A sandbox that goes."""

    message: str = Field(description="What was done", examples=["sandbox-3fa9c1d2 goes."])


class ForceDeleteIn(Schema):
    """Its name once more, and why."""

    model_config = _act({"confirm": "sandbox-3fa9c1d2", "reason": "It does not go."}, "confirm")

    confirm: StrictStr = Field(max_length=64, description="The sandbox's name")
    reason: Reason = ""


class ForceDeletedOut(RetiredOut):
    """A sandbox that is deleted by force."""

    fate: str = Field(
        description="deleted, ordered (the next turn sends it), delayed (it is repeated) or gone", examples=["ordered"]
    )
