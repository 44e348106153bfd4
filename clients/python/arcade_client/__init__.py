"""A client of the sandbox orchestrator: launch games, follow and end them, look after the pools.

with Arcade("http://127.0.0.1:8000") as arcade:
    run = arcade.launch("snake").wait()
    print(run.play_url)
"""

from arcade_client.async_client import AsyncArcade, AsyncPlan, AsyncPool, AsyncRun
from arcade_client.client import Arcade, Plan, Pool, Run
from arcade_client.errors import (
    ArcadeError,
    Changed,
    Conflict,
    ConnectionFailed,
    Forbidden,
    Invalid,
    LimitReached,
    Maintenance,
    NoPool,
    NotFound,
    NotYours,
    PlanChanged,
    PoolEmpty,
    Problem,
    RunOver,
    SignatureInvalid,
    TooMany,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    UnknownGame,
    WaitedTooLong,
)
from arcade_client.shapes import Applied, Event, Game, Limits, RunEvent, Status, Usage, Webhook
from arcade_client.webhook_signatures import verify_webhook

__all__ = [
    "Applied",
    "Arcade",
    "ArcadeError",
    "AsyncArcade",
    "AsyncPlan",
    "AsyncPool",
    "AsyncRun",
    "Changed",
    "Conflict",
    "ConnectionFailed",
    "Event",
    "Forbidden",
    "Game",
    "Invalid",
    "LimitReached",
    "Limits",
    "Maintenance",
    "NoPool",
    "NotFound",
    "NotYours",
    "Plan",
    "PlanChanged",
    "Pool",
    "PoolEmpty",
    "Problem",
    "Run",
    "RunEvent",
    "RunOver",
    "SignatureInvalid",
    "Status",
    "TooMany",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "UnknownGame",
    "Usage",
    "WaitedTooLong",
    "Webhook",
    "verify_webhook",
]
