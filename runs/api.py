"""Launches over HTTP, as the seed had them and a little more. Each operation parses, calls, answers."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from ninja import HeaderEx, P, QueryEx, Router

from games.clones import clone_url
from games.models import Game
from pools import clock
from pools.callers import reason_given
from pools.described import REASON_CODES, described
from pools.fleet_log import HIGHEST_CURSOR
from pools.models import Pool
from pools.problems import Problem
from runs import events, lifecycle, limit_headers
from runs.addresses import page_url
from runs.clients import Client, uses
from runs.launching.launch import UnknownGame, launch
from runs.launching.waiting_for import waiting_for
from runs.limits import LaunchRefused
from runs.models import LaunchMode, Run, RunState
from runs.pages.now import NOW
from runs.reasons import RefusalCode, RunEndCode
from runs.rights import actor_on, require_may_launch, token_of
from runs.schemas import EndedOut, EventsOut, GameOut, LaunchAnyIn, LaunchedOut, LaunchIn, RunOut
from runs.visitors import client_of

router = Router()
MOST_EVENTS = 500
STATUSES = {
    RefusalCode.KEY_REUSED: 409,
    RefusalCode.NO_POOL: 409,
    RefusalCode.MAINTENANCE: 503,
    RefusalCode.KEY_NEEDED: 401,
}  # of refusals
READY = "ready"  # the kind of a game's speed

IdempotencyKey = HeaderEx[
    str | None,
    P(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[!-~]+$",
        description="Sent again with the same key, a launch gives the same run",
    ),
]
Prefer = HeaderEx[
    str | None,
    P(
        alias="Prefer",
        description="`wait=N`: answer once the run is running or over, or after N seconds, 30 at the most",
    ),
]
After = QueryEx[int, P(ge=0, le=HIGHEST_CURSOR, description="Events beyond this number")]
Limit = QueryEx[int, P(ge=1, le=MOST_EVENTS, description="Events at the most")]
Wait = QueryEx[int, P(ge=0, le=HIGHEST_CURSOR, description="Seconds to wait when there are none yet, 30 at the most")]


RUN_ID = {"run_id": "$response.body#/run_id"}  # of an answer, for what one can do next
ON_RUN = [(name, RUN_ID) for name in ("get_run", "extend_run", "end_run", "delete_run", "list_run_events")]
LAUNCH = described(
    *RefusalCode.values,
    *("invalid", "scope_missing"),
    headers={201: (*limit_headers.NAMES, "Preference-Applied"), 429: limit_headers.NAMES},
    links={201: ON_RUN},
)


@router.post("/launch", response={201: LaunchedOut}, tags=["runs"], summary="Launch a game", openapi_extra=LAUNCH)
def launch_game(
    request: HttpRequest,
    response: HttpResponse,
    body: LaunchAnyIn,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> tuple[int, dict[str, Any]]:
    """`warm` takes a sandbox of the pool (it may be running in the answer), `cold` makes a new one, `auto` is warm
    where a pool serves launches. `asked_mode` of the answer is what was asked for, `mode` is what it became. The
    header `RateLimit` says what is left of the limits of whoever asks."""
    return _launched(request, response, body, body.mode, idempotency_key)


@router.post(
    "/launch/{mode}",
    response={201: LaunchedOut},
    tags=["runs"],
    summary="Launch a game, warm or cold",
    openapi_extra=LAUNCH,
)
def launch_game_by_mode(  # noqa: PLR0917  Ninja names them
    request: HttpRequest,
    response: HttpResponse,
    mode: LaunchMode,
    body: LaunchIn,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> tuple[int, dict[str, Any]]:
    """As `/api/launch`, with the mode in the address."""
    return _launched(request, response, body, mode, idempotency_key)


def _launched(
    request: HttpRequest, response: HttpResponse, body: LaunchIn, mode: str, key: str | None
) -> tuple[int, dict[str, Any]]:
    client = client_of(request)
    try:
        require_may_launch(request)
        run = launch(
            game=body.game,
            mode=mode,
            use_snapshot=body.use_snapshot,
            on_miss=body.on_miss,
            labels=body.labels,
            client=client,
            idempotency_key=key,
        )
    except LaunchRefused as refused:
        raise problem_of(refused, left(client)) from refused
    for name, value in left(client).items():
        response.headers[name] = value
    return 201, launched_out(run, clock.now())


@router.get(
    "/sandbox/{uuid:run_id}",
    response={200: RunOut},
    tags=["runs"],
    summary="How a launch stands",
    openapi_extra=described("no_such_run"),
)
def get_launch(request: HttpRequest, run_id: UUID) -> dict[str, Any]:
    return single_out(find_run(run_id), clock.now())


ACT_ON_RUN = described("not_yours", "no_such_run", *REASON_CODES, is_on_run=True)
Reason = QueryEx[
    str,
    P(max_length=200, description="Why: operators have to say, and it is written to the log"),
]


@router.delete(
    "/sandbox/{uuid:run_id}",
    response={200: EndedOut},
    tags=["runs"],
    summary="End a run; its sandbox goes with it",
    openapi_extra=ACT_ON_RUN,
)
def delete_run(request: HttpRequest, run_id: UUID, reason: Reason = "") -> dict[str, Any]:
    """For who launched it: from the same browser, or with the `token` of the launch's answer (`Authorization: Bearer
    …`); and for operators. Ending it again changes nothing and gives the same answer."""
    return run_out(end(request, run_id, reason), clock.now()) | {
        "message": "The run is over, and its sandbox is deleted."
    }


@router.get(
    "/runs/{uuid:run_id}/events",
    response={200: EventsOut},
    exclude_unset=True,
    tags=["events"],
    summary="A run's events, beyond a number",
    openapi_extra=described("no_such_run", "invalid"),
)
def list_run_events(
    request: HttpRequest,
    run_id: UUID,
    after: After = 0,
    limit: Limit = 100,
    wait: Wait = 0,
) -> dict[str, Any]:
    """As a stream: `/api/stream/{run_id}` (server-sent events; honours `Last-Event-ID`) or `/ws/runs/{run_id}/`
    (WebSocket). The last event of a run is its `end`."""
    find_run(run_id)
    return events.page(run_id, after, limit)


@router.get("/games", response=list[GameOut], tags=["games"], summary="What can be played", openapi_extra=described())
def list_games(request: HttpRequest) -> list[dict[str, Any]]:
    warm = set(Pool.objects.values_list("runtime", flat=True))
    now = NOW.get()
    return [
        {
            "slug": game.slug,
            "title": game.title,
            "tagline": game.tagline,
            "description": game.description,
            "how_to_play": game.how_to_play,
            "runtime": game.runtime,
            "page_url": page_url(reverse("game", args=[game.slug])),
            "source_url": clone_url(game.slug),
            "has_pool": game.runtime in warm,
            "ready_now": now.speed(game).kind == READY,
        }
        for game in Game.objects.playable()
    ]


def end(request: HttpRequest, run_id: UUID, reason: str) -> Run:
    """End a run for whoever asks, and return it. Raises Problem."""
    run, actor, why = acted_on(request, run_id, reason)
    if why:
        code, sentence = RunEndCode.ENDED_BY_OPERATOR, f"An operator ended it: {why}"
    else:
        code, sentence = RunEndCode.ENDED_BY_API, "Ended through the API."
    lifecycle.end(run.id, code, sentence, clock.now(), by=actor)
    return find_run(run_id)


def acted_on(request: HttpRequest, run_id: UUID, reason: str) -> tuple[Run, str, str]:
    """The run, who acts on it, and why: only operators have to say. Raises Problem where that may not be."""
    run = find_run(run_id)
    actor = actor_on(request, run)
    if actor is None:
        detail = "This run is somebody else's. Send the token that its launch answered: Authorization: Bearer run_…"
        raise Problem(403, detail, code="not_yours")
    if not actor.is_operator:
        return run, actor.name, ""
    return run, actor.name, reason_given(reason)


def find_run(run_id: UUID) -> Run:
    run = Run.objects.select_related("game", "sandbox").filter(pk=run_id).first()
    if run is None:
        raise Problem(404, "There is no such run.", code="no_such_run")
    return run


def left(client: Client) -> dict[str, str]:
    """The headers that say what is left of a client's limits."""
    return limit_headers.headers(uses(client, clock.now()))


def problem_of(refused: LaunchRefused, headers: Mapping[str, str]) -> Problem:
    """Return the HTTP problem for a refused launch."""
    if isinstance(refused, UnknownGame):
        return Problem.field("game", str(refused), code=refused.code)
    return Problem(
        STATUSES.get(refused.code, 429),
        str(refused),
        code=refused.code,
        limit=refused.limit,
        retry_after_seconds=spread(refused.retry_after_seconds),
        headers=headers,
    )


def spread(seconds: int | None) -> int | None:
    """A little later than it could be, and each time another: who was refused together does not come back together."""
    return None if seconds is None else seconds + secrets.randbelow(2 + seconds // 10)


def launched_out(run: Run, now: datetime) -> dict[str, Any]:
    """A launch's answer as LaunchedOut has it."""
    return single_out(run, now) | {"message": _launch_message(run), "token": token_of(run.id)}


def _launch_message(run: Run) -> str:
    if run.state == RunState.RUNNING:
        return f"{run.game.title} is running."
    if run.is_over:
        return f"{run.game.title} did not start: {run.end_reason}"
    return f"{run.game.title} is being started."


def single_out(run: Run, now: datetime) -> dict[str, Any]:
    """A run as RunOut has it, with what it waits for: of a list that would be asked too often."""
    waits = waiting_for(run, now)
    return run_out(run, now) | {"waiting_for": waits._asdict() if waits else None}


def run_out(run: Run, now: datetime) -> dict[str, Any]:
    """A run as RunOut has it, with whole addresses."""
    return {
        "run_id": run.id,
        "status": run.status,
        "state": run.state,
        "game": run.game.slug,
        "type": run.mode,
        "mode": run.mode,
        "asked_mode": run.asked_for,
        "on_miss": run.on_miss or None,
        "labels": run.labels,
        "served_by": run.served_by,
        "notice_code": run.notice_code,
        "notice": run.notice,
        "use_snapshot": run.use_snapshot,
        "deployed_from": run.deployed_from,
        "sandbox": run.sandbox.name if run.sandbox else None,
        "app_id": (run.sandbox.app_id or None) if run.sandbox else None,
        "end_code": run.end_code,
        "end_reason": run.end_reason,
        "stream_url": page_url(f"/api/stream/{run.id}"),
        "events_url": page_url(f"/api/runs/{run.id}/events"),
        "sandbox_url": page_url(f"/api/sandbox/{run.id}"),
        "page_url": page_url(run.get_absolute_url()),
        "play_url": run.play_url,
        "ingress_url": run.play_url if run.state == RunState.RUNNING else None,
        "created_at": run.created_at,
        "ready_at": run.ready_at,
        "expires_at": run.expires_at,
        "ended_at": run.ended_at,
        "timings": {
            "acquire_ms": run.acquire_ms,
            "bootstrap_ms": run.bootstrap_ms,
            "restore_ms": run.restore_ms,
            "start_ms": run.start_ms,
            "total_ms": run.total_ms,
        },
        "acquire_ms": run.acquire_ms,
        "bootstrap_ms": run.bootstrap_ms,
        "restore_ms": run.restore_ms,
        "duration_ms": run.duration_ms(now),
    }
