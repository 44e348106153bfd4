"""App Platform's own HTTP API over the account of this machine."""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from pools.localcloud.apps import Account, App, monthly_cost
from pools.localcloud.containers import Containers
from pools.localcloud.faults import Faults
from pools.localcloud.specs import REGIONS, SIZES, BadSpec, check_spec, shown

MOST_PER_PAGE = 200
DEFAULT_PER_PAGE = 20
HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"
SECONDS_A_MONTH = 672 * 3600


class Refusal(Exception):
    """An answer that is an error, as DigitalOcean words it."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


class LocalCloud:
    """The account, its containers, the faults in force, and the handlers of every path."""

    def __init__(self, folder: Path, tokens: set[str], deploy_seconds: float, *, paper: bool) -> None:
        self.account = Account(folder)
        self.containers = Containers(folder)
        self.faults = Faults()
        self.tokens = tokens
        self.deploy_seconds = deploy_seconds
        self.paper = paper
        self.requests: Counter[str] = Counter()
        self.journal: list[dict[str, Any]] = []
        self.most_apps = len(self.account.apps)
        self.base = ""  # where it listens; known once it does

    def note(self, what: str, app: App, by: str) -> None:
        self.most_apps = max(self.most_apps, len(self.account.apps))
        self.journal.append({"at": time.time(), "what": what, "id": app.id, "name": app.name, "by": by})

    # Apps.

    async def create(self, request: Request) -> Response:
        spec = await self.spec_of(request)
        effects = self.faults.effects("create", spec["name"])
        return await self.befall(effects, self.created, spec, effects)

    async def created(self, spec: dict[str, Any], effects: dict[str, Any]) -> Response:
        if self.account.named(spec["name"]) is not None:
            raise Refusal(409, "conflict", "App name already exists")
        quota = effects.get("quota")
        if quota is not None and len(self.account.apps) >= quota:
            raise Refusal(403, "forbidden", f"This account has reached its limit of {quota} apps")
        app = self.account.create(
            spec,
            float(effects.get("deploy_seconds", self.deploy_seconds)),
            paper=self.paper,
            stuck_in=effects.get("stuck", ""),
            error=effects.get("error", ""),
            agent_fault=dict(effects.get("agent", {})),
        )
        self.note("create", app, "api")
        self.containers.run(app)
        return JSONResponse({"app": app.as_json(time.time(), self.base)})

    async def index(self, request: Request) -> Response:
        page = whole(request, "page", 1, 1_000_000)
        per_page = whole(request, "per_page", DEFAULT_PER_PAGE, MOST_PER_PAGE)
        effects = self.faults.effects("list", page=page)
        return await self.befall(effects, self.listed, page, per_page, effects)

    async def listed(self, page: int, per_page: int, effects: dict[str, Any]) -> Response:
        now = time.time()
        apps = self.account.listed(now, float(effects.get("stale_seconds", 0)))
        if effects.get("empty"):
            apps = []
        if effects.get("omit"):
            apps = [app for app in apps if not re.search(effects["omit"], app.name)]
        for spec in effects.get("add", []):
            apps.append(App(str(uuid.uuid4()), spec, now, 0, shown(spec), deploying_since=now, paper=True))
        start = (page - 1) * per_page
        if (
            effects.get("shift") and page > 1
        ):  # one app less before this page: the first of it slipped to the one before
            start += 1
        total = effects.get("total", len(apps))
        pages = max(1, -(-total // per_page))
        links: dict[str, str] = {}
        if pages > 1:
            address = f"{self.base}/v2/apps?per_page={per_page}&page="
            if page > 1:
                links |= {"first": f"{address}1", "prev": f"{address}{page - 1}"}
            if page < pages:
                links |= {"next": f"{address}{page + 1}", "last": f"{address}{pages}"}
        shown_apps = [app.as_json(now, self.base) for app in apps[start : start + per_page]]
        return JSONResponse({"apps": shown_apps, "links": {"pages": links}, "meta": {"total": total}})

    async def get(self, request: Request) -> Response:
        app = self.app_of(request)
        effects = self.faults.effects("get", app.name)
        return await self.befall(effects, self.shown, app)

    async def shown(self, app: App) -> Response:
        return JSONResponse({"app": app.as_json(time.time(), self.base)})

    async def update(self, request: Request) -> Response:
        app = self.app_of(request)
        spec = await self.spec_of(request)
        other = self.account.named(spec["name"])
        if other is not None and other.id != app.id:
            raise Refusal(409, "conflict", "App name already exists")
        effects = self.faults.effects("update", app.name)
        app.spec, app.shown_spec = spec, shown(spec)
        return await self.befall(effects, self.redeployed, app)

    async def redeployed(self, app: App) -> Response:
        app.deployment_id, app.deploying_since = str(uuid.uuid4()), time.time()
        self.account.keep([app])
        return await self.shown(app)

    async def delete(self, request: Request) -> Response:
        app_id = request.path_params["id"]
        app = self.account.apps.get(app_id)
        effects = self.faults.effects("delete", app.name if app else "")
        return await self.befall(effects, self.deleted, app_id, effects)

    async def deleted(self, app_id: str, effects: dict[str, Any]) -> Response:
        app = self.account.apps.get(app_id)
        if app is None:
            raise Refusal(404, "not_found", "The resource you were accessing could not be found.")
        await self.remove(app, "api", float(effects.get("linger_seconds", 0)))
        return JSONResponse({"id": app.id})

    async def remove(self, app: App, by: str, linger_seconds: float = 0.0) -> None:
        app.lingers_until = time.time() + linger_seconds
        self.account.delete(app)
        self.note("delete", app, by)
        await self.containers.stop(app)

    # Deployments and logs.

    async def all_deployments(self, request: Request) -> Response:
        app = self.app_of(request)
        effects = self.faults.effects("deployments", app.name)
        if request.method == "POST":
            return await self.befall(effects, self.deployed_anew, app)
        return await self.befall(effects, self.listed_deployments, app)

    async def deployed_anew(self, app: App) -> Response:
        await self.redeployed(app)
        return JSONResponse({"deployment": app.deployment(time.time())})

    async def listed_deployments(self, app: App) -> Response:
        deployment = app.deployment(time.time())
        return JSONResponse({"deployments": [deployment], "links": {"pages": {}}, "meta": {"total": 1}})

    async def deployment(self, request: Request) -> Response:
        app = self.app_of(request)
        if request.path_params["deployment"] != app.deployment_id:
            raise Refusal(404, "not_found", "deployment not found")
        if request.url.path.endswith("/cancel"):
            app.error = app.error or "the deployment was canceled"
        return JSONResponse({"deployment": app.deployment(time.time())})

    async def logs(self, request: Request) -> Response:
        app = self.app_of(request)
        phase = app.phase(time.time())
        if request.query_params.get("type", "RUN") == "RUN" and phase not in ("DEPLOYING", "ACTIVE"):
            raise Refusal(400, "bad_request", "the deployment has not reached that phase")
        return JSONResponse({"live_url": f"{self.base}/_local/logs/{app.id}", "historic_urls": []})

    # What there is to choose from.

    async def regions(self, request: Request) -> Response:
        effects = self.faults.effects("regions")
        regions = [
            {
                "slug": slug,
                "label": label,
                "continent": "world",
                "flag": slug,
                "data_centers": [f"{slug}1"],
                "default": False,
            }
            for slug, label in REGIONS.items()
        ]
        return await self.befall(effects, answer_with, {"regions": regions})

    async def sizes(self, request: Request) -> Response:
        return JSONResponse({"instance_sizes": [size_json(slug) for slug in SIZES], "discount_percent": 0})

    async def size(self, request: Request) -> Response:
        slug = request.path_params["slug"]
        if slug not in SIZES:
            raise Refusal(404, "not_found", "instance size not found")
        return JSONResponse({"instance_size": size_json(slug)})

    async def propose(self, request: Request) -> Response:
        spec = await self.spec_of(request)
        effects = self.faults.effects("propose", spec["name"])
        taken = self.account.named(spec["name"]) is not None
        proposal: dict[str, Any] = {
            "app_name_available": not taken,
            "app_is_static": False,
            "app_cost": monthly_cost(spec),
            "app_tier_downgrade_cost": monthly_cost(spec),
            "existing_static_apps": "0",
            "max_free_static_apps": "3",
            "spec": shown(spec),
        }
        if taken:
            proposal["app_name_suggestion"] = f"{spec['name'][:28]}-2"
        return await self.befall(effects, answer_with, proposal)

    # What all handlers share.

    def app_of(self, request: Request) -> App:
        app = self.account.apps.get(request.path_params["id"])
        if app is None:
            raise Refusal(404, "not_found", "The resource you were accessing could not be found.")
        return app

    async def spec_of(self, request: Request) -> dict[str, Any]:
        try:
            body = await request.json()
            return check_spec(body.get("spec") if isinstance(body, dict) else None)
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise Refusal(400, "bad_request", "invalid character in the JSON body") from None
        except BadSpec as error:
            raise Refusal(400, "bad_request", str(error)) from None

    async def befall(self, effects: dict[str, Any], act: Any, *arguments: Any) -> Response:
        """The answer of `act`, or what the faults make of it; with `after`, it has happened all the same."""
        await asyncio.sleep(float(effects.get("latency_seconds", 0)))
        spoils = effects.keys() & {"status", "body", "hang", "reset"}
        if not spoils:
            return await act(*arguments)  # type: ignore[no-any-return]
        answer: Response = await act(*arguments) if effects.get("after") else JSONResponse({})
        if effects.get("hang"):
            await asyncio.sleep(float(effects.get("seconds", 3600)))
            return Response(status_code=504)
        if effects.get("reset"):
            return BrokenOff(bytes(answer.body) or b"{}")
        return spoiled(effects, answer)

    def routes(self) -> list[BaseRoute]:
        get, post = ["GET"], ["POST"]
        return [
            Route("/v2/apps", self.index, methods=get, name="list"),
            Route("/v2/apps", self.create, methods=post, name="create"),
            Route("/v2/apps/regions", self.regions, methods=get, name="regions"),
            Route("/v2/apps/propose", self.propose, methods=post, name="propose"),
            Route("/v2/apps/tiers/instance_sizes", self.sizes, methods=get, name="sizes"),
            Route("/v2/apps/tiers/instance_sizes/{slug}", self.size, methods=get, name="sizes"),
            Route("/v2/apps/{id}", self.get, methods=get, name="get"),
            Route("/v2/apps/{id}", self.update, methods=["PUT"], name="update"),
            Route("/v2/apps/{id}", self.delete, methods=["DELETE"], name="delete"),
            Route("/v2/apps/{id}/deployments", self.all_deployments, methods=[*get, *post], name="deployments"),
            Route("/v2/apps/{id}/deployments/{deployment}", self.deployment, methods=get, name="deployments"),
            Route("/v2/apps/{id}/deployments/{deployment}/cancel", self.deployment, methods=post, name="deployments"),
            Route("/v2/apps/{id}/logs", self.logs, methods=get, name="logs"),
        ]


class BrokenOff(Response):
    """Promises more than it sends: the server hangs up in the middle."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(self.body) + 100).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(self.body)[: len(self.body) // 2]})


