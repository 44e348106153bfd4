"""Facts made by hand: short to write, with the defaults that a test does not care about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from pools.cloud.records import Phase
from pools.models import Origin, State
from pools.turn.facts import AppFacts, FleetFacts, PoolFacts, SandboxFacts

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OURS = "local"


def seconds(n: float) -> timedelta:
    return timedelta(seconds=n)


def make_pool(**fields: Any) -> PoolFacts:
    return PoolFacts(**{"id": 1, "name": "python", "runtime": "python"} | fields)


def wanted_pool(**fields: Any) -> PoolFacts:
    """A pool that was acquired from twelve seconds ago."""
    return make_pool(**{"last_acquired_at": NOW - seconds(12), "last_acquired_by": "run 3fa9"} | fields)


def make_sandbox(state: State = State.READY, **fields: Any) -> SandboxFacts:
    sandbox_id: UUID = fields.pop("id", None) or uuid4()
    pooled = fields.get("origin", Origin.POOL) == Origin.POOL
    began = fields.get("requested_at", NOW - seconds(100))
    defaults: dict[str, Any] = {
        "id": sandbox_id,
        "name": f"sandbox-{sandbox_id.hex[:8]}",
        "state": state,
        "origin": Origin.POOL,
        "pool_id": 1 if pooled else None,
        "requested_at": began,
    }
    if state != State.REQUESTED:
        defaults |= {"app_id": f"app-{sandbox_id.hex[:8]}", "create_sent_at": began, "accepted_at": began}
    if state in (State.READY, State.IN_USE):
        defaults |= {"ready_at": began + seconds(30), "health_checked_at": NOW, "url": "http://127.0.0.1:1"}
    if state == State.DELETING:
        defaults |= {"delete_requested_at": NOW - seconds(5)}
    return SandboxFacts(**defaults | fields)


def app_of(sandbox: SandboxFacts, **fields: Any) -> AppFacts:
    defaults = {
        "id": sandbox.app_id or f"app-{sandbox.name[-8:]}",
        "name": sandbox.name,
        "owner": OURS,
        "phase": Phase.ACTIVE,
        "url": "http://127.0.0.1:1",
    }
    return AppFacts(**defaults | fields)


def make_fleet(
    *sandboxes: SandboxFacts, pools: tuple[PoolFacts, ...] = (), apps: tuple[AppFacts, ...] | None = (), **fields: Any
) -> FleetFacts:
    """A fleet whose listing shows every sandbox that has an app, and `apps` beside them; `apps=None`: no listing."""
    listed = None if apps is None else (*(app_of(sandbox) for sandbox in sandboxes if sandbox.app_id), *apps)
    error = "page 2 failed" if apps is None else ""
    defaults = {"pools": pools, "apps": listed, "listed_at": NOW, "listing_error": error, "max_total": 10}
    return FleetFacts(sandboxes=sandboxes, **defaults | fields)
