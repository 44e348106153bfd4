"""The local cloud's own endpoints: trouble on demand, what really is there, and the stand-in for paper apps' agents."""

from __future__ import annotations

import asyncio
import hmac
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from pools.localcloud.apps import App
from pools.localcloud.scopes import read_scopes
from pools.localcloud.server import MISSING, Handler, LocalCloud, Refusal
from pools.localcloud.specs import BadSpec, check_spec
from pools.localcloud.trouble import FAULTS, UnknownFault, json_in

LOOKS = "/tmp/command-"  # noqa: S108  in a command that tells how another stands: it has ended well
PAPER_GAME = "<!doctype html><title>Paper</title><p>A game on paper"
PAPER_EVENTS = 'event: exit\ndata: {"code": 0, "duration_ms": 0, "timestamp": 0}\n\n'
HELP = f"""The local cloud's own endpoints, for programs on the same machine that send its token.
Bodies are JSON.

GET, POST, DELETE /_local/faults       the faults in force; one more; none
DELETE /_local/faults/ID               one less
GET /_local/state                      what really is there, the journal, and counts
POST /_local/settings                  deploy_seconds, requests_per_minute, tokens, paper, scopes: an object
                                       with a list for each token that may not do all: app:read, app:create,
                                       app:update, app:delete
POST /_local/apps                      an app behind the orchestrator's back: name, owner, image, size, region, token,
                                       paper (default true), deploy_seconds; or spec; or names, for many on paper
GET, PATCH, DELETE /_local/apps/ID     one; change how it goes on (stuck, error, deploy_seconds, agent); delete it
POST /_local/apps/ID/kill-agent        its agent dies; stays_dead (default true)
POST /_local/reset                     no apps, no faults, no counts

{FAULTS}"""
LOOPBACK = ("127.0.0.1", "::1", "localhost")
SETTINGS = {"deploy_seconds", "requests_per_minute", "tokens", "paper", "scopes"}
HANG_SECONDS = 3600.0


def spec_for(
    name: str,
    owner: str = "",
    *,
    image: str = "web",
    size: str = "apps-s-1vcpu-1gb",
    region: str = "syd",
    token: str = "",
) -> dict[str, Any]:
    """The spec of an app that was made by hand."""
    envs = [{"key": "ORCHESTRATOR_ID", "value": owner, "scope": "RUN_TIME", "type": "GENERAL"}] if owner else []
    if token:
        envs.append({"key": "SANDBOX_API_TOKEN", "value": token, "scope": "RUN_TIME", "type": "SECRET"})
    service = {
        "name": "sandbox",
        "image": {"registry_type": "GHCR", "registry": "someone", "repository": image, "tag": "latest"},
        "instance_count": 1,
        "instance_size_slug": size,
        "http_port": 8080,
        "envs": envs,
    }
    return check_spec({"name": name, "region": region, "services": [service]})


