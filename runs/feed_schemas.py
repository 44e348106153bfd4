"""The feed of events in the API: its shapes."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from ninja import Schema
from pydantic import Field

from pools.fleet_log import HIGHEST_CURSOR
from pools.schemas import example
from runs.event_types import EventType, names_pattern

MOST = 500  # events of a page
USUAL = 100
TYPES = ", ".join(EventType.values)


class FeedAsked(Schema):
    """Which events, and from where on."""

    after: int | None = Field(
        None, ge=0, le=HIGHEST_CURSOR, description="Events beyond this number; without it, the last ones"
    )
    kind: Annotated[str, Field(json_schema_extra={"pattern": names_pattern()})] | None = Field(
        None,
        description=f"Only of these types, with commas: `run.ended`, or `run` for all about runs. There are {TYPES}",
    )
    run: UUID | None = Field(None, description="Only of this run")
    pool: str | None = Field(None, max_length=40, pattern=r"^[-a-zA-Z0-9_]+$", description="Only of this pool")
    limit: int = Field(USUAL, ge=1, le=MOST, description="Events at the most")
    wait: int = Field(
        0,
        ge=0,
        le=HIGHEST_CURSOR,
        description="Seconds to wait when there are none yet, 30 at the most; for programs with a key",
    )


class FeedEventOut(Schema):
    """One change, as programs get it: in this feed and in webhooks."""

    model_config = example(
        {
            "seq": 4711,
            "id": "evt_4711",
            "type": "run.ended",
            "code": "time_up",
            "at": "2026-11-27T10:12:00Z",
            "level": "info",
            "message": "run 5d0e5d4c: snake ended: Its time was up.",
            "run_id": "5d0e5d4c-9d2a-4f0b-8c0e-7f2b1a3c4d5e",
            "sandbox": "sandbox-3fa9c1d2",
            "pool": "python",
            "data": {"game": "snake", "state": "ended", "code": "time_up", "duration_ms": 600123},
        }
    )

    seq: int = Field(description="Its number: each event has a higher one than those before")
    id: str = Field(description="Its name; the same whichever way it comes")
    type: EventType
    code: str = Field(description="Why, as a code; empty where there is none")
    at: str
    level: str
    message: str = Field(description="The same as a sentence")
    run_id: UUID | None
    sandbox: str = Field(description="The name of the sandbox; empty where it is about none")
    pool: str
    data: dict[str, Any] = Field(description="What was measured, by type: docs/webhooks.md")


class FeedOut(Schema):
    events: list[FeedEventOut] = Field(description="The oldest first")
    after: int = Field(description="The number to ask with next")
    has_more: bool = Field(description="Whether to ask at once: `events` may be short, or empty, all the same")
