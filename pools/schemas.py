"""The fleet in the API: its shapes."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from ninja import Schema
from pydantic import ConfigDict, Field

from pools.keyset import PageAsked, PageOut
from pools.models import State

NO_NUL = r"^[^\x00]*$"  # which PostgreSQL takes in no text


def example(fields: dict[str, Any]) -> ConfigDict:
    """What a shape's description shows of it."""
    return ConfigDict(json_schema_extra={"example": fields})


def example_of(shape: type[Schema]) -> dict[str, Any]:
    """The example of a shape that another one extends."""
    extra: Any = shape.model_config["json_schema_extra"]
    return dict(extra["example"])


COUNTS = {"ready": 2, "unseen": 0, "requested": 0, "creating": 1, "staging": 0, "in_use": 2, "deleting": 0}


class BreakerOut(Schema):
    """Creates stop for a while when too many failed in a row."""

    model_config = example({"is_open": False, "failures": 0, "retry_at": None, "explanation": ""})

    is_open: bool
    failures: int
    retry_at: datetime | None
    explanation: str


class PoolOut(Schema):
    model_config = example(
        {
            "runtime": "python",
            "mode": "active",
            "is_wanted": True,
            **COUNTS,
            "target_ready": 2,
            "min_ready": 0,
            "max_ready": 3,
            "last_acquired_at": "2026-11-27T10:00:00Z",
        }
    )

    runtime: str
    mode: str = Field(description="active, paused or draining")
    is_wanted: bool = Field(description="Whether somebody acquired from it within its idle timeout")
    ready: int = Field(description="Known to be well since the orchestrator's start")
    unseen: int = Field(description="Ready before, and to be looked at, or looked at in vain")
    requested: int
    creating: int
    staging: int
    in_use: int
    deleting: int
    target_ready: int
    min_ready: int
    max_ready: int
    last_acquired_at: datetime | None
    breaker: BreakerOut


class SupplyOut(Schema):
    model_config = example({"ready": 2, "creating": 1})

    ready: int
    creating: int = Field(description="On the way: requested, creating or staging")


PLACES = {"most": 6, "taken": 6, "free": 0, "sandboxes": 5, "orphans": 1, "others": 0}


class PlacesOut(Schema):
    """The places of the fleet, and what takes them."""

    model_config = example(PLACES)

    most: int = Field(description="MAX_TOTAL_SANDBOXES")
    taken: int = Field(description="The next three together")
    free: int
    sandboxes: int = Field(description="Ours that are not known to be gone")
    orphans: int = Field(description="Our apps that we have no record of, as the last turn left them")
    others: int = Field(description="Another installation's apps under our mark")


class StatusOut(Schema):
    """Every sandbox that exists, by pool and by state, against the limits. The first six are as the first demo has
    them."""

    model_config = example(
        {
            "ready": 2,
            "creating": 1,
            "in_use": 2,
            "pool_started": True,
            "python": {"ready": 2, "creating": 1},
            "sandboxes": COUNTS,
            "total_sandboxes": 5,
            "max_total_sandboxes": 6,
            "places": PLACES,
            "maintenance": False,
            "turned_at": "2026-11-27T10:00:02Z",
            "listing_code": "",
            "listing_error": "",
        }
    )

    ready: int = Field(description="Of all pools together; so are the next two")
    creating: int = Field(description="On the way: requested, creating or staging")
    in_use: int
    pool_started: bool = Field(description="Whether a pool is active")
    python: SupplyOut | None = Field(None, description="Of its pools; absent without any")
    node: SupplyOut | None = None
    pools: dict[str, PoolOut]
    sandboxes: dict[str, int] = Field(description="All that exist, cold ones included, by state")
    total_sandboxes: int
    max_total_sandboxes: int
    places: PlacesOut
    maintenance: bool
    turned_at: datetime | None = Field(description="When the last turn of the reconciler ended")
    listing_code: str = Field(description="The same as a code: unavailable, incomplete, unauthorized, …")
    listing_error: str = Field(description="Why the cloud's last listing was not complete; empty when it was")