class Control:
    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud

    async def help(self, request: Request) -> Response:
        return PlainTextResponse(HELP)

    # Faults.

    async def faults(self, request: Request) -> Response:
        faults = self.cloud.faults
        if request.method == "POST":
            body = await object_in(request)
            try:
                added = faults.add(body)
            except (UnknownFault, TypeError, ValueError) as error:
                raise Refusal(400, str(error)) from None
            if added.is_the_agents:
                await self.tell_agents()
            return JSONResponse(added.as_json())
        if request.method == "DELETE":
            faults.active.clear()
            await self.tell_agents()
        return JSONResponse({"faults": [fault.as_json() for fault in faults.active.values()]})

    async def fault(self, request: Request) -> Response:
        found = self.cloud.faults.active.pop(request.path_params["id"], None)
        if found is None:
            raise Refusal(404, MISSING)
        if found.is_the_agents:
            await self.tell_agents()
        return JSONResponse(found.as_json())

    async def tell_agents(self) -> None:
        theirs = [fault.as_json() for fault in self.cloud.faults.active.values() if fault.is_the_agents]
        await self.cloud.containers.tell_all(theirs)

    # What is, and what has been.

    async def state(self, request: Request) -> Response:
        cloud, now = self.cloud, time.time()
        cloud.account.settle(cloud.account.apps.values(), now)
        return JSONResponse(
            {
                "apps": [self.app_json(app, now) for app in cloud.account.apps.values()],
                "creates": cloud.account.count("create", "api"),
                "deletes": cloud.account.count("delete", "api"),
                "most_apps": cloud.account.most_apps,
                "requests": dict(cloud.requests),
                "operations": dict(cloud.operations),
                "requests_last_minute": cloud.limits.last_minute(),
                "most_requests_a_minute": cloud.limits.most_a_minute,
                "journal": cloud.account.journal(),
                "deploy_seconds": cloud.deploy_seconds,
            }
        )

    def app_json(self, app: App, now: float) -> dict[str, Any]:
        process = self.cloud.containers.processes.get(app.id)
        runs = process is not None and process.returncode is None
        return {
            "id": app.id,
            "name": app.name,
            "owner": app.owner,
            "phase": app.phase(now),
            "url": app.url(self.cloud.base),
            "paper": app.paper,
            "pid": process.pid if process is not None and runs else None,
            "created_at": app.created_at,
            "agent": app.agent,
        }

    async def settings(self, request: Request) -> Response:
        cloud, body = self.cloud, await object_in(request)
        if unknown := sorted(body.keys() - SETTINGS):
            raise Refusal(400, f"unknown field {unknown[0]!r}")
        cloud.deploy_seconds = float(body.get("deploy_seconds", cloud.deploy_seconds))
        cloud.limits.per_minute = body.get("requests_per_minute", cloud.limits.per_minute)
        cloud.tokens = set(body.get("tokens", cloud.tokens))
        cloud.paper = bool(body.get("paper", cloud.paper))
        try:
            cloud.scopes = read_scopes(body["scopes"]) if "scopes" in body else cloud.scopes
        except ValueError as error:
            raise Refusal(400, str(error)) from None
        return JSONResponse(
            {
                "deploy_seconds": cloud.deploy_seconds,
                "requests_per_minute": cloud.limits.per_minute,
                "paper": cloud.paper,
            }
        )

    # Behind the orchestrator's back.

    async def make(self, request: Request) -> Response:
        cloud, body = self.cloud, await object_in(request)
        names, spec, paper = body.pop("names", None), body.pop("spec", None), bool(body.pop("paper", True))
        seconds = float(body.pop("deploy_seconds", 0))
        try:
            if names is not None:
                specs = [spec_for(name, **body) for name in names]
            else:
                specs = [check_spec(spec) if spec is not None else spec_for(**body)]
        except (BadSpec, TypeError) as error:
            raise Refusal(400, str(error)) from None
        now = time.time()
        if taken := [spec["name"] for spec in specs if cloud.account.has_name(spec["name"], now)]:
            raise Refusal(409, f"App name already exists: {taken[0]}")
        apps = [App.new(spec, seconds, paper=paper) for spec in specs]
        cloud.account.add(apps, by="hand")
        for app in apps:
            cloud.run(app)
        if names is not None:
            return JSONResponse({"ids": [app.id for app in apps]})
        cloud.account.settle(apps, now)
        return JSONResponse(apps[0].as_json(time.time(), cloud.base))

    def app_of(self, request: Request) -> App:
        app = self.cloud.account.apps.get(request.path_params["id"])
        if app is None:
            raise Refusal(404, MISSING)
        return app

    async def one(self, request: Request) -> Response:
        app = self.app_of(request)
        if request.method == "DELETE":
            await self.cloud.remove(app, "hand")
            return JSONResponse({"id": app.id})
        if request.method == "PATCH":
            await self.spoil(app, await object_in(request))
        return JSONResponse(self.app_json(app, time.time()))

    async def spoil(self, app: App, body: dict[str, Any]) -> None:
        """Change how it goes on: `stuck`, `error`, `deploy_seconds`, `agent` (see the faults)."""
        newest, containers = app.newest, self.cloud.containers
        if "agent" in body:
            was, app.agent = app.agent, dict(body["agent"])
            if app.agent.get("hangs"):
                containers.hang(app)
            elif was.get("hangs"):
                containers.resume(app)
            if app.agent.keys() & {"silent", "refuses", "wrong_token"} or was.keys() & {
                "silent",
                "refuses",
                "wrong_token",
            }:
                await containers.stop(app)
        if newest.outcome == "ACTIVE" and (body.get("error") or body.get("stuck")):
            newest.outcome = ""  # as if it had never come that far
            app.answers = False
            await containers.stop(app)
        newest.stuck_in, newest.error = body.get("stuck", newest.stuck_in), body.get("error", newest.error)
        newest.seconds = float(body.get("deploy_seconds", newest.seconds))
        app.settle(time.time())
        self.cloud.account.keep(app)
        self.cloud.run(app)

    async def kill_agent(self, request: Request) -> Response:
        app = self.app_of(request)
        body = json_in(await request.body()) or {}
        self.cloud.kill_agent(app, stays_dead=bool(body.get("stays_dead", True)))
        return JSONResponse({"id": app.id})

    async def reset(self, request: Request) -> Response:
        """No apps, no faults, no counts."""
        cloud = self.cloud
        for app in list(cloud.account.apps.values()):
            await cloud.remove(app, "hand")
        cloud.account.forget()
        cloud.faults.active.clear()
        await self.tell_agents()
        cloud.requests.clear()
        cloud.operations.clear()
        cloud.limits.seen.clear()
        cloud.limits.per_minute, cloud.limits.most_a_minute = None, 0
        cloud.scopes = {}
        return JSONResponse({})

    # Paper.

    async def paper(self, request: Request) -> Response:
        """Answer for the agent of a paper app: it is well, and every command and page succeeds."""
        app = self.cloud.account.apps.get(request.path_params["id"])
        path = request.path_params["path"]
        now = time.time()
        if app is not None:
            self.cloud.account.settle([app], now)
        if app is None or app.agent.keys() & {"refuses", "dead"} or app.active is None or app.phase(now) != "ACTIVE":
            return Response("no healthy upstream", 503)
        if app.agent.keys() & {"silent", "hangs"}:
            await asyncio.sleep(HANG_SECONDS)
        if path == "health":
            return JSONResponse({"status": "healthy", "mode": "service", "timestamp": now})
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind != "Bearer" or not token:
            return JSONResponse({"detail": "Missing or malformed Authorization header"}, 401)
        if token != app.token or app.agent.get("wrong_token"):
            return JSONResponse({"detail": "Invalid API token"}, 403)
        if path.startswith("proxy/"):
            return Response(PAPER_GAME, media_type="text/html")
        return self.paper_answer(path, request, json_in(await request.body()))

    def paper_answer(self, path: str, request: Request, body: Any) -> Response:
        process = {"pid": 1, "command": "paper", "status": "running", "log_file": "/tmp/1.log", "started_at": 0.0}  # noqa: S108
        if path == "api/exec":
            command = str(body.get("command")) if isinstance(body, dict) else ""
            return JSONResponse({"stdout": "0 0\n" if LOOKS in command else "", "stderr": "", "exit_code": 0})
        if path == "api/exec/stream":
            return Response(PAPER_EVENTS, media_type="text/event-stream")
        if path == "api/exec/background":
            return JSONResponse({"pid": process["pid"], "log_file": process["log_file"]})
        if path == "api/processes":
            return JSONResponse([process])
        if path.startswith("api/processes/") and path.endswith("/logs"):
            return JSONResponse({"logs": ""})
        if path == "api/processes/1":
            return JSONResponse(process)
        if path == "api/files":
            return JSONResponse({"files": []})
        if path == "api/files/content" and request.method == "GET":
            return JSONResponse({"content": "", "path": request.query_params.get("path", "")})
        return JSONResponse({"success": True, "path": request.query_params.get("path", "")})

    def routes(self) -> list[BaseRoute]:
        token = self.cloud.control_token
        own = [
            ("/_local", self.help, ["GET"]),
            ("/_local/faults", self.faults, ["GET", "POST", "DELETE"]),
            ("/_local/faults/{id}", self.fault, ["DELETE"]),
            ("/_local/state", self.state, ["GET"]),
            ("/_local/settings", self.settings, ["POST"]),
            ("/_local/apps", self.make, ["POST"]),
            ("/_local/apps/{id}", self.one, ["GET", "PATCH", "DELETE"]),
            ("/_local/apps/{id}/kill-agent", self.kill_agent, ["POST"]),
            ("/_local/reset", self.reset, ["POST"]),
        ]
        anything = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        return [
            *(Route(path, for_its_owner(handler, token), methods=methods) for path, handler, methods in own),
            Route("/_paper/{id}/{path:path}", self.paper, methods=anything),
        ]


def for_its_owner(handler: Handler, token: str) -> Handler:
    """For programs on this machine that know the cloud's token; never for a page in a browser."""

    async def guarded(request: Request) -> Response:
        client = request.client.host if request.client else ""
        if client not in LOOPBACK or request.url.hostname not in LOOPBACK or "origin" in request.headers:
            raise Refusal(403, "This is for programs on the same machine.")
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
            raise Refusal(401, "This takes the token in the file `token` of the local cloud's folder: Bearer …")
        return await handler(request)

    return guarded


async def object_in(request: Request) -> dict[str, Any]:
    body = json_in(await request.body())
    if not isinstance(body, dict):
        raise Refusal(400, "the body must be a JSON object")
    return body
