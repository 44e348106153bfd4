"""App Platform's own HTTP API over the account of this machine."""

from __future__ import annotations

import asyncio
import hmac
import re
import time
import uuid
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pools.localcloud.account import Account
from pools.localcloud.answers import disguised, links, size_json, skewed
from pools.localcloud.apps import PHASES, App, Deployment, monthly_cost
from pools.localcloud.containers import RESTART_SECONDS, Containers
from pools.localcloud.scopes import ALL, missing_scope
from pools.localcloud.specs import (
    REGIONS,
    SIZES,
    BadSpec,
    check_images,
    check_spec,
    shown,
    with_secrets_kept,
)
from pools.localcloud.trouble import KINDS, Call, Faults, agent_operation, json_in

MOST_PER_PAGE = 200
DEFAULT_PER_PAGE = 20
REQUESTS_AN_HOUR = 5000
MISSING = "The resource you were accessing could not be found."
CONTINENTS = {"ams": "europe", "fra": "europe", "lon": "europe", "blr": "asia", "sgp": "asia", "syd": "australia"}
LOG_TYPES = {"UNSPECIFIED", "BUILD", "DEPLOY", "RUN", "RUN_RESTARTED", "AUTOSCALE_EVENT"}
REACHED_AFTER = {"BUILD": "PENDING_BUILD", "DEPLOY": "PENDING_DEPLOY", "RUN": "PENDING_DEPLOY"}


