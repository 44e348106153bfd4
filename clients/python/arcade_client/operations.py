"""What can be asked of an arcade: each operation as a call or a feed, for any transport."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from datetime import date
from typing import Any, Literal, get_args
from urllib.parse import quote

from arcade_client.calls import ask, get, is_far, look, pages
from arcade_client.errors import ConnectionFailed, Problem, UnexpectedAnswer
from arcade_client.shapes import (
    Applied,
    Delivery,
    Game,
    Limits,
    PlanFields,
    PoolFields,
    RunFields,
    SandboxFields,
    Secret,
    Status,
    Usage,
    WebhookFields,
    read,
    read_all,
)
from arcade_client.wire import Answer, Call, Feed, Site

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
    return read(RunFields, (yield from get(site, _path("runs", run_id), token=token)), token=token)


def extend(site: Site, of: RunFields, reason: str) -> Call[RunFields]:
    """More time for a run. Not repeated unless it can't have been done: twice would be twice the time."""
    return (yield from _act_on(site, of, "extend", reason, is_repeatable=False))


def end(site: Site, of: RunFields, reason: str) -> Call[RunFields]:
    """End a run. Ending it again changes nothing."""
    return (yield from _act_on(site, of, "end", reason, is_repeatable=True))


def _act_on(site: Site, of: RunFields, act: str, reason: str, *, is_repeatable: bool) -> Call[RunFields]:
    path, body = _path("runs", of.run_id, act), {"reason": reason}
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
    answer = yield from ask(site, site.request("GET", _path("pools", name)))
    return _pool_of(answer)


def _pool_of(answer: Answer) -> PoolFields:
    etag = answer.headers.get("etag")
    return read(PoolFields, answer.json(), **({"etag": etag} if etag else {}))


def set_pool(site: Site, of: PoolFields, changes: Mapping[str, Any], reason: str) -> Call[PoolFields]:
    """Change a pool, if it still is as it was read. Raises Changed when it is not."""
    match = {"If-Match": of.etag} if of.etag else {}
    request = site.request("PATCH", _path("pools", of.name), body={**changes, "reason": reason}, headers=match)
    return _pool_of((yield from ask(site, request)))


def act_on_pool(site: Site, name: str, act: Act, reason: str) -> Call[PoolFields]:
    request = site.request("POST", _path("pools", name, act), body={"reason": reason})
    return _pool_of((yield from ask(site, request)))


def plan(site: Site) -> Call[PlanFields]:
    return read(PlanFields, (yield from get(site, "/api/pool/plan")))


def apply_plan(site: Site, of: PlanFields, reason: str) -> Call[Applied]:
    """Have a plan carried out, if it still is the same. Raises PlanChanged when it is not."""
    request = site.request("POST", "/api/pool/plan/apply", body={"digest": of.digest, "reason": reason})
    return read(Applied, (yield from ask(site, request, more_seconds=TURN_SECONDS)).json())


def usage(site: Site, since: date | str | None, until: date | str | None, by: str | None) -> Call[Usage]:
    return read(Usage, (yield from get(site, "/api/usage", {"from": since, "to": until, "by": by})))


def sandboxes(site: Site, filters: Mapping[str, Any]) -> Feed[SandboxFields]:
    return pages(site, "/api/sandboxes", "sandboxes", SandboxFields, filters)


def sandbox(site: Site, name: str) -> Call[SandboxFields]:
    return read(SandboxFields, (yield from get(site, _path("sandboxes", name))))


def retire_sandbox(site: Site, name: str, reason: str) -> Call[SandboxFields]:
    request = site.request("POST", _path("sandboxes", name, "retire"), body={"reason": reason})
    return read(SandboxFields, (yield from ask(site, request)).json())


def force_delete_sandbox(site: Site, name: str, confirm: str, reason: str) -> Call[SandboxFields]:
    body = {"confirm": confirm, "reason": reason}
    answer = yield from ask(site, site.request("POST", _path("sandboxes", name, "force-delete"), body=body))
    return read(SandboxFields, answer.json())


def webhooks(site: Site) -> Call[list[WebhookFields]]:
    return read_all(WebhookFields, _mapping((yield from get(site, _path("webhooks")))).get("webhooks"))


def webhook(site: Site, webhook_id: str) -> Call[WebhookFields]:
    return read(WebhookFields, (yield from get(site, _path("webhooks", webhook_id))))


def add_webhook(site: Site, url: str, more: Mapping[str, Any]) -> Call[WebhookFields]:
    answer = yield from ask(site, site.request("POST", _path("webhooks"), body={"url": url, **more}))
    return read(WebhookFields, answer.json())


def change_webhook(site: Site, webhook_id: str, changes: Mapping[str, Any]) -> Call[WebhookFields]:
    answer = yield from ask(site, site.request("PATCH", _path("webhooks", webhook_id), body=dict(changes)))
    return read(WebhookFields, answer.json())


def rotate_webhook(site: Site, webhook_id: str) -> Call[str]:
    """Not repeated unless it can't have been done: of two at once, nobody knows which secret holds."""
    answer = yield from ask(site, site.request("POST", _path("webhooks", webhook_id, "rotate")))
    return read(Secret, answer.json()).secret


def test_webhook(site: Site, webhook_id: str) -> Call[Delivery]:
    answer = yield from ask(site, site.request("POST", _path("webhooks", webhook_id, "test")))
    return read(Delivery, answer.json())


def deliveries(site: Site, webhook_id: str, state: str | None) -> Feed[Delivery]:
    path = _path("webhooks", webhook_id, "deliveries")
    return pages(site, path, "deliveries", Delivery, {"state": state}, cursor="before", next_cursor="next")


def redeliver(site: Site, webhook_id: str, delivery_id: str) -> Call[Delivery]:
    path = _path("webhooks", webhook_id, "deliveries", delivery_id, "redeliver")
    return read(Delivery, (yield from ask(site, site.request("POST", path))).json())


def remove_webhook(site: Site, webhook_id: str) -> Call[None]:
    answer = yield from ask(site, site.request("DELETE", _path("webhooks", webhook_id)))
    if answer.status != GONE:
        raise UnexpectedAnswer(f"That it is removed was expected, and status {answer.status} came.")


def _path(*parts: str) -> str:
    return "/".join(("/api", *(quote(part, safe="") for part in parts)))


def _mapping(said: Any) -> Mapping[str, Any]:
    return said if isinstance(said, Mapping) else {"answer": said}