class FleetEventOut(Schema):
    """One line of the orchestrator log."""

    model_config = example(
        {
            "seq": 4711,
            "kind": "create",
            "code": "demand",
            "level": "info",
            "message": "create 1 for pool python: 0 ready + 0 creating < target 1",
            "data": {"pool": "python"},
            "at": "2026-11-27T10:00:01Z",
        }
    )

    seq: int
    kind: str
    code: str = Field(description="Why, as a code; empty where there is none")
    level: str
    message: str
    data: dict[str, Any]
    at: str


class LogLineOut(Schema):
    """The same line, as the first demo has it."""

    model_config = example(
        {
            "timestamp": "2026-11-27T10:00:01Z",
            "level": "info",
            "message": "create 1 for pool python: 0 ready + 0 creating < target 1",
        }
    )

    timestamp: str
    level: str
    message: str


class FleetEventsOut(Schema):
    events: list[FleetEventOut]
    after: int = Field(description="The number to ask with next", examples=[4711])
    logs: list[LogLineOut] = Field(description="The events once more, as the first demo has them")
    count: int


class DecisionOut(Schema):
    """One thing that a turn would do, or would not and says why."""

    model_config = example(
        {
            "kind": "create",
            "code": "demand",
            "name": "python",
            "app_id": "",
            "reason": "0 ready + 0 creating < target 1",
        }
    )

    kind: str = Field(description="create, retire, hold, stop, …")
    code: str = Field(description="Why, as a code: idle, demand, paused, …")
    name: str = Field(description="The sandbox, app or pool that it is about; empty when it is the fleet")
    app_id: str
    reason: str = Field(description="What was seen and what was wanted, as a sentence")


ATTEMPT = {
    "what": "delete",
    "number": 4,
    "sent_at": "2026-11-27T10:41:52Z",
    "error": "DigitalOcean refuses the token.",
    "error_code": "unauthorized",
    "next_at": "2026-11-27T10:42:07Z",
    "held": "",
}


class AttemptOut(Schema):
    """What is tried again and again until it works."""

    model_config = example(ATTEMPT)

    what: str = Field(description="create, delete or look")
    number: int = Field(description="How many tries were made")
    sent_at: datetime | None = Field(description="When the last one was")
    error: str = Field(description="Why that one failed; empty while it may still work")
    error_code: str = Field(description="The same as a code")
    next_at: datetime | None = Field(description="When the next one is due; null while it is held")
    held: str = Field(description="What holds the next one up; empty when nothing does")


class WaitingOut(AttemptOut):
    """What is waited for, and with which sandbox or app."""

    model_config = example({"name": "sandbox-3fa9c1d2", "app_id": "4f6c71e2-1e90-4762-9fee-6cc4a0a9f2cf", **ATTEMPT})

    name: str
    app_id: str


class PlanOut(Schema):
    """The decisions of the next turn, if the cloud still is as it was last listed."""

    model_config = example(
        {
            "listing_code": "",
            "listing_error": "",
            "digest": "3fa9c1d20b7c6f3e",
            "summary": "1 to create; 1 being deleted (asked for again in 8 s).",
            "held_back": [],
            "waiting": [],
        }
    )

    listed_at: datetime | None = Field(description="When the last complete listing was taken; null when never")
    listing_code: str = Field(description="The same as a code")
    listing_error: str = Field(description="Why that listing is not to be relied on; empty when it is")
    digest: str = Field(description="Stands for exactly these decisions, the looks left out: they can be applied by it")
    summary: str = Field(description="How much it would create and delete, what is held and why, what is under way")
    decisions: list[DecisionOut]
    held_back: list[DecisionOut] = Field(description="Deletions that wait for an operator, because they are too many")
    waiting: list[WaitingOut] = Field(description="What was asked for before, and is tried again or waits its moment")


class SandboxesAsked(PageAsked):
    """Which sandboxes: those that are all that is said."""

    state: State | None = Field(None, description="Only sandboxes in this state")
    pool: str | None = Field(None, max_length=40, pattern=r"^[-a-zA-Z0-9_]+$", description="Only this pool's")