class Refusal(Exception):
    """An answer that is an error, as DigitalOcean words it."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(self) -> Response:
        kind = KINDS.get(self.status, "server_error")
        body = {"id": kind, "message": self.message, "request_id": str(uuid.uuid4())}
        return JSONResponse(body, self.status, self.headers)


class LocalCloud:
    """The account, its containers, the faults in force, and the handlers of every path."""

    def __init__(self, folder: Path, tokens: Sequence[str], deploy_seconds: float, *, paper: bool) -> None:
        self.account = Account(folder)
        self.containers = Containers(folder, self.changed)
        self.faults = Faults()
        self.limits = Limits()
        self.tokens = set(tokens)
        self.scopes: dict[str, frozenset[str]] = {}  # of the tokens that may not do all
        self.control_token = tokens[0]  # also when none of them opens the account any more
        self.deploy_seconds = deploy_seconds
        self.paper = paper
        self.operations: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.base = ""  # where it listens; known once it does
        self.tasks: set[asyncio.Task[None]] = set()
        self.shapes = [
            (name, method, re.compile(re.sub(r"{\w+}", "[^/]+", path))) for name, method, path, _ in self.table()
        ]

    def changed(self, app: App) -> None:
        app.settle(time.time())
        self.account.keep(app)

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # Apps.

    async def create(self, request: Request) -> Response:
        spec, effects = await spec_in(request), request.state.effects
        if self.account.has_name(spec["name"], time.time()):
            raise Refusal(409, "App name already exists")
        quota = effects.get("quota")
        if quota is not None and len(self.account.apps) >= quota:
            raise Refusal(effects.get("quota_status", 403), f"This account has reached its limit of {quota} apps")
        seconds = float(effects.get("deploy_seconds", self.deploy_seconds))
        app = App.new(spec, seconds, paper=self.paper, agent=dict(effects.get("agent", {})))
        app.newest.stuck_in, app.newest.error = effects.get("stuck", ""), effects.get("error", "")
        app.url_late_seconds = float(effects.get("url_late_seconds", 0))
        self.add(app, by="api")
        return self.answer({"app": self.seen(app, request)}, request)

    def seen(self, app: App, request: Request, seconds_ago: float = 0) -> dict[str, Any]:
        """That app as it was that long ago, with its mark hidden or under another name where a fault wants that."""
        return disguised(app.as_json(time.time() - seconds_ago, self.base), request.state.effects)

    def answer(self, data: dict[str, Any], request: Request) -> Response:
        """That answer, with its dates as far off as a fault wants them."""
        skew_seconds = float(request.state.effects.get("skew_seconds", 0))
        return JSONResponse(skewed(data, skew_seconds) if skew_seconds else data)

    def add(self, app: App, by: str) -> None:
        self.account.add([app], by)
        self.run(app)

    def run(self, app: App) -> None:
        """Have its agent live, and die when it is to die."""
        self.containers.run(app)
        if "dies_after_seconds" in app.agent:
            self.in_background(self.die_later(app))

    async def die_later(self, app: App) -> None:
        agent = app.agent
        active_at = app.newest.began_at + app.newest.seconds
        await asyncio.sleep(max(0.0, active_at - time.time()) + float(agent["dies_after_seconds"]))
        if app.agent is agent and agent.pop("dies_after_seconds", None) is not None:  # not healed meanwhile
            self.kill_agent(app, stays_dead=bool(agent.get("stays_dead")))

    def kill_agent(self, app: App, *, stays_dead: bool) -> None:
        """The agent dies, and the platform restarts it unless it stays dead."""
        if stays_dead or app.paper:
            app.agent["dead"] = True
            self.account.keep(app)
        self.containers.kill_agent(app)
        if app.paper and not stays_dead:
            asyncio.get_running_loop().call_later(RESTART_SECONDS, app.agent.pop, "dead", None)

    async def index(self, request: Request) -> Response:
        page, per_page = (
            whole(request, "page", 1, 1_000_000),
            whole(request, "per_page", DEFAULT_PER_PAGE, MOST_PER_PAGE),
        )
        effects, now = request.state.effects, time.time()
        stale_seconds = float(effects.get("stale_seconds", 0))
        apps = self.account.listed(now, stale_seconds)
        if "omit" in effects:
            apps = [app for app in apps if not re.search(effects["omit"], app.name)]
        apps += [App.new(spec, 0, paper=True) for spec in effects.get("add", [])]
        if effects.get("empty") and "page" not in effects:
            apps = []
        start = max(0, (page - 1) * per_page + (int(effects.get("shift", 0)) if page > 1 else 0))
        on_page = [] if effects.get("empty") else apps[start : start + per_page]
        self.account.settle(on_page, now)
        total = int(effects.get("total", len(apps)))
        pages = {} if effects.get("links") is False else links(f"{self.base}/v2/apps", page, per_page, total)
        shown_apps = [self.seen(app, request, stale_seconds) for app in on_page]
        return self.answer({"apps": shown_apps, "links": {"pages": pages}, "meta": {"total": total}}, request)

    async def get(self, request: Request) -> Response:
        return self.shown(self.app_of(request), request)

    def shown(self, app: App, request: Request) -> Response:
        self.account.settle([app], time.time())
        return self.answer({"app": self.seen(app, request)}, request)

    async def update(self, request: Request) -> Response:
        app = self.app_of(request)
        spec = with_secrets_kept(await spec_in(request), app.spec)
        if self.account.names.get(spec["name"], app.id) != app.id:
            raise Refusal(409, "App name already exists")
        self.account.rename(app, spec)
        self.redeploy(app, "app spec updated", request.state.effects)
        return self.shown(app, request)

    async def delete(self, request: Request) -> Response:
        app = self.app_of(request)
        if app.gone_at is None:
            effects = request.state.effects
            lingers, name_taken = (float(effects.get(key, 0)) for key in ("linger_seconds", "name_taken_seconds"))
            await self.remove(app, "api", lingers, name_taken)
        return JSONResponse({"id": app.id})

    async def remove(self, app: App, by: str, linger_seconds: float = 0.0, name_taken_seconds: float = 0.0) -> None:
        self.account.remove(app, by, linger_seconds, name_taken_seconds)
        await self.containers.stop(app)

    # Deployments and logs.

    def redeploy(self, app: App, cause: str, effects: dict[str, Any]) -> Deployment:
        seconds = float(effects.get("deploy_seconds", self.deploy_seconds))
        deployment = app.deploy(seconds, cause, time.time())
        deployment.stuck_in, deployment.error = effects.get("stuck", ""), effects.get("error", "")
        self.account.keep(app)
        if not deployment.stuck_in and not deployment.error:
            self.in_background(self.containers.replace(app))
        return deployment

    async def deploy(self, request: Request) -> Response:
        deployment = self.redeploy(self.app_of(request), "manual", request.state.effects)
        return JSONResponse({"deployment": deployment.as_json(time.time())})

    async def restart(self, request: Request) -> Response:
        deployment = self.redeploy(self.app_of(request), "restart", request.state.effects)
        return JSONResponse({"deployment": deployment.as_json(time.time())})

    async def deployments(self, request: Request) -> Response:
        app, now = self.app_of(request), time.time()
        self.account.settle([app], now)
        page, per_page = (
            whole(request, "page", 1, 1_000_000),
            whole(request, "per_page", DEFAULT_PER_PAGE, MOST_PER_PAGE),
        )
        newest_first = app.deployments[::-1]
        on_page = newest_first[(page - 1) * per_page : page * per_page]
        pages = links(f"{self.base}/v2/apps/{app.id}/deployments", page, per_page, len(newest_first))
        data = [deployment.as_json(now) for deployment in on_page]
        listed = {"deployments": data, "links": {"pages": pages}, "meta": {"total": len(newest_first)}}
        return self.answer(listed, request)

    async def deployment(self, request: Request) -> Response:
        _, deployment = self.deployment_of(request)
        return JSONResponse({"deployment": deployment.as_json(time.time())})

    async def cancel(self, request: Request) -> Response:
        app, deployment = self.deployment_of(request)
        if deployment.outcome:
            raise Refusal(400, "the deployment is over and can't be canceled")
        deployment.outcome, deployment.ended_at = "CANCELED", time.time()
        self.account.keep(app)
        if app.active is None:
            await self.containers.stop(app)
        return JSONResponse({"deployment": deployment.as_json(time.time())})

    async def logs(self, request: Request) -> Response:
        kind = request.query_params.get("type", "UNSPECIFIED")
        if kind not in LOG_TYPES:
            raise Refusal(400, f"type must be one of {', '.join(sorted(LOG_TYPES))}")
        if "deployment" in request.path_params:
            app, deployment = self.deployment_of(request)
        else:
            app = self.app_of(request)
            deployment = app.active or app.newest
        phase, order = deployment.phase(time.time()), list(PHASES)
        wanted = REACHED_AFTER.get(kind, "PENDING_BUILD")
        if (phase in order and order.index(phase) <= order.index(wanted)) or (
            phase != "ACTIVE" and kind == "RUN_RESTARTED"
        ):
            raise Refusal(400, f"the deployment has not reached the phase whose logs are of type {kind}")
        url = f"{self.base}/_logs/{app.id}?type={kind}"
        return JSONResponse({"live_url": url, "historic_urls": [url]})

    async def log_text(self, request: Request) -> Response:
        app = self.app_of(request)
        now = time.time()
        lines = [f"{d.id} {d.cause}: {d.phase(now)} {d.error}".rstrip() for d in app.deployments]
        return PlainTextResponse("\n".join([f"{app.name} on paper" if app.paper else app.name, *lines, ""]))

    # What there is to choose from.

    async def regions(self, request: Request) -> Response:
        regions = [
            {
                "slug": slug,
                "label": label,
                "flag": slug,
                "continent": CONTINENTS.get(slug, "north-america"),
                "data_centers": [f"{slug}1"],
                "default": slug == "nyc",
                "disabled": False,
            }
            for slug, label in REGIONS.items()
        ]
        return JSONResponse({"regions": regions})

    async def sizes(self, request: Request) -> Response:
        return JSONResponse({"instance_sizes": [size_json(slug) for slug in SIZES], "discount_percent": 0})

    async def size(self, request: Request) -> Response:
        slug = request.path_params["slug"]
        if slug not in SIZES:
            raise Refusal(404, MISSING)
        return JSONResponse({"instance_size": size_json(slug)})

    async def propose(self, request: Request) -> Response:
        body = json_in(await request.body())
        spec = await spec_in(request)
        try:
            check_images(spec)
        except BadSpec as error:
            raise Refusal(400, str(error)) from None
        holder = self.account.names.get(spec["name"])
        is_its_own = holder is not None and holder == body.get("app_id")
        available = is_its_own or not self.account.has_name(spec["name"], time.time())
        cost = monthly_cost(spec)
        proposal: dict[str, Any] = {
            "app_name_available": available,
            "app_is_static": False,
            "app_cost": cost,
            "app_tier_downgrade_cost": cost,
            "existing_static_apps": "0",
            "max_free_static_apps": "3",
            "spec": shown(spec),
        }
        if not available:
            proposal["app_name_suggestion"] = f"{spec['name'][:29].rstrip('-')}-2"
        return JSONResponse(proposal)

    # What the handlers share.

    def app_of(self, request: Request) -> App:
        app = self.account.find(request.path_params["id"], time.time())
        if app is None:
            raise Refusal(404, MISSING)
        return app

    def deployment_of(self, request: Request) -> tuple[App, Deployment]:
        app = self.app_of(request)
        self.account.settle([app], time.time())
        wanted = request.path_params["deployment"]
        found = next((deployment for deployment in app.deployments if deployment.id == wanted), None)
        if found is None:
            raise Refusal(404, MISSING)
        return app, found

    def table(self) -> list[tuple[str, str, str, Handler]]:
        """Operation, method, path and handler; those that could be taken for an app's id come first."""
        one, its_deployments = "/v2/apps/{id}", "/v2/apps/{id}/deployments"
        return [
            ("list", "GET", "/v2/apps", self.index),
            ("create", "POST", "/v2/apps", self.create),
            ("regions", "GET", "/v2/apps/regions", self.regions),
            ("propose", "POST", "/v2/apps/propose", self.propose),
            ("sizes", "GET", "/v2/apps/tiers/instance_sizes", self.sizes),
            ("sizes", "GET", "/v2/apps/tiers/instance_sizes/{slug}", self.size),
            ("get", "GET", one, self.get),
            ("update", "PUT", one, self.update),
            ("delete", "DELETE", one, self.delete),
            ("restart", "POST", f"{one}/restart", self.restart),
            ("logs", "GET", f"{one}/logs", self.logs),
            ("deployments", "GET", its_deployments, self.deployments),
            ("deploy", "POST", its_deployments, self.deploy),
            ("deployment", "GET", f"{its_deployments}/{{deployment}}", self.deployment),
            ("cancel", "POST", f"{its_deployments}/{{deployment}}/cancel", self.cancel),
            ("logs", "GET", f"{its_deployments}/{{deployment}}/logs", self.logs),
        ]

    def routes(self) -> list[BaseRoute]:
        api = [Route(path, handler, methods=[method], name=name) for name, method, path, handler in self.table()]
        return [*api, Route("/_logs/{id}", self.log_text)]

    def describe(self, scope: Scope, body: bytes) -> Call | None:
        """The request as faults see it; None for what they leave alone."""
        path, method = scope["path"], scope["method"]
        parts = path.strip("/").split("/")
        if parts[0] == "_paper" and len(parts) > 2:
            return Call(agent_operation("/" + "/".join(parts[2:])), method, path, self.account.name_of(parts[1]))
        if parts[0] != "v2":
            return None
        name, spec = "", (json_in(body) or {}) if body else {}
        if isinstance(spec, dict) and isinstance(spec.get("spec"), dict):
            name = str(spec["spec"].get("name", ""))
        elif len(parts) > 2:
            name = self.account.name_of(parts[2])
        page = re.search(rb"(?:^|&)page=(\d+)", scope["query_string"])
        operation = self.operation_of(method, path)
        return Call(operation, method, path, name, (int(page[1]) if page else 1) if operation == "list" else None)

    def operation_of(self, method: str, path: str) -> str:
        return next((name for name, own, paths in self.shapes if own == method and paths.fullmatch(path)), "unknown")


