"""A client of the sandbox orchestrator: launch games, follow and end them, look after the pools.

with Arcade("http://127.0.0.1:8000") as arcade:
    run = arcade.launch("snake").wait()
    print(run.play_url)
"""

from arcade_client.async_client import AsyncArcade, AsyncPlan, AsyncPool, AsyncRun, AsyncSandbox, AsyncWebhook
from arcade_client.client import Arcade, Plan, Pool, Run, Sandbox, Webhook
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
from arcade_client.shapes import Applied, Delivery, Event, Game, Limits, RunEvent, Status, Usage
from arcade_client.webhook_signatures import verify_webhook

__all__ = [
    "Applied",
    "Arcade",
    "ArcadeError",
    "AsyncArcade",
    "AsyncPlan",
    "AsyncPool",
    "AsyncRun",
    "AsyncSandbox",
    "AsyncWebhook",
    "Changed",
    "Conflict",
    "ConnectionFailed",
    "Delivery",
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
    "Sandbox",
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
