"""The fleet over HTTP: what there is, and what happened to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from ninja import P, QueryEx, Router

from pools import clock, fleet_log
from pools.api_keys import Scope
from pools.callers import reason_given, require
from pools.census import UNSEEN, census
from pools.console import plans
from pools.described import REASON_CODES, described
from pools.leases import LeaseHeld, LeaseLost
from pools.models import Mode, Pool, State
from pools.outcomes import breaker_of
from pools.pool_schemas import PlanAppliedOut, PlanApplyIn
from pools.problems import Problem
from pools.schemas import FleetEventsOut, PlanOut, StatusOut
from pools.shared import Shared
from pools.turn.decisions import Decision
from pools.turn.preview import explain_plan, plain
from pools.turn.reconciler import PlanChanged

router = Router(tags=["fleet"])

Limit = QueryEx[int, P(ge=1, le=fleet_log.PAGE, description="Lines at the most")]
After = QueryEx[
    int | None, P(ge=0, le=fleet_log.HIGHEST_CURSOR, description="Lines beyond this number; without it, the last ones")
]
Wait = QueryEx[
    int, P(ge=0, le=fleet_log.HIGHEST_CURSOR, description="Seconds to wait when there are none yet, 30 at the most")
]
BUSY_SECONDS = 10
PLACES = ("most", "taken", "free", "sandboxes", "orphans", "others")
COUNTED = (State.READY, State.REQUESTED, State.CREATING, State.STAGING, State.IN_USE, State.DELETING)


@router.get(
    "/pool/status",
    response=StatusOut,
    exclude_unset=True,
    summary="Every sandbox, by pool and state",
    openapi_extra=described(),
)
def get_pool_status(request: HttpRequest) -> dict[str, Any]:
    """It may be a second old: it is counted once a second, however many ask."""
    return STATUS.get()


def _status() -> dict[str, Any]:
    found = census()
    fleet = found.fleet
    return {
        **found.in_pools._asdict(),
        "pool_started": any(pool.mode == Mode.ACTIVE for pool in found.pools),
        **{runtime: {"ready": has.ready, "creating": has.creating} for runtime, has in found.of_runtime.items()},
        "pools": {pool.name: _pool(pool, found.of_pool[pool.pk]) for pool in found.pools},
        "sandboxes": _by_state(found.all),
        "total_sandboxes": found.total,
        "max_total_sandboxes": settings.MAX_TOTAL_SANDBOXES,
        "places": {name: getattr(found.places, name) for name in PLACES},
        "maintenance": fleet.maintenance,
        "turned_at": fleet.turned_at,
        "listing_code": fleet.listing_code,
        "listing_error": fleet.listing_error,
    }


STATUS = Shared(_status)


def _by_state(counts: Counter[str]) -> dict[str, int]:
    return {state: counts[state] for state in (*(state.value for state in COUNTED), UNSEEN)}


def _pool(pool: Pool, counts: Counter[str]) -> dict[str, Any]:
    now = clock.now()
    return {
        "runtime": pool.runtime,
        "mode": pool.mode,
        "is_wanted": pool.wanted(now),
        **_by_state(counts),
        "target_ready": pool.target_ready,
        "min_ready": pool.min_ready,
        "max_ready": pool.max_ready,
        "last_acquired_at": pool.last_acquired_at,
        "breaker": breaker_of(pool.runtime, now),
    }


@router.get(
    "/pool/plan",
    response=PlanOut,
    summary="Preview of the next turn, and why",
    openapi_extra=described(scope=Scope.READ),
)
def get_plan(request: HttpRequest) -> dict[str, Any]:
    """For keys with `read`, and operators who are signed in. It goes by the last listing: nothing is asked of
    DigitalOcean, and nothing is done."""
    require(request, Scope.READ)
    return explain_plan(clock.now())


@router.post(
    "/pool/plan/apply",
    response={200: PlanAppliedOut, 202: PlanAppliedOut},
    summary="Take a turn now that does exactly what was previewed",
    openapi_extra=described("plan_changed", "turn_busy", *REASON_CODES, scope=Scope.OPERATE),
)
def apply_plan(request: HttpRequest, body: PlanApplyIn) -> tuple[int, dict[str, Any]]:
    """For keys with `operate`, and operators who may act. The turn lists the cloud anew: when it would decide anything
    else than the plan of that digest, it does nothing (409, `plan_changed`). 202: it is still at work, and goes on;
    the orchestrator log says what came of it."""
    actor, reason = require(request, Scope.OPERATE), reason_given(body.reason)
    decisions: Sequence[Decision] = ()
    is_done = True
    try:
        decisions = plans.apply_plan(body.digest, actor=actor, reason=reason).decisions
    except PlanChanged as changed:
        raise Problem(
            409, "By now a turn would do something else.", code="plan_changed", digest=changed.digest
        ) from None
    except (LeaseHeld, LeaseLost):
        detail = "Another turn is being taken and takes its time."
        raise Problem(503, detail, code="turn_busy", retry_after_seconds=BUSY_SECONDS) from None
    except plans.StillAtWork:
        is_done = False
    answer = {"digest": body.digest, "is_done": is_done, "decisions": [plain(each) for each in decisions]}
    return 200 if is_done else 202, answer


@router.get(
    "/orchestrator/logs",
    response=FleetEventsOut,
    summary="The orchestrator log",
    openapi_extra=described("invalid"),
)
def list_log_lines(
    request: HttpRequest,
    limit: Limit = 50,
    after: After = None,
    wait: Wait = 0,
) -> dict[str, Any]:
    """Creates, deletes and decisions, each with its reason, oldest first. As a stream: `/api/orchestrator/stream`
    (server-sent events) or `/ws/orchestrator/` (WebSocket)."""
    return fleet_log.page(after, limit)