Handler = Callable[[Request], Awaitable[Response]]


class Limits:
    """Counts the latest requests against how many are allowed."""

    def __init__(self) -> None:
        self.seen: deque[float] = deque()
        self.most_a_minute = 0
        self.per_minute: int | None = None  # None: no limit

    def count(self) -> None:
        """Count one request. Raises Refusal above the limit."""
        now = time.monotonic()
        self.seen.append(now)
        while self.seen[0] < now - 3600:
            self.seen.popleft()
        lately = self.last_minute()
        self.most_a_minute = max(self.most_a_minute, lately)
        if self.per_minute is not None and lately > self.per_minute:
            raise Refusal(429, "API Rate limit exceeded.", retry_after="10")

    def last_minute(self) -> int:
        since = time.monotonic() - 60
        lately = 0
        for at in reversed(self.seen):
            if at < since:
                break
            lately += 1
        return lately

    def headers(self) -> list[tuple[bytes, bytes]]:
        left = max(0, REQUESTS_AN_HOUR - len(self.seen))
        first = self.seen[0] if self.seen else time.monotonic()
        reset = int(time.time() + 3600 - (time.monotonic() - first))
        return [
            (b"ratelimit-limit", b"%d" % REQUESTS_AN_HOUR),
            (b"ratelimit-remaining", b"%d" % left),
            (b"ratelimit-reset", b"%d" % reset),
        ]


