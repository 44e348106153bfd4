"""What can be asked of an arcade: each operation as a call or a feed, for any transport."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Literal, get_args
from urllib.parse import quote

from arcade_client.calls import ask, get, in_query
from arcade_client.shapes import Game, Limits, PlanFields, PoolFields, RunFields, Status, Webhook, read, read_all
from arcade_client.wire import Call, Site

Mode = Literal["auto", "warm", "cold"]
Act = Literal["prime", "pause", "resume", "drain", "recycle"]
ACTS: tuple[Act, ...] = get_args(Act)


def launch(
    site: Site,
    game: str,
    mode: Mode,
    *,
    on_miss: str | None,
    use_snapshot: bool,
    labels: Mapping[str, str] | None,
    wait_seconds: float | None,
    idempotency_key: str | None,
) -> Call[RunFields]:
    """Launch a game. However often it is sent, it is one launch: all carry the same key."""
    headers = {"Idempotency-Key": idempotency_key or secrets.token_urlsafe(16)}
    if wait_seconds is not None:
        headers["Prefer"] = f"wait={wait_seconds:g}"
    body = {"game": game, "use_snapshot": use_snapshot}
    path = f"/api/launch/{mode}"
    if mode == "auto" or on_miss is not None or labels:
        path = "/api/launch"
        body |= {"mode": mode, "on_miss": on_miss, "labels": dict(labels) if labels else None}
    request = site.request("POST", path, body=body, headers=headers, is_repeatable=True)
    return read(RunFields, (yield from ask(site, request, more_seconds=wait_seconds or 0)).json())


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
    return read(PoolFields, answer.json(), etag=answer.headers.get("etag", ""))


def set_pool(site: Site, of: PoolFields, changes: Mapping[str, Any], reason: str) -> Call[PoolFields]:
    """Change a pool, if it still is as it was read. Raises Changed when it is not."""
    match = {"If-Match": of.etag} if of.etag else {}
    request = site.request("PATCH", _pool_path(of.name), body={**changes, "reason": reason}, headers=match)
    answer = yield from ask(site, request)
    return read(PoolFields, answer.json(), etag=answer.headers.get("etag", ""))


def act_on_pool(site: Site, name: str, act: Act, reason: str) -> Call[Mapping[str, Any]]:
    answer = yield from ask(site, site.request("POST", f"{_pool_path(name)}/{act}", body={"reason": reason}))
    return _mapping(answer.json())


def _pool_path(name: str) -> str:
    return f"/api/pools/{quote(name, safe='')}"


def plan(site: Site) -> Call[PlanFields]:
    return read(PlanFields, (yield from get(site, "/api/pool/plan")))


def apply_plan(site: Site, of: PlanFields, reason: str) -> Call[Mapping[str, Any]]:
    """Have a plan carried out, if it still is the same. Raises Conflict when it is not."""
    body = {"digest": of.digest, "reason": reason}
    answer = yield from ask(site, site.request("POST", "/api/pool/plan/apply", body=body))
    return _mapping(answer.json())


def usage(site: Site, since: Any, until: Any, by: str | None) -> Call[Mapping[str, Any]]:
    query = {"from": in_query(since), "to": in_query(until), "by": by}
    return _mapping((yield from get(site, "/api/usage", query)))


def webhooks(site: Site) -> Call[list[Webhook]]:
    return read_all(Webhook, _mapping((yield from get(site, "/api/webhooks"))).get("webhooks"))


def add_webhook(site: Site, url: str, more: Mapping[str, Any]) -> Call[Webhook]:
    answer = yield from ask(site, site.request("POST", "/api/webhooks", body={"url": url, **more}))
    return read(Webhook, answer.json())


def remove_webhook(site: Site, webhook_id: str) -> Call[None]:
    yield from ask(site, site.request("DELETE", f"/api/webhooks/{quote(webhook_id, safe='')}"))


def _mapping(said: Any) -> Mapping[str, Any]:
    return said if isinstance(said, Mapping) else {"answer": said}