class DifferenceOut(Schema):
    """A field in which what is there is not what we want."""

    model_config = example({"field": "region", "wanted": "syd", "found": "ams"})

    field: str
    wanted: str
    found: str = Field(description="What DigitalOcean has, or our own record where it is about a run, pool or lifetime")


class SandboxOut(Schema):
    """One app of ours, from its request until its deletion is confirmed."""

    model_config = example(
        {
            "id": "0b7c6f3e-3c1e-4a53-9a0f-4f7f0c8e2f11",
            "name": "sandbox-3fa9c1d2",
            "pool": "python",
            "runtime": "python",
            "region": "syd",
            "size": "apps-s-1vcpu-1gb",
            "state": "in_use",
            "origin": "pool",
            "app_id": "4f6c71e2-1e90-4762-9fee-6cc4a0a9f2cf",
            "url": "https://sandbox-3fa9c1d2.ondigitalocean.app",
            "run_id": "5d0e5d4c-9d2a-4f0b-8c0e-7f2b1a3c4d5e",
            "create_code": "demand",
            "create_reason": "create 1 for pool python: 0 ready + 0 creating < target 1",
            "end_code": "",
            "end_reason": "",
            "cost_usd": 0.000893,
            "sync": "synced",
            "health": "healthy",
            "why": "",
            "differences": [],
            "attempt": None,
            "requested_at": "2026-11-27T10:00:00Z",
            "ready_at": "2026-11-27T10:00:41Z",
            "acquired_at": "2026-11-27T10:02:00Z",
            "expires_at": "2026-11-27T10:12:00Z",
            "deleted_at": None,
        }
    )

    id: UUID
    name: str
    pool: str | None = Field(description="null for one that was created for a single run")
    runtime: str
    region: str
    size: str
    state: State
    origin: str = Field(description="pool or cold")
    app_id: str | None = Field(description="App Platform's id; null before it is known")
    url: str
    run_id: UUID | None = Field(description="The run that has it, or had it")
    create_code: str
    create_reason: str = Field(description="The same as a sentence")
    end_code: str = Field(description="Why it is being deleted; empty while it is not")
    end_reason: str = Field(description="The same as a sentence")
    cost_usd: float = Field(description="What it has been billed with so far, by list prices")
    sync: str = Field(description="Is it as we wish? synced, out_of_sync, or unknown while DigitalOcean can't be seen")
    health: str = Field(description="Is it well? healthy, progressing, degraded, missing or unknown")
    why: str = Field(description="What these two rest on, as a sentence; empty when all is well")
    differences: list[DifferenceOut]
    attempt: AttemptOut | None = Field(description="What is tried with it again and again; null when nothing is")
    requested_at: datetime
    ready_at: datetime | None
    acquired_at: datetime | None
    expires_at: datetime | None
    deleted_at: datetime | None


class SandboxesOut(PageOut):
    """One page of the sandboxes, newest first."""

    sandboxes: list[SandboxOut]


class ProblemOut(Schema):
    """An error (RFC 9457)."""

    model_config = example(
        {
            "type": "https://arcade.example.com/api/problems/limit_reached",
            "title": "A limit is reached",
            "status": 429,
            "code": "limit_reached",
            "detail": "3 warm launches are being played right now, the most allowed at once.",
            "remedy": "Ask again after Retry-After; `limit` names the limit.",
            "retryable": True,
            "limit": "MAX_CONCURRENT_WARM",
            "retry_after_seconds": 240,
        }
    )

    type: str = Field(description="An address that says what the code means, and what to do")
    title: str = Field(description="The code as a sentence")
    status: int
    code: str = Field(description="What happened, for programs: one of /api/problems")
    detail: str = Field(description="What happened this time, for people")
    remedy: str = Field(description="What to do about it")
    retryable: bool = Field(description="Whether the same request may succeed when it is sent again later")
    field: str | None = Field(None, description="The first field that is not as it must be")
    errors: list[dict[str, str]] | None = Field(None, description="Which fields are not as they must be, and why")
    limit: str | None = Field(None, description="Which limit was reached")
    retry_after_seconds: int | None = Field(None, description="As the header Retry-After")
    digest: str | None = Field(None, description="The plan that is due by now")