class FrontDoor:
    """Tokens, counts and rate-limit headers, around every path of the API."""

    def __init__(self, app: ASGIApp, cloud: LocalCloud) -> None:
        self.app, self.cloud = app, cloud

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v2/"):
            await self.app(scope, receive, send)
            return

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*self.cloud.limits.headers(), *message["headers"]]
            await send(message)

        try:
            self.admit(scope)
        except Refusal as refusal:
            await refusal.answer()(scope, receive, send_with_limits)
            return
        await self.app(scope, receive, send_with_limits)

    def admit(self, scope: Scope) -> None:
        kind, _, token = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        known = [mine for mine in self.cloud.tokens if hmac.compare_digest(token.strip(), mine.encode())]
        if kind.lower() != b"bearer" or not known:
            raise Refusal(401, "Unable to authenticate you")
        operation = self.cloud.operation_of(scope["method"], scope["path"])
        self.cloud.requests[f"{scope['method']} {shape_of(scope['path'])}"] += 1
        self.cloud.operations[operation] += 1
        self.cloud.limits.count()
        if missing := missing_scope(self.cloud.scopes.get(known[0], ALL), operation):
            raise Refusal(403, f"You are missing the required permission {missing}.")


async def spec_in(request: Request) -> dict[str, Any]:
    """The spec in the request's body. Raises Refusal."""
    body = json_in(await request.body())
    if not isinstance(body, dict):
        raise Refusal(400, "the body must be a JSON object")
    try:
        return check_spec(body.get("spec"))
    except BadSpec as error:
        raise Refusal(400, str(error)) from None


def whole(request: Request, name: str, default: int, most: int) -> int:
    raw = request.query_params.get(name, str(default))
    if not (raw.isascii() and raw.isdecimal()) or not 1 <= int(raw) <= most:
        raise Refusal(400, f"{name} must be a whole number from 1 to {most}")
    return int(raw)


def shape_of(path: str) -> str:
    """The path with ids taken out, for the counts."""
    return "/".join("{id}" if len(part) == 36 and part.count("-") == 4 else part for part in path.split("/"))