def spoiled(effects: dict[str, Any], answer: Response) -> Response:
    status = int(effects.get("status", 200))
    headers = {"retry-after": str(effects["retry_after"])} if "retry_after" in effects else {}
    body = effects.get("body")
    if body == "html":
        return Response(HTML, status, headers, media_type="text/html")
    if body == "empty":
        return Response(b"", status, headers)
    if body == "truncated":
        return Response(
            bytes(answer.body)[: max(1, len(answer.body) // 2)], status, headers, media_type="application/json"
        )
    if body == "odd":
        return JSONResponse(["something", "else"], status, headers)
    kinds = {401: "unauthorized", 403: "forbidden", 404: "not_found", 409: "conflict", 429: "too_many_requests"}
    kind = kinds.get(status, "unprocessable_entity" if status == 422 else "server_error")
    return JSONResponse({"id": kind, "message": effects.get("message", "Something went wrong.")}, status, headers)


async def answer_with(data: dict[str, Any]) -> Response:
    return JSONResponse(data)


def size_json(slug: str) -> dict[str, Any]:
    price, cpus, mebibytes = SIZES[slug]
    return {
        "slug": slug,
        "name": slug,
        "cpus": cpus,
        "cpu_type": "SHARED",
        "memory_bytes": str(mebibytes * 1024 * 1024),
        "usd_per_month": price,
        "usd_per_second": f"{float(price) / SECONDS_A_MONTH:.12f}",
        "tier_slug": "basic",
    }


def whole(request: Request, name: str, default: int, most: int) -> int:
    raw = request.query_params.get(name, str(default))
    if not raw.isdigit() or not 1 <= int(raw) <= most:
        raise Refusal(400, "bad_request", f"{name} must be a whole number from 1 to {most}")
    return int(raw)


def error_json(refusal: Refusal) -> Response:
    body = {"id": refusal.kind, "message": refusal.message, "request_id": str(uuid.uuid4())}
    return JSONResponse(body, refusal.status)


class FrontDoor:
    """Tokens, counts and rate-limit headers, around every path of the API."""

    def __init__(self, app: Any, cloud: LocalCloud) -> None:
        self.app, self.cloud = app, cloud

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v2/"):
            await self.app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        if given.removeprefix("Bearer ") not in self.cloud.tokens:
            await error_json(Refusal(401, "unauthorized", "Unable to authenticate you"))(scope, receive, send)
            return

        async def send_with_limits(message: Any) -> None:
            if message["type"] == "http.response.start":
                reset = str(int(time.time()) + 3600).encode()
                message["headers"] = [
                    *message["headers"],
                    (b"ratelimit-limit", b"5000"),
                    (b"ratelimit-remaining", b"4999"),
                    (b"ratelimit-reset", reset),
                ]
            await send(message)

        self.cloud.requests[f"{scope['method']} {shape_of(scope['path'])}"] += 1
        await self.app(scope, receive, send_with_limits)


def shape_of(path: str) -> str:
    """The path with ids taken out, for the counts."""
    return "/".join("{id}" if len(part) == 36 and part.count("-") == 4 else part for part in path.split("/"))


def application(cloud: LocalCloud, more_routes: list[BaseRoute]) -> Any:
    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)  # noqa: S101  registered for this kind only
        return error_json(error)

    async def not_found(request: Request, error: Exception) -> Response:
        return error_json(Refusal(404, "not_found", "The resource you were accessing could not be found."))

    app = Starlette(
        routes=[*cloud.routes(), *more_routes], exception_handlers={Refusal: refused, 404: not_found, 405: not_found}
    )
    return FrontDoor(app, cloud)
