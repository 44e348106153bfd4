"""What can be asked of an arcade: each operation as a call or a feed, for any transport."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from datetime import date
from typing import Any, Literal, get_args
from urllib.parse import quote

from arcade_client.calls import ask, get, is_far, look
from arcade_client.errors import ConnectionFailed, Problem, UnexpectedAnswer
from arcade_client.shapes import (
    Applied,
    Game,
    Limits,
    PlanFields,
    PoolFields,
    RunFields,
    Status,
    Usage,
    Webhook,
    read,
    read_all,
)
from arcade_client.wire import Answer, Call, Site

Mode = Literal["auto", "warm", "cold"]
OnMiss = Literal["cold", "wait", "fail"]
Act = Literal["prime", "pause", "resume", "drain", "recycle", "close-breaker"]
ON_MISS: tuple[OnMiss, ...] = get_args(OnMiss)
LAUNCH_WAIT_SECONDS = 30  # the server holds a launch that long at most
GONE = 204  # what is deleted has nothing to show
TURN_SECONDS = 25  # the server answers an applied plan by then
ACTS: tuple[Act, ...] = get_args(Act)


def launch(
    site: Site,
    game: str,
    mode: Mode,
    *,
    on_miss: OnMiss | None,
    use_snapshot: bool,
    labels: Mapping[str, str] | None,
    wait_seconds: float,
    idempotency_key: str | None,
) -> Call[RunFields]:
    """Launch a game. However often it is sent, it is one launch: all carry the same key. How it stands when it runs, is
    over, or the time to wait has passed."""
    if not 0 <= wait_seconds < math.inf:
        raise ValueError(f"wait is {wait_seconds}; it must be a number of seconds, 0 or more")
    deadline, held = site.clock() + wait_seconds, min(LAUNCH_WAIT_SECONDS, math.ceil(wait_seconds))
    headers = {"Idempotency-Key": idempotency_key or secrets.token_urlsafe(16)}
    if held:
        headers["Prefer"] = f"wait={held}"
    body = {"game": game, "use_snapshot": use_snapshot}
    path = f"/api/launch/{mode}"
    if mode == "auto" or on_miss is not None or labels:
        path = "/api/launch"
        body |= {"mode": mode, "on_miss": on_miss, "labels": dict(labels) if labels else None}
    request = site.request("POST", path, body=body, headers=headers, is_repeatable=True)
    launched = read(RunFields, (yield from ask(site, request, more_seconds=held)).json())
    if is_far(launched, "running") or launched.is_over or site.clock() >= deadline:
        return launched
    try:
        return (yield from look(site, launched, "running", deadline))
    except (ConnectionFailed, Problem):  # it is launched all the same, and nobody else has its token
        return launched


def label_filters(labels: Mapping[str, str | None] | None) -> list[str]:
    """As the query has them: a name, with a value or with any."""
    return [name if value is None else f"{name}:{value}" for name, value in (labels or {}).items()]


def run(site: Site, run_id: str, token: str = "") -> Call[RunFields]:
    """How a run stands, what happened to it, and what it has cost."""
    return read(RunFields, (yield from get(site, f"/api/runs/{quote(run_id, safe='')}", token=token)), token=token)


def extend(site: Site, of: RunFields, reason: str) -> Call[RunFields]:
    """More time for a run. Not repeated unless it can't have been done: twice would be twice the time."""
    return (yield from _act_on(site, of, "extend", reason, is_repeatable=False))


def end(site: Site, of: RunFields, reason: str) -> Call[RunFields]:
    """End a run. Ending it again changes nothing."""
    return (yield from _act_on(site, of, "end", reason, is_repeatable=True))


def _act_on(site: Site, of: RunFields, act: str, reason: str, *, is_repeatable: bool) -> Call[RunFields]:
    path, body = f"/api/runs/{quote(of.run_id, safe='')}/{act}", {"reason": reason}
    request = site.request("POST", path, body=body, token=of.token, is_repeatable=is_repeatable)
    return read(RunFields, (yield from ask(site, request)).json(), token=of.token)


def games(site: Site) -> Call[list[Game]]:
    return read_all(Game, (yield from get(site, "/api/games")))


def limits(site: Site) -> Call[Limits]:
    return read(Limits, (yield from get(site, "/api/limits")))


def status(site: Site) -> Call[Status]:
    return read(Status, (yield from get(site, "/api/status")))


def pools(site: Site) -> Call[list[PoolFields]]:
    return read_all(PoolFields, _mapping((yield from get(site, "/api/pools"))).get("pools"))


def pool(site: Site, name: str) -> Call[PoolFields]:
    answer = yield from ask(site, site.request("GET", _pool_path(name)))
    return _pool_of(answer)


def _pool_of(answer: Answer) -> PoolFields:
    etag = answer.headers.get("etag")
    return read(PoolFields, answer.json(), **({"etag": etag} if etag else {}))


def set_pool(site: Site, of: PoolFields, changes: Mapping[str, Any], reason: str) -> Call[PoolFields]:
    """Change a pool, if it still is as it was read. Raises Changed when it is not."""
    match = {"If-Match": of.etag} if of.etag else {}
    request = site.request("PATCH", _pool_path(of.name), body={**changes, "reason": reason}, headers=match)
    return _pool_of((yield from ask(site, request)))


def act_on_pool(site: Site, name: str, act: Act, reason: str) -> Call[PoolFields]:
    request = site.request("POST", f"{_pool_path(name)}/{act}", body={"reason": reason})
    return _pool_of((yield from ask(site, request)))


def _pool_path(name: str) -> str:
    return f"/api/pools/{quote(name, safe='')}"


def plan(site: Site) -> Call[PlanFields]:
    return read(PlanFields, (yield from get(site, "/api/pool/plan")))


def apply_plan(site: Site, of: PlanFields, reason: str) -> Call[Applied]:
    """Have a plan carried out, if it still is the same. Raises PlanChanged when it is not."""
    request = site.request("POST", "/api/pool/plan/apply", body={"digest": of.digest, "reason": reason})
    return read(Applied, (yield from ask(site, request, more_seconds=TURN_SECONDS)).json())


def usage(site: Site, since: date | str | None, until: date | str | None, by: str | None) -> Call[Usage]:
    return read(Usage, (yield from get(site, "/api/usage", {"from": since, "to": until, "by": by})))


def webhooks(site: Site) -> Call[list[Webhook]]:
    return read_all(Webhook, _mapping((yield from get(site, "/api/webhooks"))).get("webhooks"))


def add_webhook(site: Site, url: str, more: Mapping[str, Any]) -> Call[Webhook]:
    answer = yield from ask(site, site.request("POST", "/api/webhooks", body={"url": url, **more}))
    return read(Webhook, answer.json())


def remove_webhook(site: Site, webhook_id: str) -> Call[None]:
    answer = yield from ask(site, site.request("DELETE", f"/api/webhooks/{quote(webhook_id, safe='')}"))
    if answer.status != GONE:
        raise UnexpectedAnswer(f"That it is removed was expected, and status {answer.status} came.")


def _mapping(said: Any) -> Mapping[str, Any]:
    return said if isinstance(said, Mapping) else {"answer": said}
