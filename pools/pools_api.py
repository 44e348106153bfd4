"""Pools over HTTP: how they stand, their settings, and what operators do with them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.forms import model_to_dict
from django.http import HttpRequest, HttpResponse
from ninja import HeaderEx, P, Router

from pools import clock
from pools.api_keys import Scope
from pools.callers import reason_given, require
from pools.census import UNSEEN, census
from pools.console.forms import PoolForm
from pools.console.operations import POOL_ACTS, Refused, edit_pool
from pools.console.pool_report import arrivals_lately, pool_reports
from pools.described import REASON_CODES, described
from pools.models import Fleet, Pool, State
from pools.outcomes import breaker_of
from pools.pool_schemas import (
    PoolAct,
    PoolActedOut,
    PoolChangeIn,
    PoolCountsOut,
    PoolDetailsOut,
    PoolListOut,
    PoolRowOut,
    ReasonIn,
)
from pools.prices import shown_usd, usd_per_hour
from pools.problems import Problem
from pools.shared import Shared, for_a_minute
from pools.turn.preview import plain

router = Router(tags=["pools"])

RETRY_AFTER_SECONDS = 5  # a sandbox takes half a minute and more
WRITTEN_BY_THE_MACHINE = ("last_acquired_at", "last_acquired_by")
ACTS = {PoolAct.PRIME: "warm_up", PoolAct.CLOSE_BREAKER: "close_breaker"}  # where the operations have another name
COUNTED = tuple(PoolCountsOut.model_fields)
OWN = tuple(name for name in PoolRowOut.model_fields if name in {field.name for field in Pool._meta.fields})
ARRIVALS = Shared(arrivals_lately, for_a_minute)

Prefer = HeaderEx[
    str | None,
    P(alias="Prefer", description="`wait=N`: answer `prime` once the pool is full, or after N seconds"),
]
IfMatch = HeaderEx[
    str | None,
    P(alias="If-Match", description="The ETag that was read: nothing is changed when there is another by now"),
]
IfNoneMatch = HeaderEx[
    str | None, P(alias="If-None-Match", description="The ETag that was read: 304 while nobody has set anything since")
]


POOL = {"name": "$response.body#/pools/0/name"}  # of an answer, for what one can do next
TAGGED = {200: ["ETag"]}


@router.get(
    "/pools",
    response=PoolListOut,
    summary="The pools",
    openapi_extra=described(
        scope=Scope.READ, links={200: [(each, POOL) for each in ("get_pool", "change_pool", "act_on_pool")]}
    ),
)
def list_pools(request: HttpRequest) -> dict[str, Any]:
    require(request, Scope.READ)
    now, found = clock.now(), census()
    return {"pools": [_row(pool, found.of_pool[pool.pk], now) for pool in found.pools]}


@router.get(
    "/pools/{slug:name}",
    response={200: PoolDetailsOut, 304: None},
    summary="A pool, its next steps, and the size that it should have",
    openapi_extra=described("no_such_pool", scope=Scope.READ, headers=TAGGED | {304: ["ETag"]}),
)
def get_pool(request: HttpRequest, response: HttpResponse, name: str, if_none_match: IfNoneMatch = None) -> Any:
    """Its ETag changes when somebody sets something, not when sandboxes come and go: who waits for those asks without
    `If-None-Match`."""
    require(request, Scope.READ)
    pool = _find(name)
    response["ETag"] = tag_of(pool)
    if _names(if_none_match, tag_of(pool)):
        return 304, None
    return 200, _details(pool, clock.now())


@router.patch(
    "/pools/{slug:name}",
    response=PoolDetailsOut,
    summary="Change a pool's settings",
    openapi_extra=described("no_such_pool", "precondition_failed", *REASON_CODES, scope=Scope.OPERATE, headers=TAGGED),
)
def change_pool(
    request: HttpRequest, response: HttpResponse, name: str, body: PoolChangeIn, if_match: IfMatch = None
) -> dict[str, Any]:
    """For keys with `operate`, and operators who may act. The next turn, which is asked for, goes by them. Send
    `If-Match` with the ETag that was read, so that of two who change it at once the second hears of the first."""
    actor, reason = require(request, Scope.OPERATE), reason_given(body.reason)
    with transaction.atomic():
        Fleet.lock()  # first: the turn that is asked for in the end needs it
        pool = _find(name, is_changed=True)
        if if_match is not None and not _names(if_match, tag_of(pool)):
            detail = f"Pool {pool.name} was changed since: its ETag is {tag_of(pool)} by now."
            raise Problem(412, detail, code="precondition_failed")
        form = form_of(pool, body.changes(), reason)
        if not form.is_valid():
            raise _invalid(form)
        if form.changes:
            edit_pool(pool, form.changes, actor=actor, reason=reason)
    response["ETag"] = tag_of(pool)
    return _details(pool, clock.now())


@router.post(
    "/pools/{slug:name}/{act}",
    response={200: PoolActedOut, 202: PoolActedOut},
    summary="Pause, resume, drain, recycle or prime a pool, or close its breaker",
    openapi_extra=described(
        *("no_such_pool", "conflict", *REASON_CODES),
        scope=Scope.OPERATE,
        headers={202: ["Retry-After", "Preference-Applied"], 200: ["Preference-Applied"]},
        links={202: [("get_pool", {"name": "$response.body#/name"})]},
    ),
)
def act_on_pool(  # noqa: PLR0917  Ninja names them
    request: HttpRequest, response: HttpResponse, name: str, act: PoolAct, body: ReasonIn, prefer: Prefer = None
) -> tuple[int, dict[str, Any]]:
    """For keys with `operate`, and operators who may act. `prime` fills the pool as if somebody had launched: 202
    until `counts.ready` has come to `target_ready`, with Retry-After for the next look at the pool. With `Prefer:
    wait=N` it is answered once that is so, or after N seconds, 30 at the most."""
    actor, reason = require(request, Scope.OPERATE), reason_given(body.reason)
    pool = _find(name)
    _, operation = POOL_ACTS[ACTS.get(act, act.value)]
    try:
        done = operation(pool, actor=actor, reason=reason)
    except Refused as error:
        raise Problem(409, str(error)) from error
    is_full, answer = after_act(name, done)
    if act != PoolAct.PRIME or is_full:
        return 200, answer
    response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return 202, answer


def after_act(name: str, message: str) -> tuple[bool, dict[str, Any]]:
    """Whether a pool has what it should have ready, and the answer to an act as PoolActedOut has it. Raises Problem."""
    pool = _find(name)
    row = _row(pool, _counts(pool), clock.now())
    return row["counts"]["ready"] >= pool.target_ready, row | {"message": message}


def tag_of(pool: Pool) -> str:
    """The ETag of what operators have set."""
    by_machine = (*WRITTEN_BY_THE_MACHINE, "target_ready") if pool.autopilot else WRITTEN_BY_THE_MACHINE
    names = [field.name for field in Pool._meta.fields if field.name not in by_machine]
    set_to = json.dumps([str(getattr(pool, name)) for name in names])
    return f'"{hashlib.sha256(set_to.encode()).hexdigest()[:16]}"'


def form_of(pool: Pool, changes: Mapping[str, Any], reason: str) -> PoolForm:
    """The admin's form as it is sent with these changes, so that there is one rule for both."""
    now_set = model_to_dict(pool, exclude=["id", "mode"])
    seen = {f"initial-{name}": value for name, value in now_set.items()}
    return PoolForm({**seen, **now_set, **changes, "reason": reason}, instance=pool)


