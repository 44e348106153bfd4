"""The local cloud's own endpoints: trouble on demand, what really is there, and the stand-in for paper apps' agents."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from pools.localcloud.apps import App
from pools.localcloud.faults import UnknownFault
from pools.localcloud.server import LocalCloud

PAPER_GAME = "<!doctype html><title>Paper</title><p>A game on paper"


def spec_for(name: str, owner: str = "", **fields: Any) -> dict[str, Any]:
    envs = [{"key": "ORCHESTRATOR_ID", "value": owner, "scope": "RUN_TIME", "type": "GENERAL"}] if owner else []
    service = {
        "name": "sandbox",
        "image": {
            "registry_type": "GHCR",
            "registry": "someone",
            "repository": fields.get("image", "web"),
            "tag": "latest",
        },
        "instance_count": 1,
        "instance_size_slug": fields.get("size", "apps-s-1vcpu-1gb"),
        "envs": envs,
    }
    return {"name": name, "region": fields.get("region", "syd"), "services": [service]}


class Control:
    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud

    async def faults(self, request: Request) -> Response:
        faults = self.cloud.faults
        if request.method == "POST":
            try:
                return JSONResponse(faults.add(await request.json()).as_json())
            except (UnknownFault, TypeError, ValueError) as error:
                return JSONResponse({"message": str(error)}, 400)
        if request.method == "DELETE":
            faults.active.clear()
        return JSONResponse({"faults": [fault.as_json() for fault in faults.active.values()]})

    async def fault(self, request: Request) -> Response:
        found = self.cloud.faults.active.pop(request.path_params["id"], None)
        return JSONResponse(found.as_json() if found else {}, 200 if found else 404)

    async def state(self, request: Request) -> Response:
        now = time.time()
        cloud = self.cloud
        apps = [
            {
                "id": app.id,
                "name": app.name,
                "owner": app.owner,
                "phase": app.phase(now),
                "url": app.url(cloud.base),
                "paper": app.paper,
                "pid": getattr(cloud.containers.processes.get(app.id), "pid", None),
                "created_at": app.created_at,
            }
            for app in cloud.account.apps.values()
        ]
        creates = sum(entry["what"] == "create" for entry in cloud.journal)
        deletes = sum(entry["what"] == "delete" for entry in cloud.journal)
        return JSONResponse(
            {
                "apps": apps,
                "creates": creates,
                "deletes": deletes,
                "most_apps": cloud.most_apps,
                "requests": dict(cloud.requests),
                "journal": cloud.journal[-10_000:],
                "deploy_seconds": cloud.deploy_seconds,
            }
        )

    async def settings(self, request: Request) -> Response:
        body = await request.json()
        self.cloud.deploy_seconds = float(body.get("deploy_seconds", self.cloud.deploy_seconds))
        return JSONResponse({"deploy_seconds": self.cloud.deploy_seconds})

    async def make(self, request: Request) -> Response:
        body = await request.json()
        if "names" in body:
            specs = [spec_for(name, body.get("owner", "")) for name in body["names"]]
            apps = self.cloud.account.create_many(specs)
            self.cloud.most_apps = max(self.cloud.most_apps, len(self.cloud.account.apps))
            return JSONResponse({"ids": [app.id for app in apps]})
        app = self.cloud.account.create(body.get("spec") or spec_for(**body), 0.0, paper=body.get("paper", True))
        self.cloud.note("create", app, "hand")
        self.cloud.containers.run(app)
        return JSONResponse(app.as_json(time.time(), self.cloud.base))

    def app_of(self, request: Request) -> App | None:
        return self.cloud.account.apps.get(request.path_params["id"])

    async def remove(self, request: Request) -> Response:
        app = self.app_of(request)
        if app is None:
            return JSONResponse({}, 404)
        await self.cloud.remove(app, "hand")
        return JSONResponse({"id": app.id})

    async def kill_agent(self, request: Request) -> Response:
        app = self.app_of(request)
        if app is None:
            return JSONResponse({}, 404)
        body = await request.json()
        stays_dead = bool(body.get("stays_dead", True))
        if app.paper:
            app.agent_fault["hangs"] = True
            return JSONResponse({"killed": True})
        return JSONResponse({"killed": self.cloud.containers.kill_agent(app, stays_dead=stays_dead)})

    async def reset(self, request: Request) -> Response:
        cloud = self.cloud
        for app in list(cloud.account.apps.values()):
            await cloud.remove(app, "hand")
        cloud.account.deleted.clear()
        cloud.faults.active.clear()
        cloud.journal.clear()
        cloud.requests.clear()
        cloud.most_apps = 0
        return JSONResponse({})

    async def paper(self, request: Request) -> Response:
        """What the agent of a paper app answers: well, and every command and page succeeds."""
        app = self.app_of(request)
        path = request.path_params["path"]
        trouble = app is None or app.agent_fault.keys() & {"silent", "hangs", "stays_dead"}
        if app is None or trouble or app.phase(time.time()) != "ACTIVE":
            return Response("no healthy upstream", 503)
        if path == "health":
            return JSONResponse({"status": "healthy", "mode": "service", "timestamp": time.time()})
        if request.headers.get("authorization") != f"Bearer {app.token}" and app.token:
            return JSONResponse({"detail": "Invalid API token"}, 403)
        if path == "api/exec":
            return JSONResponse({"stdout": "", "stderr": "", "exit_code": 0})
        if path == "api/exec/background":
            return JSONResponse({"pid": 1, "log_file": "/tmp/processes/1.log"})  # noqa: S108  a path in the sandbox
        if path == "api/processes":
            return JSONResponse([{"pid": 1, "command": "paper", "status": "running", "log_file": "", "started_at": 0}])
        if path.startswith("proxy/"):
            return Response(PAPER_GAME, media_type="text/html")
        return JSONResponse({"success": True, "path": request.query_params.get("path", "")})

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/_local/faults", self.faults, methods=["GET", "POST", "DELETE"]),
            Route("/_local/faults/{id}", self.fault, methods=["DELETE"]),
            Route("/_local/state", self.state),
            Route("/_local/settings", self.settings, methods=["POST"]),
            Route("/_local/apps", self.make, methods=["POST"]),
            Route("/_local/apps/{id}", self.remove, methods=["DELETE"]),
            Route("/_local/apps/{id}/kill-agent", self.kill_agent, methods=["POST"]),
            Route("/_local/reset", self.reset, methods=["POST"]),
            Route("/_paper/{id}/{path:path}", self.paper, methods=["GET", "POST", "PUT", "DELETE", "HEAD"]),
        ]
