"""Sandboxes over HTTP: all of them page by page, one, its retirement, and its deletion by force."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Query, Router

from pools import clock
from pools.api_keys import Scope
from pools.callers import reason_given, require
from pools.console.force_delete import force_delete
from pools.console.judgements import judgements
from pools.console.operations import Refused, retire
from pools.described import REASON_CODES, described
from pools.keyset import along_index, page
from pools.models import Pool, Sandbox
from pools.occupants import Occupant, occupants
from pools.pool_schemas import ForceDeletedOut, ForceDeleteIn, ReasonIn, RetiredOut
from pools.prices import shown_usd
from pools.problems import Problem
from pools.schemas import SandboxesAsked, SandboxesOut, SandboxOut
from pools.turn.preview import tried
from pools.turn.verdict import Judgement

router = Router(tags=["fleet"])

NO_POOL = 0  # no row has this key
DESTROY = "pools.destroy_fleet"  # what the admin asks for
SANDBOX_FIELDS = (
    *("id", "name", "runtime", "region", "size", "state", "origin", "app_id", "url", "create_code", "create_reason"),
    *("end_code", "end_reason", "requested_at", "ready_at", "acquired_at", "expires_at", "deleted_at"),
)


@router.get(
    "/sandboxes",
    response=SandboxesOut,
    summary="The sandboxes, newest first",
    openapi_extra=described(
        *("invalid", "bad_cursor"),
        scope=Scope.READ,
        links={
            200: [
                ("list_sandboxes", {"cursor": "$response.body#/next_cursor"}),
                ("get_sandbox", {"name": "$response.body#/sandboxes/0/name"}),
                ("retire_sandbox", {"name": "$response.body#/sandboxes/0/name"}),
            ]
        },
    ),
)
def list_sandboxes(request: HttpRequest, asked: Query[SandboxesAsked]) -> dict[str, Any]:
    """For keys with `read`, and operators who are signed in. Those that are deleted are listed for
    SANDBOXES_KEPT_DAYS."""
    require(request, Scope.READ)
    wanted: dict[str, Any] = {}
    if asked.state is not None:
        wanted["state"] = asked.state
    if asked.pool is not None:
        wanted["pool"] = Pool.objects.filter(name=asked.pool).values_list("pk", flat=True).first() or NO_POOL
    led, rest = along_index(Sandbox.objects.select_related("pool"), wanted, indexed=("state", "pool"))
    found = page(led, rest, asked, at="requested_at")
    who, now = occupants([sandbox.pk for sandbox in found.rows]), clock.now()
    judged = judgements(found.rows, who, now)
    told = [_sandbox(each, who.get(each.pk), judged[each.pk], now) for each in found.rows]
    return {"sandboxes": told} | found.about()


@router.get(
    "/sandboxes/{slug:name}",
    response=SandboxOut,
    summary="A sandbox",
    openapi_extra=described("no_such_sandbox", scope=Scope.READ),
)
def get_sandbox(request: HttpRequest, name: str) -> dict[str, Any]:
    require(request, Scope.READ)
    return _told(_find(name))


@router.post(
    "/sandboxes/{slug:name}/retire",
    response=RetiredOut,
    summary="Retire a sandbox; the run in it ends",
    openapi_extra=described("no_such_sandbox", "conflict", *REASON_CODES, scope=Scope.OPERATE),
)
def retire_sandbox(request: HttpRequest, name: str, body: ReasonIn) -> dict[str, Any]:
    """For keys with `operate`, and operators who may delete sandboxes. The next turns delete it until it is gone."""
    actor = require(request, Scope.OPERATE, right=DESTROY)
    reason, sandbox = reason_given(body.reason), _find(name)
    try:
        done = retire(sandbox, actor=actor, reason=reason)
    except Refused as error:
        raise Problem(409, str(error)) from error
    return _told(_find(name)) | {"message": done}


@router.post(
    "/sandboxes/{slug:name}/force-delete",
    response=ForceDeletedOut,
    summary="Delete a sandbox now, whatever its state; the run in it ends",
    openapi_extra=described("no_such_sandbox", *REASON_CODES, scope=Scope.ADMIN),
)
def force_delete_sandbox(request: HttpRequest, name: str, body: ForceDeleteIn) -> dict[str, Any]:
    """For keys with `admin`, and operators who may delete sandboxes. `confirm` is its name once more. What the cloud
    does not take now is sent again with each turn until it is gone."""
    actor, reason = require(request, Scope.ADMIN), reason_given(body.reason)
    sandbox = _find(name)
    if body.confirm != sandbox.name:
        raise Problem.field("confirm", f"type its name: {sandbox.name}")
    [outcome] = force_delete([f"sandbox:{sandbox.pk}"], actor=actor, reason=reason)
    return _told(_find(name)) | {"fate": outcome.fate, "message": outcome.message}


def _find(name: str) -> Sandbox:
    sandbox = Sandbox.objects.select_related("pool").filter(name=name).first()
    if sandbox is None:
        raise Problem(404, f"There is no sandbox {name}.", code="no_such_sandbox")
    return sandbox


def _told(sandbox: Sandbox) -> dict[str, Any]:
    who, now = occupants([sandbox.pk]), clock.now()
    return _sandbox(sandbox, who.get(sandbox.pk), judgements([sandbox], who, now)[sandbox.pk], now)


def _sandbox(sandbox: Sandbox, occupant: Occupant | None, judgement: Judgement, now: datetime) -> dict[str, Any]:
    own = {name: getattr(sandbox, name) for name in SANDBOX_FIELDS}
    return own | {
        "pool": sandbox.pool.name if sandbox.pool else None,
        "run_id": occupant.run_id if occupant else None,
        "cost_usd": shown_usd(sandbox.cost_usd(now)),
        "sync": judgement.sync.value,
        "health": judgement.health.value,
        "why": judgement.why,
        "differences": [
            {"field": each.field, "wanted": each.wanted, "found": each.found} for each in judgement.differences
        ],
        "attempt": tried(judgement.attempt) if judgement.attempt else None,
    }