def _invalid(form: PoolForm) -> Problem:
    errors = [{"field": name, "message": str(message)} for name, told in form.errors.items() for message in told]
    return Problem(422, "; ".join(f"{each['field']}: {each['message']}" for each in errors), errors=errors)


def _find(name: str, *, is_changed: bool = False) -> Pool:
    pools = Pool.objects.select_for_update() if is_changed else Pool.objects.all()
    pool = pools.filter(name=name).first()
    if pool is None:
        raise Problem(404, f"There is no pool {name}.", code="no_such_pool")
    return pool


def _names(header: str | None, tag: str) -> bool:
    """Whether a list of ETags, as a header has it, names this one; also where a proxy that packs answers has marked
    it as weak."""
    return header is not None and any(each.strip().removeprefix("W/") in ("*", tag) for each in header.split(","))


def _details(pool: Pool, now: datetime) -> dict[str, Any]:
    report = pool_reports([pool], now, ARRIVALS.get())[pool.pk]
    return _row(pool, _counts(pool), now) | {
        "next_steps": [plain(each) for each in report.next_steps],
        "recommended": report.recommendation,
    }


def _counts(pool: Pool) -> Counter[str]:
    return census().of_pool.get(pool.pk, Counter())


def _row(pool: Pool, counts: Counter[str], now: datetime) -> dict[str, Any]:
    an_hour = usd_per_hour(pool.size)
    waiting = counts[State.READY] + counts[UNSEEN]
    return {
        **{name: getattr(pool, name) for name in OWN},
        "etag": tag_of(pool),
        "is_wanted": pool.wanted(now),
        "counts": {name: counts[name] for name in COUNTED},
        "breaker": breaker_of(pool.runtime, now),
        "usd_per_hour": shown_usd(an_hour * counts.total()),
        "idle_usd_per_hour": shown_usd(an_hour * waiting),
    }
